"""The pool: takes requests, and returns the outcomes that the workers produce.

    fetch --> _dispatch --> Scheduler.checkout --> OriginLimiter.admit --> _send
                  ^              | no worker yet         | no permit yet     |
                  |              v                       v                   v
                  +--------- a worker is up,       a handshake ends,  WorkerConnection
                             or has one less       or a timer fires          |
                                                                             v
    fetch <---- (first _on_done, then resolve) <---- PoolRequest.on_outcome <+

The states of a request, who holds it, and what ends each state:

    state                 held by             until
    NEW                   the pool            it is dispatched, in the same turn of the loop
    WAITING_FOR_WORKER    Scheduler           a worker is ready; or, at the start, has one less
    QUARANTINED           Scheduler           a worker of its own is ready
    WAITING_FOR_ORIGIN    OriginLimiter       its origin permits one more handshake
    SENT                  WorkerConnection    its outcome arrives, or its worker exits
    CANCELLING            WorkerConnection    likewise, but its caller has gone
    DONE                  nobody

As soon as an outcome arrives, the worker's place is free and the limiter is updated; the caller's
`await` only collects the outcome. Every turn of the loop with an empty place costs throughput.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from .._ipc.messages import Failed, Hello, Outcome, ProtocolError
from .batching import ResponseBatcher
from .errors import (
    OriginRejectedError,
    UnsendableRequestError,
    WorkerLostError,
    WorkersExhaustedError,
)
from .event_loop import EventLoop
from .events import PoolEvents
from .limiter import OriginLimiter
from .log_level import is_written
from .request import DONE, NEW, SENT, PoolRequest, RequestState, Result
from .scheduler import Scheduler
from .supervisor import Launcher, Supervisor
from .waits import WaitWatch
from .worker import Cause, Worker
from .worker_limits import WorkerLimits

logger = logging.getLogger(__name__)


class Pool:
    """The object that the handlers use; each crawler has one.

    Args:
        loop: of the crawl.
        launcher: starts the workers' processes.
        hello: first message to each worker; a worker that cannot use its profiles is useless.
        limits: of the workers.
        adaptive: whether new connections to an origin are limited (CURL_SAFE_ADAPTIVE).
        active_size_bytes: how much Scrapy may hold (SCRAPER_SLOT_MAX_ACTIVE_SIZE).
        events: is told what happens.
        on_exhausted: called with a reason when no worker can be started any more.
    """

    def __init__(
        self,
        loop: EventLoop,
        launcher: Launcher,
        hello: Hello,
        limits: WorkerLimits,
        *,
        adaptive: bool,
        active_size_bytes: int,
        events: PoolEvents,
        on_exhausted: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._events = events
        self._on_exhausted = on_exhausted
        #: Why no worker can be started any more; None while one can.
        self.exhausted: str | None = None
        #: Requests in the pool, including queued ones.
        self.in_flight = 0
        self._batcher = ResponseBatcher(loop.call_soon, active_size_bytes)
        self._supervisor = Supervisor(loop, launcher, limits, hello, events, self, self._batcher)
        self._scheduler = Scheduler(self._supervisor)
        self._limiter = OriginLimiter(loop, adaptive, self._dispatch, events)
        self._waits = WaitWatch(loop, lambda: repr(self._supervisor))
        self._logs_requests = False
        self._supervisor.prewarm()

    def __repr__(self) -> str:
        return (
            f"<Pool {self.in_flight} in flight, {self._scheduler}, {self._limiter}, "
            f"{self._supervisor}>"
        )

    def start(self) -> None:
        """Start the workers before the first request, which would also start them."""
        self._supervisor.start()

    @property
    def workers_alive(self) -> int:
        return len(self._supervisor.ready)

    async def close(self) -> None:
        """Stop the workers. Waiting and later requests fail; those in flight get no outcome."""
        self._fail_waiting("the download handler is closed")
        self._waits.close()
        self._limiter.close()
        await self._supervisor.close()

    async def fetch(self, request: PoolRequest) -> Result:
        """Download a request in a worker.

        Raises:
            OriginRejectedError: the origin is unavailable.
            WorkerLostError: the worker exited with the request in flight.
            WorkersExhaustedError: no worker can be started.
            FetchTimeoutError: the worker did not end the download in time, or none became free.
            UnsendableRequestError: the request does not fit into a frame.
        """
        self._supervisor.start()
        request.future = self._loop.create_future()
        request.on_done = self._on_done
        self.in_flight += 1
        self._events.in_flight(self.in_flight)
        try:
            self._dispatch(request)
            return await request.future
        finally:
            self.in_flight -= 1
            if request.state is not DONE:
                self._forget(request)

    def _dispatch(self, request: PoolRequest) -> None:
        """Send a request, or queue it if it has to wait."""
        if request.future.done():  # cancelled by its caller
            return
        request.state = NEW
        if self.exhausted is not None:
            self._fail(request, WorkersExhaustedError(self.exhausted))
            return
        worker = self._scheduler.checkout(request)
        if worker is None:
            self._waits.queued(request)
            return
        request.expects_idle = worker.idle.has(request.key)
        try:
            if self._limiter.admit(request):
                self._send(request, worker)
            else:
                self._waits.queued(request)
        except OriginRejectedError as error:
            self._fail(request, error)

    def _fail(self, request: PoolRequest, error: Exception) -> None:
        self._waits.forget(request)
        request.state = DONE
        request.fail(error)

    def _send(self, request: PoolRequest, worker: Worker) -> None:
        self._waits.sent(request)
        request.state = SENT
        request.worker = worker
        if worker.idle.must_connect(request.key):
            request.fetch.fresh_connection = True
        worker.served += 1
        try:
            request.listener.on_sent()
            worker.connection.fetch(request.fetch, request.body, request, request.descriptor)
        except Exception as error:
            # Whatever it is, it must not meet the caller of another request, whose end led here.
            is_known = isinstance(error, (OSError, ProtocolError))
            self._fail(request, UnsendableRequestError(str(error)) if is_known else error)
            self._release_permit(request)
            return
        if self._logs_requests:
            logger.debug("Request %d (%s) goes to %r", request.fetch.id, request.fetch.url, worker)

    def _on_done(self, request: PoolRequest, outcome: Outcome, size: int) -> None:
        """Free what a request held, and pass it on to waiting requests."""
        worker = request.worker
        self._batcher.handed_over(size)
        expected, is_closed = request.expects_idle, request.fetch.fresh_connection
        worker.idle.learn(request.key, outcome, expected=expected, is_closed=is_closed)
        if isinstance(outcome, Failed) and outcome.kind.is_local:
            self._supervisor.replace(worker, outcome.detail, drain_now=True)
        if request.permit is not None:
            self._limiter.report(request.permit, outcome)
            self._release_permit(request)
        self._serve(worker)

    def _release_permit(self, request: PoolRequest) -> None:
        permit, request.permit = request.permit, None
        if permit is not None:
            self._limiter.release(permit)

    def _serve(self, worker: Worker) -> None:
        """Give waiting requests to a worker that has come up or has one request less."""
        if worker.in_quarantine:
            self._dispatch_all(self._scheduler.take_quarantined())
        self._supervisor.request_finished(worker)
        if not worker.in_quarantine:
            self._dispatch_all(self._scheduler.take_waiting())

    def _dispatch_all(self, requests: Iterable[PoolRequest]) -> None:
        for request in requests:
            self._dispatch(request)

    def _forget(self, request: PoolRequest) -> None:
        """Remove all traces of a request whose caller was cancelled or does not wait any more."""
        self._waits.forget(request)
        if request.state in (RequestState.WAITING_FOR_WORKER, RequestState.QUARANTINED):
            self._scheduler.cancel(request)
        elif request.state is RequestState.WAITING_FOR_ORIGIN:
            self._limiter.cancel(request)
        elif request.state is SENT:
            request.state = RequestState.CANCELLING
            request.worker.connection.cancel(request.fetch)

    # From the supervisor

    def on_worker_ready(self, worker: Worker) -> None:
        self._logs_requests = is_written(logger, logging.DEBUG)
        self._serve(worker)

    def on_worker_lost(self, worker: Worker, exit_status: int) -> None:
        unsent = [r for r in worker.connection.take_unsent() if isinstance(r, PoolRequest)]
        requests = [r for r in worker.connection.abandon() if isinstance(r, PoolRequest)]
        self._events.requests_lost(sum(not request.future.done() for request in requests))
        hung, alone = worker.cause is Cause.HUNG, worker.in_quarantine
        for request in requests:
            error = WorkerLostError(worker.slot, exit_status, hung=hung, was_alone=alone)
            self._fail(request, error)
        for request in (*requests, *unsent):
            self._release_permit(request)
        self._dispatch_all((*unsent, *self._scheduler.take_all()))

    def on_exhausted(self, reason: str) -> None:
        if self.exhausted is None:
            self._fail_waiting(reason)
            self._on_exhausted(reason)

    def _fail_waiting(self, reason: str) -> None:
        self.exhausted = reason
        for request in (*self._scheduler.take_all(), *self._limiter.take_queued()):
            self._fail(request, WorkersExhaustedError(reason))

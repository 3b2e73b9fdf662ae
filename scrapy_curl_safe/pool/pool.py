"""The pool: a request goes in, what a worker made of it comes out.

The one object that handlers talk to. There is one a crawler, whatever the number of
handlers (Scrapy builds one a scheme); the last handler to close closes it.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from scrapy.exceptions import DownloadTimeoutError

from ..errors import TREATMENTS, WorkerCrashedError, classify
from ..figures import Figures
from ..settings import Settings
from ..wire import (
    Cancel,
    Done,
    Failed,
    FromWorker,
    Hello,
    Outcome,
    Place,
    Pulse,
    Ready,
    Taken,
    TooLarge,
    WireError,
)
from .dispatch import choose, room_after
from .eventloop import EventLoop, Timer
from .gate import Gate, Gates, Line
from .job import Job, Result
from .limit import Answer, Attempt
from .supervisor import Supervisor, Worker
from .valve import Valve

logger = logging.getLogger(__name__)

# Of a worker's curl sessions: enough for a pool of proxies, few enough that idle ones
# (23 kB and ten wake-ups a second each) do not show.
_SESSIONS = 64

# Failures of a handshake that fewer handshakes at once may spare.
_OF_LOAD = ("syscall", "timeout")

_LEAST_CONNECTIONS = 64
# Seconds that a worker may be late with the end of a download, whether that is due to the
# download's own timeout or to a Cancel.
_GRACE = 10.0


class Pool:
    """
    Args:
        loop: of the crawl.
        settings: of the crawl.
        figures: counts what happens.
        profiles: encoded, each with the setting that asks for it, that of most requests
            first; a worker that cannot have them all is of no use.
        give_up: called with a reason when no worker can be had, now or ever.
    """

    def __init__(
        self,
        loop: EventLoop,
        settings: Settings,
        figures: Figures,
        profiles: list[tuple[str, bytes]],
        give_up: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._figures = figures
        self._give_up = give_up
        self._waiting: deque[Job] = deque()
        # When to serve those that wait at a gate, should nothing end before.
        self._turns: dict[Gate, tuple[float, Timer]] = {}
        # Those that each need a worker to itself.
        self._suspects: deque[Job] = deque()
        self._last_id = 0
        self._in_flight = 0
        self._hopeless: str | None = None
        most = settings.concurrent_requests or _LEAST_CONNECTIONS
        #: Whether a gate holds anyone back. It counts in any case.
        self._limits = settings.adaptive
        self.gates = Gates(most, settings.adaptive_floor)
        pulse_interval = min(1.0, settings.worker_hang_timeout / 4)
        # A worker may have all that is in flight. (Left to itself libcurl keeps four for each
        # transfer that runs at the moment one ends, so after every lull it would close most.)
        connections = max(_LEAST_CONNECTIONS, settings.concurrent_requests)
        memory = settings.worker_max_memory_mb
        hello = Hello(pulse_interval, _SESSIONS, connections, memory, profiles)
        self._valve = Valve(loop.call_soon, settings.scraper_slot_max_active_size)
        self._supervisor = Supervisor(loop, settings, hello, figures, self, self._valve)
        self._supervisor.prepare()

    def start(self) -> None:
        """Start the workers. Requests that come before one is up wait for it."""
        self._supervisor.start()

    @property
    def workers_alive(self) -> int:
        return len(self._supervisor.ready)

    @property
    def in_flight(self) -> int:
        """Requests that it has, with those that wait."""
        return self._in_flight

    async def fetch(self, job: Job) -> Result:
        """Have a worker download it.

        Raises:
            OriginRestsError: too many handshakes with its origin have failed in a row.
            WorkerCrashedError: the worker died, or none can be had.
            DownloadTimeoutError: the worker did not end it in time.
            ValueError: the request does not fit into a frame.
        """
        job.future = self._loop.create_future()
        self._last_id += 1
        job.fetch.id = self._last_id
        self._in_flight += 1
        self._figures.in_flight(self._in_flight)
        if job.route is not None:
            job.gate = self.gates.of(job.route)
        try:
            self._assign(job)
            return await job.future
        finally:
            self._in_flight -= 1
            self._forget(job)

    def retire(self, worker: Worker, why: str) -> None:
        """Give it nothing more to do, as far as there is another one, and replace it."""
        self._supervisor.recycle(worker, why, at_once=True)

    async def close(self) -> None:
        for _, timer in self._turns.values():
            timer.cancel()
        self._turns.clear()
        await self._supervisor.close()

    def _assign(self, job: Job) -> None:
        if self._hopeless is not None:
            job.future.set_exception(WorkerCrashedError(self._hopeless))
        elif job.alone:
            self._suspects.append(job)
            self._serve_suspects()
        else:
            worker = choose(self._supervisor.ready, job.key, job.avoid)
            if worker is None or self._should_wait(worker):
                self._waiting.append(job)
            elif self._lets_through(job, worker):
                self._give(job, worker)

    def _should_wait(self, worker: Worker) -> bool:
        """The first worker that is up would get the work, and the connections, of all. And Scrapy
        takes a third less time a request once CONCURRENT_REQUESTS have been in flight, since it
        then has all of `start()` in its queue: this sees to that where an origin is fast."""
        return self._supervisor.is_starting and bool(worker.jobs)

    def _lets_through(self, job: Job, worker: Worker) -> bool:
        """Whether it may go to this worker now; else it waits at its gate, or has failed there."""
        gate = job.gate
        if gate is None or not self._limits or worker.warmth.has(job.key):
            return True
        now = time.monotonic()
        answer = gate.limit.ask(now)
        if answer is Answer.GO:
            job.attempt = gate.limit.begin(now)
        elif answer is Answer.WAIT:
            gate.waiting.append(job)
            self._serve_in_turn(gate, now)
        else:
            job.future.set_exception(gate.resting(now))
        return answer is Answer.GO

    def _leaves(self, job: Job, outcome: Outcome | None) -> None:
        """It takes no worker's time any more: what its gate learns from that, and who is next.

        Args:
            outcome: None where there is none.
        """
        gate = job.gate
        if gate is None:
            return
        if outcome is not None:
            self._judge(gate, job.attempt, outcome)
        if job.attempt is not None:
            gate.limit.end(job.attempt)
            job.attempt = None
        self._serve_gate(gate)

    def _serve_in_turn(self, gate: Gate, now: float) -> None:
        """When its limit lets one more through: what is under way may take much longer."""
        wait = gate.limit.turn_in(now)
        if wait is None:
            return
        if gate in self._turns:
            due, timer = self._turns[gate]
            if due <= now + wait:
                return
            timer.cancel()

        def serve() -> None:
            del self._turns[gate]
            self._serve_gate(gate)

        self._turns[gate] = now + wait, self._loop.call_later(wait, serve)

    def _serve_gate(self, gate: Gate) -> None:
        if not gate.waiting:
            return
        waiting, gate.waiting = gate.waiting, Line()
        while waiting:
            self._assign(waiting.popleft())
            if gate.waiting:  # that one has to wait, and so have those behind it
                gate.waiting.extend(waiting)
                break

    def _judge(self, gate: Gate, attempt: Attempt | None, outcome: Outcome) -> None:
        limit = gate.limit
        if isinstance(outcome, Failed):
            kind = classify(outcome.code, outcome.detail, during_handshake=outcome.in_handshake)
            if kind in TREATMENTS:
                gate.failures[kind] += 1
            if kind not in _OF_LOAD or not self._limits:
                return
            now, before = time.monotonic(), limit.value
            if gate.failed(attempt, kind, outcome.code, outcome.detail, now):
                self._figures.breaker_opened()
                logger.warning(
                    "The TLS handshakes with %s fail one after the other (%s): in %.0f s one "
                    "request tries again, and until then none",
                    gate.route,
                    kind,
                    limit.rests_for(now),
                )
            if limit.value < before:
                self._figures.limit_decreased()
        elif isinstance(outcome, (Done, TooLarge)) and outcome.transfer.handshake_at is not None:
            limit.succeed(attempt)

    def _serve_suspects(self) -> None:
        """One at a time for each worker that is kept for them."""
        for worker in self._supervisor.quarantine:
            if self._suspects and not worker.jobs:
                self._give(self._suspects.popleft(), worker)
        self._supervisor.extend_quarantine(len(self._suspects))

    def _give(self, job: Job, worker: Worker) -> None:
        job.worker = worker
        job.listener.on_sent()
        worker.jobs[job.fetch.id] = job
        job.was_warm = worker.warmth.has(job.key)
        if worker.warmth.taken(job.key):
            job.fetch.fresh = True
        worker.served += 1
        if job.fetch.timeout:
            job.deadline = time.monotonic() + job.fetch.timeout + _GRACE
        try:
            worker.link.send(job.fetch, job.body)
        except WireError as error:
            del worker.jobs[job.fetch.id]
            job.future.set_exception(ValueError(str(error)))
            self._leaves(job, None)

    def _forget(self, job: Job) -> None:
        """The caller has its result, or was cancelled and wants none."""
        if job.worker is None:
            queues = [self._waiting, self._suspects] + ([job.gate.waiting] if job.gate else [])
            for queue in queues:
                if job in queue:
                    queue.remove(job)
        elif job.fetch.id in job.worker.jobs:
            job.abandoned = True
            job.deadline = time.monotonic() + _GRACE
            job.worker.link.send(Cancel(job.fetch.id))

    # What the supervisor tells

    def on_ready(self, worker: Worker) -> None:
        if worker.in_quarantine:
            self._free(worker)
            return
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            self._assign(job)

    def on_message(self, worker: Worker, message: FromWorker, body: bytes) -> None:
        assert not isinstance(message, (Ready, Pulse))
        job: Job | None = worker.jobs.get(message.id)
        if job is None:
            raise WireError(f"{type(message).__name__} of a request that it does not have")
        job.check(message)
        if isinstance(message, Outcome):
            # First: until the body is there, the request is lost if the worker is.
            if isinstance(message, Done) and message.place is not None:
                body = self._take(worker, message.place)
            self._valve.passed(len(body))
            del worker.jobs[job.fetch.id]
            if isinstance(message, Done):
                worker.warmth.returned(
                    job.key,
                    reused=not message.transfer.connects,
                    was_warm=job.was_warm,
                    room=0 if job.fetch.fresh else room_after(message.head),
                )
            elif isinstance(message, Failed) and job.was_warm and _was_closed(message):
                worker.warmth.returned(job.key, reused=False, was_warm=True, room=0)
            if not job.future.done():
                job.future.set_result(Result(message, body, worker))
            self._leaves(job, message)
            self._free(worker)
        elif not job.future.done():
            self._tell_listener(job, message, body)

    def _take(self, worker: Worker, place: Place) -> bytes:
        """A body that lies in the memory that is shared with the worker."""
        if worker.memory is None:
            raise WireError("a body in a memory that is not there")
        body = worker.memory.read(place)
        worker.link.send(Taken())
        return body

    def _tell_listener(self, job: Job, message: FromWorker, body: bytes) -> None:
        assert job.worker is not None
        try:
            goes_on = job.listener.on_message(message, body)
        except Exception as error:
            job.future.set_exception(error)
            return
        if not goes_on:
            job.future.set_result(Result(None, b"", job.worker))

    def _free(self, worker: Worker) -> None:
        """It has one request less."""
        if worker.in_quarantine:
            self._serve_suspects()
            if not worker.jobs:
                self._supervisor.dismiss(worker)
        else:
            self._supervisor.finished_one(worker)
            if self._waiting:
                self._serve_waiting()

    def on_tick(self, worker: Worker, now: float) -> None:
        if self._waiting:
            self._serve_waiting()
        for job in list(worker.jobs.values()):
            if now < job.deadline:
                continue
            if job.abandoned:
                raise WireError(f"it does not end request {job.fetch.id}, which was cancelled")
            # libcurl keeps the time itself; this is for a transfer that it lost sight of.
            if not job.future.done():
                job.future.set_exception(
                    DownloadTimeoutError(
                        f"Worker {worker.slot} did not end the download of {job.fetch.url} "
                        f"within its {job.fetch.timeout:g} seconds"
                    )
                )

    def on_death(self, worker: Worker, exit_status: int, *, hung: bool) -> None:
        its_jobs: list[Job] = list(worker.jobs.values())
        lost = [job for job in its_jobs if not job.future.done()]
        worker.jobs.clear()
        self._figures.requests_lost(len(lost))
        for job in lost:
            job.future.set_exception(
                WorkerCrashedError(
                    "the worker hung and was killed" if hung else "the worker died",
                    worker=worker.slot,
                    exit_status=exit_status,
                    hung=hung,
                    alone=job.alone,
                )
            )
        for job in its_jobs:
            self._leaves(job, None)
        if worker.in_quarantine:
            self._serve_suspects()

    def on_hopeless(self, reason: str) -> None:
        if self._hopeless is not None:
            return
        self._hopeless = reason
        waiting = [*self._waiting, *self._suspects, *self.gates.take_waiting()]
        self._waiting.clear()
        self._suspects.clear()
        for job in waiting:
            job.future.set_exception(WorkerCrashedError(reason))
        self._give_up(reason)


def _was_closed(failed: Failed) -> bool:
    """Whether it failed since no connection was there any more."""
    kind = classify(failed.code, failed.detail, during_handshake=failed.in_handshake)
    return failed.in_handshake or kind == "connection_died"

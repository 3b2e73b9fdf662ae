"""Decides which requests may open a TLS connection to their origin, and which ones wait."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from .._ipc.failures import FailureKind
from .._ipc.messages import Completed, Failed, Outcome, TooLarge
from .circuit_breaker import Admission
from .errors import OriginRejectedError
from .event_loop import EventLoop, TimerHandle
from .events import PoolEvents
from .origins import HandshakeFailure, Origin, Permit
from .request import PoolRequest, RequestState

logger = logging.getLogger(__name__)

# Failures that fewer simultaneous handshakes may prevent.
_LOAD_KINDS = (FailureKind.SYSCALL, FailureKind.TIMEOUT)


class WaitQueue:
    """Requests that wait for a permit. Those that failed before come first; otherwise they might
    fail again and again while later requests overload the origin."""

    def __init__(self) -> None:
        self._retries: deque[PoolRequest] = deque()
        self._first_tries: deque[PoolRequest] = deque()

    def __len__(self) -> int:
        return len(self._retries) + len(self._first_tries)

    def __iter__(self) -> Iterator[PoolRequest]:
        return chain(self._retries, self._first_tries)

    def append(self, request: PoolRequest) -> None:
        self._queue_of(request).append(request)

    def popleft(self) -> PoolRequest:
        return (self._retries or self._first_tries).popleft()

    def remove(self, request: PoolRequest) -> None:
        """Remove a request.

        Raises:
            ValueError: the request does not wait here.
        """
        self._queue_of(request).remove(request)

    def extend(self, others: WaitQueue) -> None:
        self._retries += others._retries
        self._first_tries += others._first_tries

    def _queue_of(self, request: PoolRequest) -> deque[PoolRequest]:
        return self._first_tries if request.avoid is None else self._retries


class OriginLimiter:
    """Issues permits for new TLS connections to all origins, and queues requests that cannot get
    one yet.

    Args:
        loop: runs the timers of queued requests.
        enabled: whether requests are limited (CURL_SAFE_ADAPTIVE). Failures are always counted.
        dispatch: called with each request whose turn has come; it asks for a permit again.
        events: is told about limits and breakers.
    """

    def __init__(
        self,
        loop: EventLoop,
        enabled: bool,
        dispatch: Callable[[PoolRequest], None],
        events: PoolEvents,
    ) -> None:
        self._loop = loop
        self._enabled = enabled
        self._dispatch = dispatch
        self._events = events
        self._queues: dict[Origin, WaitQueue] = {}
        # When to serve an origin's queue if no handshake ends before.
        self._timers: dict[Origin, tuple[float, TimerHandle]] = {}

    def __repr__(self) -> str:
        queued = sum(map(len, self._queues.values()))
        return f"<OriginLimiter {queued} queued for {len(self._queues)} origins>"

    def admit(self, request: PoolRequest) -> bool:
        """Give a request a permit, or queue it. Requests that are expected to find an idle
        connection, and those in quarantine, are not limited.

        Returns:
            False if the request was queued.

        Raises:
            OriginRejectedError: the origin is unavailable.
        """
        if not request.needs_tls:
            return True
        origin = request.origin
        if not self._enabled or request.expects_idle or request.in_quarantine:
            request.permit = Permit(origin)
            return True
        now = time.monotonic()
        admission = origin.admission(now)
        if admission is Admission.PERMITTED:
            request.permit = origin.acquire(now)
            return True
        if admission is Admission.REJECTED:
            raise OriginRejectedError(origin.last_failure, origin.breaker.open_for(now))
        request.state = RequestState.WAITING_FOR_ORIGIN
        self._queues.setdefault(origin, WaitQueue()).append(request)
        self._set_timer(origin, now)
        return False

    def report(self, permit: Permit, outcome: Outcome) -> None:
        """Learn from the outcome of a request."""
        if isinstance(outcome, Failed):
            if outcome.kind.is_handshake:
                self._report_failure(permit, outcome)
        elif isinstance(outcome, (Completed, TooLarge)) and outcome.stats.handshake_at is not None:
            permit.success()

    def _report_failure(self, permit: Permit, failed: Failed) -> None:
        origin = permit.origin
        origin.failures[failed.kind] += 1
        if failed.kind not in _LOAD_KINDS or not self._enabled:
            return
        now, before = time.monotonic(), origin.limit.value
        if permit.failure(HandshakeFailure(failed.kind, failed.code, failed.detail), now):
            self._events.breaker_opened()
            logger.warning(
                "Circuit breaker for %s open: its TLS handshakes fail one after the other (%s). "
                "One trial request goes out in %.0f s, and no request before that",
                origin.route,
                failed.kind.value,
                origin.breaker.open_for(now),
            )
        if origin.limit.value < before:
            self._events.limit_decreased()

    def release(self, permit: Permit) -> None:
        """End a request's handshake and serve the requests that wait for one."""
        permit.release()
        self._serve(permit.origin)

    def cancel(self, request: PoolRequest) -> None:
        """Remove a request, if it is queued."""
        with contextlib.suppress(KeyError, ValueError):  # taken out, to be dispatched now
            self._queues[request.origin].remove(request)

    def take_queued(self) -> list[PoolRequest]:
        """Remove all requests from the queues and return them."""
        queues, self._queues = self._queues, {}
        return [request for queue in queues.values() for request in queue]

    def close(self) -> None:
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _serve(self, origin: Origin) -> None:
        waiting = self._queues.pop(origin, None)
        while waiting:
            self._dispatch(waiting.popleft())
            queue = self._queues.get(origin)
            if queue:  # the request has to wait, and so do those behind it
                queue.extend(waiting)
                break

    def _set_timer(self, origin: Origin, now: float) -> None:
        """Serve the queue once the limit or the breaker permits, since the handshakes under way may
        take much longer."""
        wait = origin.retry_admission_in(now)
        if wait is None:
            return
        if origin in self._timers:
            due, timer = self._timers[origin]
            if due <= now + wait:
                return
            timer.cancel()

        def serve() -> None:
            del self._timers[origin]
            self._serve(origin)

        self._timers[origin] = now + wait, self._loop.call_later(wait, serve)

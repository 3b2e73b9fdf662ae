"""Who may open a TLS connection to which origin, and who waits for that."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from .._ipc.failures import FailureKind
from .._ipc.messages import Completed, Failed, Outcome, TooLarge
from .circuit_breaker import Admission
from .errors import OriginRejectedError
from .event_loop import EventLoop, TimerHandle
from .events import PoolEvents
from .origins import HandshakeFailure, Origin, OriginRegistry, Permit, WaitQueue
from .request import PoolRequest, RequestState

logger = logging.getLogger(__name__)

# Failures that fewer handshakes at once may prevent.
_LOAD_KINDS = (FailureKind.SYSCALL, FailureKind.TIMEOUT)


class OriginLimiter:
    """Issues permits for new TLS connections, and queues the requests that get none yet.

    Args:
        loop: runs the timers of queued requests.
        origins: what is known about each origin.
        enabled: whether requests are limited (CURL_SAFE_ADAPTIVE). Failures are always counted.
        dispatch: called with each request whose turn has come; it asks for a permit again.
        events: hears of limits and breakers.
    """

    def __init__(
        self,
        loop: EventLoop,
        origins: OriginRegistry,
        enabled: bool,
        dispatch: Callable[[PoolRequest], None],
        events: PoolEvents,
    ) -> None:
        self._loop = loop
        self._origins = origins
        self._enabled = enabled
        self._dispatch = dispatch
        self._events = events
        # When to serve an origin's queue if nothing ends before.
        self._timers: dict[Origin, tuple[float, TimerHandle]] = {}

    def __repr__(self) -> str:
        return f"<OriginLimiter of {self._origins}, {len(self._timers)} timers>"

    def acquire(self, request: PoolRequest) -> Permit | None:
        """Issue a permit for a new connection.

        Returns:
            None if the request was queued.

        Raises:
            OriginRejectedError: the origin is unavailable.
        """
        origin = request.origin
        now = time.monotonic()
        admission = origin.admission(now) if self._enabled else Admission.PERMITTED
        if admission is Admission.PERMITTED:
            return origin.acquire(now) if self._enabled else Permit(origin)
        if admission is Admission.QUEUED:
            request.state = RequestState.WAITING_FOR_ORIGIN
            origin.queue.append(request)
            self._set_timer(origin, now)
            return None
        raise OriginRejectedError(origin.last_failure, origin.breaker.open_for(now))

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
                "One trial request goes out in %.0f s, and none before",
                origin.route,
                failed.kind.value,
                origin.breaker.open_for(now),
            )
        if origin.limit.value < before:
            self._events.limit_decreased()

    def release(self, permit: Permit) -> None:
        """End a request's handshake and serve those that wait for one."""
        permit.release()
        self._serve(permit.origin)

    def cancel(self, request: PoolRequest) -> None:
        """Remove a request, if it is queued."""
        with contextlib.suppress(ValueError):  # taken out, to be dispatched in this turn
            request.origin.queue.remove(request)

    def close(self) -> None:
        for _, timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _serve(self, origin: Origin) -> None:
        if not origin.queue:
            return
        waiting, origin.queue = origin.queue, WaitQueue()
        while waiting:
            self._dispatch(waiting.popleft())
            if origin.queue:  # that one has to wait, and so have those behind it
                origin.queue.extend(waiting)
                break

    def _set_timer(self, origin: Origin, now: float) -> None:
        """Serve the queue once the limit or the breaker permits: what is under way may take much
        longer."""
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

"""Watches requests that wait for a worker or a permit: logs long waits, and ends those without
progress.

A queue may be long for good reasons. If an origin takes three handshakes at a time, thousands of
requests may wait for hours, and each gets its turn. So the bound is not on the wait of a request,
but on the time in which no request of its queue gets what it waits for. A request that holds a
permit or a quarantine worker is bound by its `download_timeout`, so once the longest one of the
crawl and a few more minutes have passed, nothing will come any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from .errors import FetchTimeoutError
from .event_loop import EventLoop, TimerHandle
from .origins import Origin
from .request import PoolRequest, RequestState

logger = logging.getLogger(__name__)

_CHECK_INTERVAL_SECONDS = 10.0
_FIRST_WARNING_SECONDS = 60.0
# A breaker may keep a queue waiting for a minute. A worker that hangs while it starts may do so for
# its hang timeout, half a minute, at each of eight starts.
_SPARE_SECONDS = 300.0

#: What a queue waits for: permits of an origin, workers, or workers in quarantine.
Queue = Origin | RequestState


class _Wait(NamedTuple):
    queue: Queue
    since: float


class WaitWatch:
    """Knows which requests of a pool wait, for what and since when.

    Args:
        loop: runs the timer.
        describe_workers: describes the state of the workers, for the log.
    """

    def __init__(self, loop: EventLoop, describe_workers: Callable[[], str]) -> None:
        self._loop = loop
        self._describe_workers = describe_workers
        self._waits: dict[PoolRequest, _Wait] = {}
        # By queue: when a request of it last got what it waited for.
        self._progress: dict[Queue, float] = {}
        # By queue: the wait at which the next warning is due.
        self._warn_at: dict[Queue, float] = {}
        self._longest_timeout = 0.0
        self._timer: TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<WaitWatch of {len(self._waits)} requests>"

    def queued(self, request: PoolRequest) -> None:
        """Note that a request waits, or still waits, for what its state says."""
        is_permit = request.state is RequestState.WAITING_FOR_ORIGIN
        queue: Queue = request.origin if is_permit else request.state
        wait = self._waits.get(request)
        if wait is not None and wait.queue is queue:
            return
        now = time.monotonic()
        if wait is not None:
            self._progress[wait.queue] = now
        self._waits[request] = _Wait(queue, now)
        if self._timer is None:
            self._timer = self._loop.call_later(_CHECK_INTERVAL_SECONDS, self._check)

    def sent(self, request: PoolRequest) -> None:
        """Note that a request goes to a worker, whether or not it had to wait."""
        self._longest_timeout = max(self._longest_timeout, request.fetch.timeout_seconds)
        wait = self._waits.pop(request, None)
        if wait is not None:
            self._progress[wait.queue] = time.monotonic()

    def forget(self, request: PoolRequest) -> None:
        """Note that a request no longer waits, because it was cancelled or has failed."""
        self._waits.pop(request, None)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _check(self) -> None:
        now = time.monotonic()
        oldest: dict[Queue, _Wait] = {}
        for request, wait in list(self._waits.items()):
            oldest.setdefault(wait.queue, wait)  # they are ordered by their beginning
            moved = max(wait.since, self._progress.get(wait.queue, wait.since))
            if now - moved > self._longest_timeout + _SPARE_SECONDS:
                self._give_up(request, wait, now)
        self._progress = {queue: self._progress.get(queue, 0.0) for queue in oldest}
        self._warn_at = {queue: at for queue, at in self._warn_at.items() if queue in oldest}
        for queue, wait in oldest.items():
            if now - wait.since >= self._warn_at.get(queue, _FIRST_WARNING_SECONDS):
                self._warn_at[queue] = 2 * (now - wait.since)
                self._warn(queue, now - wait.since)
        self._timer = None
        if self._waits:
            self._timer = self._loop.call_later(_CHECK_INTERVAL_SECONDS, self._check)

    def _give_up(self, request: PoolRequest, wait: _Wait, now: float) -> None:
        request.fail(
            FetchTimeoutError(
                f"{request.fetch.url} waited {now - wait.since:.0f} s for "
                f"{self._describe(wait.queue)}, and no request got any in "
                f"{self._longest_timeout + _SPARE_SECONDS:.0f} s"
            )
        )

    def _warn(self, queue: Queue, seconds: float) -> None:
        logger.warning(
            "Waiting for %s: %d requests, the first one for %.0f s. They keep waiting as long as "
            "one of them gets it from time to time",
            self._describe(queue),
            sum(wait.queue is queue for wait in self._waits.values()),
            seconds,
        )

    def _describe(self, queue: Queue) -> str:
        if isinstance(queue, Origin):
            return f"a permit for a TLS handshake with {queue.route} ({queue!r})"
        what = "a worker" if queue is RequestState.WAITING_FOR_WORKER else "a worker of its own"
        return f"{what} ({self._describe_workers()})"

"""Finds workers that hang, and downloads that a worker does not end in time; reviews where the
workers run."""

from __future__ import annotations

import time
from collections.abc import Callable

from .affinity import WorkerAffinity
from .event_loop import EventLoop, TimerHandle
from .events import PoolEvents
from .worker import State, Worker

_TICK_SECONDS = 1.0
# How long a worker may take to come up, on a machine that has much else to do.
_START_TIMEOUT_SECONDS = 60.0


class Watchdog:
    """Looks at all workers once a second.

    Time in which the crawler does not listen counts against no worker: what it has sent meanwhile
    is yet to be read. The crawler does not listen while a callback of the spider keeps its loop,
    nor to a worker whose messages flow control holds back.

    Args:
        loop: of the crawl.
        workers: those there are, a list that its owner keeps up to date.
        hang_timeout_seconds: how long a worker may say nothing (CURL_SAFE_WORKER_HANG_TIMEOUT).
        affinity: of the workers.
        events: is told how late the loop is.
        on_hung: called with a worker that has said nothing for longer.
    """

    def __init__(
        self,
        loop: EventLoop,
        workers: list[Worker],
        hang_timeout_seconds: float,
        affinity: WorkerAffinity,
        events: PoolEvents,
        on_hung: Callable[[Worker], None],
    ) -> None:
        self._loop = loop
        self._workers = workers
        self._hang_timeout_seconds = hang_timeout_seconds
        self._affinity = affinity
        self._events = events
        self._on_hung = on_hung
        self._timer: TimerHandle | None = None
        self._due = 0.0

    def __repr__(self) -> str:
        return f"<Watchdog {'awake' if self.is_awake else 'asleep'}>"

    @property
    def is_awake(self) -> bool:
        return self._timer is not None

    def start(self) -> None:
        self._due = time.monotonic() + _TICK_SECONDS
        self._timer = self._loop.call_later(_TICK_SECONDS, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        now = time.monotonic()
        lag = now - self._due
        self.start()
        self._events.loop_lag(lag)
        for worker in list(self._workers):
            if worker.state is not State.STOPPING:
                self._check(worker, now, lag)
        self._affinity.review(worker.process.pid for worker in self._workers)

    def _check(self, worker: Worker, now: float, lag: float) -> None:
        connection = worker.connection
        if connection.is_held_back:
            connection.excuse(_TICK_SECONDS + lag)
        elif lag > _TICK_SECONDS:
            connection.excuse(lag)
        longest = self._hang_timeout_seconds
        if not worker.was_ready:
            # It sends no heartbeats yet.
            longest = max(longest, _START_TIMEOUT_SECONDS)
        if connection.silence(now) > longest:
            self._on_hung(worker)
        else:
            connection.check_deadlines(now)

"""The events that the pool reports for the stats."""

from __future__ import annotations

from typing import Protocol

from .._ipc.messages import Ready
from .worker import Worker


class PoolEvents(Protocol):
    def in_flight(self, count: int) -> None:
        """The pool has this many requests, including queued ones."""

    def limit_decreased(self) -> None: ...

    def breaker_opened(self) -> None: ...

    def worker_started(self, worker: Worker) -> None: ...

    def worker_ready(self, ready: Ready) -> None:
        """A worker has come up and said this."""

    def worker_crashed(self) -> None: ...

    def worker_hung(self) -> None: ...

    def worker_replaced(self, worker: Worker, reason: str) -> None:
        """A worker is about to be replaced without losing requests."""

    def worker_exited(self, worker: Worker, status: int) -> None:
        """A worker's process has ended; the worker's `cause` says why."""

    def requests_lost(self, count: int) -> None:
        """A worker exited with this many requests in flight."""

    def loop_lag(self, seconds: float) -> None:
        """A timer of the crawler's loop fired this much too late."""

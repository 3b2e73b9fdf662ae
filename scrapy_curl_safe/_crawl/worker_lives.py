"""Records when each worker of a crawl started and ended, and why, in bounded memory."""

from __future__ import annotations

import time

import msgspec

from .._platform.system import system
from .._pool.worker import Cause, Worker

_ENDS = {
    Cause.RELEASED: "released",
    Cause.CRASHED: "died",
    Cause.HUNG: "hung",
    Cause.BROKE_PROTOCOL: "broke the protocol",
}
_RECYCLED = "recycled"


class WorkerLife(msgspec.Struct):
    """The life of a worker. Times are in seconds.

    Attributes:
        slot: the worker's number.
        pid: of its process.
        start: when it started.
        end: when its process ended; None while it runs.
        how: it ended: "recycled", "died", "hung", "broke the protocol" or "released" (it had the
            one request for which it was started); empty while it runs.
        why: it ended so, as far as that is known.
        served: requests given to it.
    """

    slot: int
    pid: int
    start: float
    end: float | None = None
    how: str = ""
    why: str = ""
    served: int = 0


class WorkerLives:
    """Records the lives of a crawl's workers.

    Args:
        most: lives that are kept; beyond them the oldest one that has ended is forgotten.

    Attributes:
        forgotten: how many were.
    """

    def __init__(self, most: int = 500) -> None:
        self._most = most
        self._lives: list[WorkerLife] = []
        self._running: dict[Worker, WorkerLife] = {}
        self.forgotten = 0

    def __repr__(self) -> str:
        return f"<WorkerLives of {len(self._lives)} workers, {len(self._running)} of them running>"

    def started(self, worker: Worker) -> None:
        life = WorkerLife(worker.slot, worker.process.pid, time.monotonic())
        self._running[worker] = life
        self._lives.append(life)
        if len(self._lives) > self._most:
            oldest = next((life for life in self._lives if life.end is not None), None)
            if oldest is not None:
                self._lives.remove(oldest)
                self.forgotten += 1

    def replaced(self, worker: Worker, reason: str) -> None:
        self._running[worker].why = reason

    def exited(self, worker: Worker, status: int) -> None:
        life = self._running.pop(worker)
        life.end = time.monotonic()
        life.served = worker.served
        if worker.cause is Cause.RELEASED and life.why:
            life.how = _RECYCLED
        elif worker.cause is not None:
            life.how = _ENDS[worker.cause]
            if worker.cause is not Cause.RELEASED:
                life.why = system.describe_exit(status)

    def since(self, start: float) -> list[WorkerLife]:
        """Return copies of the lives whose times count from a time of `time.monotonic`; what was
        before that is 0."""
        for worker, life in self._running.items():
            life.served = worker.served
        return [
            msgspec.structs.replace(
                life,
                start=max(0.0, life.start - start),
                end=None if life.end is None else max(0.0, life.end - start),
            )
            for life in self._lives
        ]

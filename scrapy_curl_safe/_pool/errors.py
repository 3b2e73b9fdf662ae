"""Why the pool has no outcome for a request."""

from __future__ import annotations

from .origins import HandshakeFailure


class PoolError(Exception):
    """The base of what `Pool.fetch` raises for want of an outcome."""


class OriginRejectedError(PoolError):
    """The circuit breaker of an origin is open, and the origin may be dead.

    Attributes:
        last_failure: what opened the breaker.
        open_seconds: until a trial request may go out.
    """

    def __init__(self, last_failure: HandshakeFailure, open_seconds: float) -> None:
        super().__init__(f"not tried for {open_seconds:.1f} s more: {last_failure.detail}")
        self.last_failure = last_failure
        self.open_seconds = open_seconds


class WorkerLostError(PoolError):
    """The worker exited with the request in flight.

    Attributes:
        slot: number of the worker.
        exit_status: as `subprocess.Popen.returncode` has it: negative for a signal.
        hung: whether the worker was killed because it hung.
        was_alone: whether the request had the worker for itself.
    """

    def __init__(self, slot: int, exit_status: int, *, hung: bool, was_alone: bool) -> None:
        super().__init__("the worker hung and was killed" if hung else "the worker died")
        self.slot = slot
        self.exit_status = exit_status
        self.hung = hung
        self.was_alone = was_alone


class WorkersExhaustedError(PoolError):
    """No worker can be had, now or ever."""


class FetchTimeoutError(PoolError):
    """A worker did not end a download in time, or the request waited for a worker or a permit in
    vain.

    libcurl keeps the time of a transfer itself, so the former is for one that it lost sight of.
    """


class UnsendableRequestError(PoolError):
    """The request does not fit into a frame."""

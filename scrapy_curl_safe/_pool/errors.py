"""The reasons why the pool has no outcome for a request."""

from __future__ import annotations

from .origins import HandshakeFailure


class PoolError(Exception):
    """The base of what `Pool.fetch` raises if there is no outcome."""


class OriginRejectedError(PoolError):
    """The circuit breaker of an origin is open, and the origin may be dead.

    Attributes:
        last_failure: the failure that opened the breaker.
        open_seconds: the time until a trial request may go out.
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
        was_alone: whether the request had the worker to itself.
    """

    def __init__(self, slot: int, exit_status: int, *, hung: bool, was_alone: bool) -> None:
        super().__init__("the worker hung and was killed" if hung else "the worker died")
        self.slot = slot
        self.exit_status = exit_status
        self.hung = hung
        self.was_alone = was_alone


class WorkersExhaustedError(PoolError):
    """No worker can be started, now or later."""


class FetchTimeoutError(PoolError):
    """A worker did not end a download in time, or the request waited in vain for a worker or a
    permit.

    libcurl enforces the timeout of a transfer itself; the former case covers transfers that escape
    it.
    """


class UnsendableRequestError(PoolError):
    """The request does not fit into a frame."""

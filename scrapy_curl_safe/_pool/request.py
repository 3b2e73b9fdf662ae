"""A request in the pool, and its explicit state."""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import NamedTuple, Protocol

from .._ipc.messages import Chunk, Fetch, Outcome, ResponseHead, SizeWarning
from .errors import FetchTimeoutError
from .event_loop import Future
from .origins import Origin, Permit
from .worker import Worker


class RequestState(enum.Enum):
    """The states in the table of `pool`."""

    NEW = "new"
    WAITING_FOR_WORKER = "waiting for a worker"
    WAITING_FOR_ORIGIN = "waiting for a permit"
    QUARANTINED = "waiting for a worker of its own"
    SENT = "sent"
    CANCELLING = "cancelling"
    DONE = "done"


#: States of a request that waits for nothing. Until Python 3.12 a member takes as long to look up
#: in its class as to call a function.
NEW, SENT, DONE = RequestState.NEW, RequestState.SENT, RequestState.DONE


class Listener(Protocol):
    """Follows one download while it runs."""

    def on_sent(self) -> None:
        """Note that the request now goes to a worker."""

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> bool:
        """Handle a message that precedes the outcome; return False to end the download."""


class Result(NamedTuple):
    """The result of a request.

    Attributes:
        outcome: None if the listener ended the download.
        body: of the response.
        slot: number of the worker.
    """

    outcome: Outcome | None
    body: bytes
    slot: int


class PoolRequest:
    """A request on its way through the pool.

    Args:
        fetch: what to send to the worker.
        body: the request's body.
        key: what a connection must match to serve it (origin and profile).
        listener: gets the messages that precede the outcome.
        origin: of the request.
        needs_tls: whether a new connection to the origin begins with a TLS handshake.
        avoid: slot of the worker that failed the request before.
        in_quarantine: whether the request must not share a worker.
        descriptor: of the file that the response's body goes to; None for none.

    Attributes:
        state: where the request is.
        worker: the worker that has it, from SENT on.
        permit: ties it to its origin's limits, from SENT on; None without TLS.
        expects_idle: whether it was expected to find an idle connection.
    """

    __slots__ = (
        "avoid",
        "body",
        "descriptor",
        "expects_idle",
        "fetch",
        "future",
        "in_quarantine",
        "key",
        "listener",
        "needs_tls",
        "on_done",
        "origin",
        "permit",
        "state",
        "worker",
    )

    future: Future[Result]
    on_done: Callable[[PoolRequest, Outcome, int], None]
    worker: Worker

    def __init__(
        self,
        fetch: Fetch,
        body: bytes,
        *,
        key: Hashable,
        listener: Listener,
        origin: Origin,
        needs_tls: bool,
        avoid: int | None = None,
        in_quarantine: bool = False,
        descriptor: int | None = None,
    ) -> None:
        self.fetch = fetch
        self.body = body
        self.key = key
        self.listener = listener
        self.origin = origin
        self.needs_tls = needs_tls
        self.avoid = avoid
        self.in_quarantine = in_quarantine
        self.descriptor = descriptor
        self.state = NEW
        self.permit: Permit | None = None
        self.expects_idle = False

    def __repr__(self) -> str:
        return f"<PoolRequest {self.fetch.id} {self.fetch.url}: {self.state.value}>"

    def resolve(self, result: Result) -> None:
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    # From the connection

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> None:
        if self.future.done():
            return
        try:
            goes_on = self.listener.on_message(message, body)
        except Exception as error:
            self.fail(error)
            return
        if not goes_on:
            self.resolve(Result(None, b"", self.worker.slot))

    def on_outcome(self, outcome: Outcome, body: bytes) -> None:
        self.state = DONE
        # This comes first: on Twisted's reactors the caller resumes inside `resolve`.
        self.on_done(self, outcome, len(body))
        self.resolve(Result(outcome, body, self.worker.slot))

    def on_overdue(self) -> None:
        self.fail(
            FetchTimeoutError(
                f"Worker {self.worker.slot} did not end the download of {self.fetch.url} "
                f"within its {self.fetch.timeout_seconds:g} seconds"
            )
        )

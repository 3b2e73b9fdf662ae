"""A request on its way through the pool, and what a worker may say of it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from ..wire import Cancelled, Chunk, Done, Fetch, FromWorker, Head, Outcome, WireError
from .eventloop import Future
from .gate import Gate, Route
from .limit import Attempt
from .supervisor import Worker


class Listener(Protocol):
    def on_sent(self) -> None:
        """The request is on its way to a worker: what it waited for before is over."""

    def on_message(self, message: FromWorker, body: bytes) -> bool:
        """Whatever a worker says of a download before its outcome; False ends it."""


class Result(NamedTuple):
    #: None where the listener ended it.
    outcome: Outcome | None
    body: bytes
    worker: Worker


@dataclass(eq=False)
class Job:
    """
    Attributes:
        fetch: what to send to the worker; its id is the pool's to set.
        body: the request's body.
        key: what a connection must match to serve it.
        listener: hears what comes before the outcome.
        route: of its handshake; None where there is none.
        avoid: slot of the worker that failed this request before.
        alone: whether it must not share a worker.
        abandoned: whether nobody waits for it any more.
        gate: where the limit of its route is kept.
        was_warm: whether it was expected to need no new connection.
        attempt: of the handshake that it may be at, where its gate has let it through.
    """

    fetch: Fetch
    body: bytes
    key: Hashable
    listener: Listener
    route: Route | None = None
    avoid: int | None = None
    alone: bool = False
    abandoned: bool = field(default=False, init=False)
    gate: Gate | None = field(default=None, init=False)
    was_warm: bool = field(default=False, init=False)
    attempt: Attempt | None = field(default=None, init=False)
    worker: Worker | None = field(default=None, init=False)
    deadline: float = field(default=math.inf, init=False)
    future: Future[Result] = field(init=False)
    _head_came: bool = field(default=False, init=False)

    def check(self, message: FromWorker) -> None:
        """
        Raises:
            WireError: no honest worker says this of this request now.
        """
        if isinstance(message, Head):
            fits = self.fetch.stream and not self._head_came and message.transfer is not None
            self._head_came = True
        elif isinstance(message, Chunk):
            fits = self._head_came
        elif isinstance(message, Done):
            fits = self._head_came == self.fetch.stream == (message.head is None)
        elif isinstance(message, Cancelled):
            fits = self.abandoned
        else:
            fits = True
        if not fits:
            raise WireError(f"{type(message).__name__} is out of place for request {self.fetch.id}")

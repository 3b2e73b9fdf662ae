"""The crawler's end of the protocol with one worker."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol

from .._ipc.channel import Channel, FlowControl
from .._ipc.framing import from_worker_decoder
from .._ipc.messages import (
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    Heartbeat,
    Hello,
    InvalidRequest,
    Outcome,
    ProtocolError,
    Ready,
    ResponseHead,
    SharedSlice,
    SizeWarning,
    SliceReleased,
    TooLarge,
)
from .._platform.system import system
from .event_loop import EventLoop
from .worker_process import WorkerProcess

# How late a worker may end a download after the download's own timeout or a Cancel.
_GRACE_SECONDS = 10.0


class Receiver(Protocol):
    """Receives a worker's messages about one fetch."""

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> None: ...

    def on_outcome(self, outcome: Outcome, body: bytes) -> None:
        """Take the outcome; nothing follows."""

    def on_overdue(self) -> None:
        """Note that the outcome is late. It may still come."""


class _Exchange:
    """A Fetch that was sent, until its outcome arrives."""

    __slots__ = ("deadline", "fetch", "head_came", "is_cancelled", "position", "receiver")

    def __init__(self, fetch: Fetch, receiver: Receiver, position: int) -> None:
        self.fetch = fetch
        self.receiver = receiver
        self.position = position
        self.is_cancelled = False
        self.head_came = False
        self.deadline = math.inf
        if fetch.timeout_seconds:
            self.deadline = time.monotonic() + fetch.timeout_seconds + _GRACE_SECONDS

    def check(self, message: FromWorker) -> None:
        """Check a message of the worker about this fetch.

        Raises:
            ProtocolError: no honest worker would send this for this fetch now.
        """
        stream = self.fetch.stream
        if isinstance(message, Completed):
            fits = self.head_came == stream == (message.head is None) and (
                message.file is None or self.fetch.file is not None
            )
            if message.encoded is not None:
                is_shared = isinstance(message.encoded, SharedSlice)
                fits = fits and not stream and is_shared == (message.shared is not None)
        elif isinstance(message, ResponseHead):
            fits = stream and not self.head_came and message.stats is not None
            self.head_came = True
        elif isinstance(message, Chunk):
            fits = self.head_came
        elif isinstance(message, Cancelled):
            fits = self.is_cancelled
        else:
            fits = True
        if not fits:
            raise ProtocolError(
                f"{type(message).__name__} is out of place for request {self.fetch.id}"
            )


class WorkerConnection:
    """Sends fetches to a worker, checks its answers, and passes them to the receivers.

    Args:
        loop: watches the socket.
        process: of the worker; the connection takes its socket.
        hello: the first message.
        on_ready: called once, when the worker takes requests or says why it cannot.
        on_heartbeat: called with each heartbeat.
        on_lost: called once, with None if the worker closed the stream, otherwise with the error
            that ended it (ProtocolError if the worker broke the protocol, OSError if the socket
            failed, any other if a message could not be handled here); never after `close`.
        flow_control: holds messages back while it is paused.
    """

    def __init__(
        self,
        loop: EventLoop,
        process: WorkerProcess,
        hello: Hello,
        *,
        on_ready: Callable[[Ready], None],
        on_heartbeat: Callable[[Heartbeat], None] = lambda heartbeat: None,
        on_lost: Callable[[Exception | None], None],
        flow_control: FlowControl | None = None,
    ) -> None:
        self._memory = process.memory
        self._pid = process.pid
        self._on_ready = on_ready
        self._on_heartbeat = on_heartbeat
        self._on_lost = on_lost
        self._is_ready = False
        self._exchanges: dict[int, _Exchange] = {}
        self._last_id = 0
        # As `time.monotonic` has it, put off by what `excuse` was told.
        self._last_heard = time.monotonic()
        self._channel: Channel[FromWorker] = Channel(
            loop,
            process.take_socket(),
            from_worker_decoder(),
            self._on_frame,
            on_lost,
            flow_control=flow_control,
        )
        self._channel.send(hello)

    def __repr__(self) -> str:
        state = "ready" if self._is_ready else "not ready"
        return f"<WorkerConnection {state}, {self.in_flight} in flight>"

    @property
    def in_flight(self) -> int:
        return len(self._exchanges)

    def fetch(
        self, fetch: Fetch, body: bytes, receiver: Receiver, descriptor: int | None = None
    ) -> None:
        """Send a fetch, which gets an id that is unique to this connection.

        Args:
            descriptor: of the file that the response's body goes to.

        Raises:
            OSError: no descriptor is left to pass the file's.
            ProtocolError: the request does not fit into a frame.
        """
        self._last_id += 1
        fetch.id = self._last_id
        if descriptor is not None and fetch.file is not None:
            fetch.file.handle = system.copy_into(self._pid, descriptor)
            if fetch.file.handle:
                descriptor = None
        position = self._channel.send(fetch, body, descriptor)
        self._exchanges[fetch.id] = _Exchange(fetch, receiver, position)

    def cancel(self, fetch: Fetch) -> None:
        """Ask the worker to end a fetch, if it still has it. The receiver gets the outcome."""
        exchange = self._exchanges.get(fetch.id)
        if exchange is not None and not exchange.is_cancelled:
            exchange.is_cancelled = True
            exchange.deadline = time.monotonic() + _GRACE_SECONDS
            self._channel.send(Cancel(fetch.id))

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    @property
    def is_held_back(self) -> bool:
        """True while messages that have arrived wait for flow control."""
        return self._channel.is_held_back

    def silence(self, now: float) -> float:
        """Return the seconds for which the worker has said nothing, less those excused."""
        return now - self._last_heard

    def excuse(self, seconds: float) -> None:
        """Let time in which the crawler did not listen count against neither worker nor requests.

        What the worker has sent meanwhile is yet to be read.
        """
        self._last_heard += seconds
        for exchange in self._exchanges.values():
            exchange.deadline += seconds

    def check_deadlines(self, now: float) -> None:
        """Tell receivers that their outcome is late; end the connection if a cancelled one is."""
        for exchange in list(self._exchanges.values()):
            if now < exchange.deadline:
                continue
            if exchange.is_cancelled:
                self._break(
                    ProtocolError(f"request {exchange.fetch.id} was cancelled and does not end")
                )
                return
            exchange.receiver.on_overdue()

    def take_unsent(self) -> list[Receiver]:
        """Return the receivers of fetches of which the worker, now lost, cannot know, and forget
        them."""
        unsent = [e for e in self._exchanges.values() if e.position > self._channel.written]
        for exchange in unsent:
            del self._exchanges[exchange.fetch.id]
        return [exchange.receiver for exchange in unsent]

    def abandon(self) -> list[Receiver]:
        """Return the receivers that will get no outcome, and forget them."""
        receivers = [exchange.receiver for exchange in self._exchanges.values()]
        self._exchanges.clear()
        return receivers

    def close(self) -> None:
        self._channel.close()

    def _break(self, error: Exception) -> None:
        self._channel.close()
        self._on_lost(error)

    def _on_frame(self, message: FromWorker, body: bytes) -> None:
        self._last_heard = time.monotonic()
        try:
            if isinstance(message, (Completed, Failed, TooLarge, InvalidRequest, Cancelled)):
                self._on_outcome(message, body)
            elif isinstance(message, (ResponseHead, Chunk, SizeWarning)):
                self._exchange_of(message).receiver.on_message(message, body)
            elif isinstance(message, Heartbeat):
                self._on_heartbeat(message)
            elif self._is_ready:
                raise ProtocolError("a second Ready")
            else:
                self._is_ready = True
                self._on_ready(message)
        except Exception as error:
            # Whatever it is (a body may be too large for the memory that is left): what follows in
            # the stream would go unread, and its requests unanswered.
            self._break(error)

    def _on_outcome(self, outcome: Outcome, body: bytes) -> None:
        exchange = self._exchange_of(outcome)
        # This comes first: until the body is copied, a lost worker means a lost request.
        if isinstance(outcome, Completed) and outcome.shared is not None:
            body = self._copy(outcome.shared, outcome)
        del self._exchanges[outcome.id]
        exchange.receiver.on_outcome(outcome, body)

    def _exchange_of(self, message: ResponseHead | Chunk | SizeWarning | Outcome) -> _Exchange:
        exchange = self._exchanges.get(message.id)
        if exchange is None:
            raise ProtocolError(f"{type(message).__name__} for a request that is not in flight")
        exchange.check(message)
        return exchange

    def _copy(self, shared: SharedSlice, completed: Completed) -> bytes:
        if self._memory is None:
            raise ProtocolError("a body in shared memory that does not exist")
        body = self._memory.read(shared)
        if isinstance(completed.encoded, SharedSlice):
            completed.encoded = self._memory.read(completed.encoded)
        self._channel.send(SliceReleased())
        return body

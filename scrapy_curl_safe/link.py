"""A non-blocking stream socket that carries frames, for both sides.

It knows no event loop: whoever owns it lends it a Watcher, whose methods asyncio's loops
have by those names, and which `pool.eventloop` makes of Twisted's reactors.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from .wire import Decoder, FromWorker, ToWorker, WireError, encode

_T = TypeVar("_T")

# Below malloc's threshold for mapping pages (128 kB), past which each read would
# cost a system call and page faults of its own.
_READ_SIZE = 64 * 1024
# So that one busy peer cannot keep the loop from everything else.
_READS_PER_WAKE_UP = 16
# One page in one write: the default buffer (208 kB) would take several wake-ups a page.
_SOCKET_BUFFER = 1024 * 1024
# Of a streamed body, about 2 MB in the pieces that libcurl gives.
_FAR_BEHIND = 256


class Watcher(Protocol):
    def call_soon(self, callback: Callable[[], None]) -> Any: ...
    def add_reader(self, fd: int, callback: Callable[[], None]) -> Any: ...
    def remove_reader(self, fd: int) -> Any: ...
    def add_writer(self, fd: int, callback: Callable[[], None]) -> Any: ...
    def remove_writer(self, fd: int) -> Any: ...


class Valve(Protocol):
    @property
    def is_open(self) -> bool: ...
    def when_open(self, callback: Callable[[], None]) -> None: ...


class Link(Generic[_T]):
    """One end of the stream between the crawler and a worker.

    Args:
        watcher: tells when the socket is readable or writable.
        sock: connected; the link owns it from here on.
        decoder: of what the other side sends.
        on_frame: called with each message and its body, in order.
        on_lost: called once, with None at the end of the stream, else with what broke it;
            never called after `close`.
        on_drained: called when all that was queued has gone out.
        valve: frames wait as long as it is closed, if there is one.
    """

    def __init__(
        self,
        watcher: Watcher,
        sock: socket.socket,
        decoder: Decoder[_T],
        on_frame: Callable[[_T, bytes], None],
        on_lost: Callable[[WireError | OSError | None], None],
        on_drained: Callable[[], None] = lambda: None,
        valve: Valve | None = None,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
        self._watcher = watcher
        self._sock = sock
        self._fd = sock.fileno()
        self._decoder = decoder
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._on_drained = on_drained
        self._valve = valve
        self._arrived: deque[tuple[_T, bytes]] = deque()
        self._unsent: deque[memoryview] = deque()
        self._open = True
        watcher.add_reader(self._fd, self._read)

    def send(self, message: ToWorker | FromWorker, body: bytes = b"") -> None:
        """Queue a frame. It goes out with all others of this turn of the loop: each write costs
        a system call, and may cost the core that the peer wakes up on.

        On a link that is closed or lost this does nothing: `on_lost` told the owner.

        Raises:
            WireError: the frame is too large for the wire; nothing was queued.
        """
        head = encode(message, len(body))
        if not self._open:
            return
        waiting = bool(self._unsent)
        self._unsent.append(memoryview(head))
        if body:
            self._unsent.append(memoryview(body))
        if not waiting:
            self._watcher.call_soon(self._flush)

    @property
    def is_behind(self) -> bool:
        """Whether the other side reads more slowly than this one writes."""
        return len(self._unsent) > _FAR_BEHIND

    def close(self) -> None:
        if self._open:
            self._open = False
            self._watcher.remove_reader(self._fd)
            self._watcher.remove_writer(self._fd)
            self._unsent.clear()
            self._arrived.clear()
            self._sock.close()

    def _lose(self, reason: WireError | OSError | None) -> None:
        if self._open:
            self.close()
            self._on_lost(reason)

    def _flush(self) -> None:
        if self._unsent:
            self._write()
        if self._unsent:
            self._watcher.add_writer(self._fd, self._write)

    def _write(self) -> None:
        try:
            while self._unsent:
                # As many at once as is far below the kernel's limit (IOV_MAX, 1024).
                sent = self._sock.sendmsg(list(islice(self._unsent, 16)))
                while sent and sent >= len(self._unsent[0]):
                    sent -= len(self._unsent.popleft())
                if sent:
                    self._unsent[0] = self._unsent[0][sent:]
        except BlockingIOError:
            return
        except OSError as error:
            # What the peer said before it went is still to be read, and its end with it.
            self._unsent.clear()
            self._watcher.remove_writer(self._fd)
            self._read_rest(error)
            return
        self._watcher.remove_writer(self._fd)
        self._on_drained()

    def _read_rest(self, error: OSError) -> None:
        self._valve = None
        self._hand_over()
        self._read()
        self._lose(error)

    def _read(self) -> None:
        for _ in range(_READS_PER_WAKE_UP):
            if self._arrived:  # they wait for the valve
                return
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._lose(error)
                return
            if not data:
                self._lose(None)
                return
            try:
                self._arrived.extend(self._decoder.feed(data))
            except WireError as error:
                self._lose(error)
                return
            self._hand_over()
            if not self._open or len(data) < _READ_SIZE:
                return

    def _hand_over(self) -> None:
        while self._arrived:
            if self._valve is not None and not self._valve.is_open:
                self._valve.when_open(self._hand_over)
                return
            self._on_frame(*self._arrived.popleft())

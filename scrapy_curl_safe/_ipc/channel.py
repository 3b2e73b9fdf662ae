"""A non-blocking stream socket that carries frames, used by both processes.

A channel does not depend on an event loop: its owner lends it an `FdWatcher`, whose methods are
named as on asyncio's loops. `_crawl.event_loop` gives Twisted's reactors these names, and a
worker's own loop has them.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

from .._platform.system import system
from .framing import FrameDecoder, encode_frame
from .messages import FromWorker, ProtocolError, ToWorker

_T = TypeVar("_T")

# Below malloc's threshold for mapping pages (128 kB), above which each read would cost a system
# call and page faults.
_READ_SIZE_BYTES = 64 * 1024
# Keeps a busy peer from holding up everything else on the loop.
_READS_PER_WAKE_UP = 16
# Holds a typical page, for which the default buffer (208 kB) would take several wake-ups.
_SOCKET_BUFFER_BYTES = 1024 * 1024
_BUFFERS_PER_WRITE = 16  # far below the kernel's limit (IOV_MAX, 1024)
# About 2 MB of a streamed body, in the pieces that libcurl gives.
_HIGH_WATER_BUFFERS = 256


class FdWatcher(Protocol):
    """The part of an event loop that a channel needs."""

    def call_soon(self, callback: Callable[[], None]) -> Any: ...
    def add_reader(self, fd: int, callback: Callable[[], None]) -> Any: ...
    def remove_reader(self, fd: int) -> Any: ...
    def add_writer(self, fd: int, callback: Callable[[], None]) -> Any: ...
    def remove_writer(self, fd: int) -> Any: ...


class FlowControl(Protocol):
    """Decides when the owner of a channel takes the next frame."""

    @property
    def is_paused(self) -> bool: ...
    def when_resumed(self, callback: Callable[[], None]) -> None: ...


class Channel(Generic[_T]):
    """One end of the stream between the crawler and a worker.

    Args:
        watcher: tells when the socket is readable or writable.
        sock: connected; the channel owns it from now on.
        decoder: decodes what the other side sends.
        on_frame: called with each message and its body, in order.
        on_connection_lost: called once, with None at the end of the stream, otherwise with the
            error that broke it (ProtocolError, OSError or MemoryError); never called after `close`.
        on_drained: called when everything queued has been written.
        flow_control: holds frames back while it is paused; None to take all at once.
        on_descriptor: called with each descriptor that the other side passes, in order, before the
            message that it came with, and with None for one that this process has no room for
            (RLIMIT_NOFILE); None to take none.

    Attributes:
        written: the position up to which frames were written; known once the channel is closed. A
            position counts the buffers queued so far: a frame is one, or two with a body.
    """

    written = 0

    def __init__(
        self,
        watcher: FdWatcher,
        sock: socket.socket,
        decoder: FrameDecoder[_T],
        on_frame: Callable[[_T, bytes], None],
        on_connection_lost: Callable[[Exception | None], None],
        on_drained: Callable[[], None] = lambda: None,
        flow_control: FlowControl | None = None,
        on_descriptor: Callable[[int | None], None] | None = None,
    ) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        self._watcher = watcher
        self._sock = sock
        self._fd = sock.fileno()
        self._decoder = decoder
        self._on_frame = on_frame
        self._on_connection_lost = on_connection_lost
        self._on_drained = on_drained
        self._flow_control = flow_control
        self._arrived: deque[tuple[_T, bytes]] = deque()
        self._unsent: deque[memoryview] = deque()
        # Each with the position of the frame that it goes with.
        self._descriptors: deque[tuple[int, int]] = deque()
        self._receive: Callable[[int], bytes] = sock.recv
        if on_descriptor is not None:
            self._receive = system.receive_with_descriptors(sock, on_descriptor)
        self._send_buffers = system.send_buffers(sock)
        self._queued = 0
        self._open = True
        watcher.add_reader(self._fd, self._read)

    def send(
        self, message: ToWorker | FromWorker, body: bytes = b"", descriptor: int | None = None
    ) -> int:
        """Queue a frame, which goes out together with all others of this turn of the loop, since
        each write costs a system call, and may cost the core that the peer wakes up on.

        Does nothing on a closed or lost channel: `on_connection_lost` has told the owner.

        Args:
            descriptor: passed along with the frame; stays the caller's.

        Returns:
            The position of the frame's end, which `written` passes.

        Raises:
            OSError: no descriptor is left to pass another one.
            ProtocolError: the frame is too large; nothing was queued.
        """
        head = encode_frame(message, len(body))
        if descriptor is not None and self._open:
            self._descriptors.append((self._queued, os.dup(descriptor)))
        self._queued += 1
        if not self._open:
            return self._queued
        waiting = bool(self._unsent)
        self._unsent.append(memoryview(head))
        if body:
            self._queued += 1
            self._unsent.append(memoryview(body))
        if not waiting:
            self._watcher.call_soon(self._flush)
        return self._queued

    @property
    def is_open(self) -> bool:
        return self._open

    @property
    def is_held_back(self) -> bool:
        """True while frames that have arrived wait for flow control, and others behind them."""
        return bool(self._arrived)

    @property
    def is_behind(self) -> bool:
        """True while the other side reads more slowly than this side writes."""
        return len(self._unsent) > _HIGH_WATER_BUFFERS

    def close(self) -> None:
        if self._open:
            self._open = False
            self.written = self._queued - len(self._unsent)
            self._watcher.remove_reader(self._fd)
            self._watcher.remove_writer(self._fd)
            self._unsent.clear()
            while self._descriptors:
                os.close(self._descriptors.popleft()[1])
            self._arrived.clear()
            self._sock.close()

    def _connection_lost(self, reason: Exception | None) -> None:
        if self._open:
            self.close()
            self._on_connection_lost(reason)

    def _flush(self) -> None:
        if self._unsent:
            self._write()
        if self._unsent:
            self._watcher.add_writer(self._fd, self._write)

    def _write(self) -> None:
        try:
            while self._unsent:
                if self._descriptors:
                    sent = self._send_up_to_descriptor()
                else:
                    sent = self._send_buffers(list(islice(self._unsent, _BUFFERS_PER_WRITE)))
                while sent and sent >= len(self._unsent[0]):
                    sent -= len(self._unsent.popleft())
                if sent:
                    self._unsent[0] = self._unsent[0][sent:]
        except BlockingIOError:
            return
        except OSError as error:
            # What the peer sent before it ended must still be read.
            self._watcher.remove_writer(self._fd)
            self._read_rest(error)
            return
        self._watcher.remove_writer(self._fd)
        self._on_drained()

    def _send_up_to_descriptor(self) -> int:
        """Send what goes before the next descriptor; if nothing does, the descriptor."""
        position, descriptor = self._descriptors[0]
        before = position - (self._queued - len(self._unsent))
        if before:
            return self._send_buffers(list(islice(self._unsent, min(before, _BUFFERS_PER_WRITE))))
        sent = system.pass_descriptor(self._sock, self._unsent[0], descriptor)
        self._descriptors.popleft()
        os.close(descriptor)
        return sent

    def _read_rest(self, error: OSError) -> None:
        self._flow_control = None
        self._hand_over()
        while self._read_once():
            pass
        self._connection_lost(error)

    def _read(self) -> None:
        for _ in range(_READS_PER_WAKE_UP):
            if self._arrived or self._read_once() < _READ_SIZE_BYTES:
                return

    def _read_once(self) -> int:
        """Read, and hand over what is complete; return how many bytes, 0 if there were none."""
        if not self._open:
            return 0
        try:
            data = self._receive(_READ_SIZE_BYTES)
            if not data:
                self._connection_lost(None)
                return 0
            self._arrived.extend(self._decoder.feed(data))
        except BlockingIOError:
            return 0
        except (OSError, ProtocolError, MemoryError) as error:
            self._connection_lost(error)
            return 0
        self._hand_over()
        return len(data)

    def _hand_over(self) -> None:
        while self._arrived:
            if self._flow_control is not None and self._flow_control.is_paused:
                self._flow_control.when_resumed(self._hand_over)
                return
            self._on_frame(*self._arrived.popleft())

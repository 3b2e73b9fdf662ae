"""Tells which sockets are ready on Windows: by select() up to its limit, by WSAPoll() beyond."""

from __future__ import annotations

import ctypes
import math
import select
import sys
import time

assert sys.platform == "win32"

from .windows_api import PolledSocket, poll_sockets  # noqa: E402

READABLE = 0x0100  # POLLRDNORM
WRITABLE = 0x0010  # POLLWRNORM
_BOTH = READABLE | WRITABLE

# Python's select() takes 512 sockets.
_MOST_SELECTED = 500
_FIRST_CAPACITY = 1024
# WSAPOLLFD as an array of 16-bit numbers.
_STRIDE = ctypes.sizeof(PolledSocket) // 2
_REVENTS = PolledSocket.revents.offset // 2


class WindowsPoller:
    """A poller with the methods of `select.epoll`.

    select() is asked as long as it can be, since WSAPoll() conceals connections that failed before
    Windows 10 2004.
    """

    def __init__(self) -> None:
        # In the first places of an array, in any order; by socket, its place.
        self._sockets = (PolledSocket * _FIRST_CAPACITY)()
        self._places: dict[int, int] = {}
        # For select(); None if they have changed.
        self._selected: tuple[list[int], list[int]] | None = None

    def register(self, fd: int, eventmask: int, /) -> None:
        place = len(self._places)
        if place == len(self._sockets):
            sockets = (PolledSocket * (2 * place))()
            ctypes.memmove(sockets, self._sockets, ctypes.sizeof(self._sockets))
            self._sockets = sockets
        self._places[fd] = place
        self._sockets[place] = PolledSocket(fd, eventmask, 0)
        self._selected = None

    def modify(self, fd: int, eventmask: int, /) -> None:
        self._sockets[self._places[fd]].events = eventmask
        self._selected = None

    def unregister(self, fd: int, /) -> None:
        place = self._places.pop(fd)
        last = self._sockets[len(self._places)]
        if last.fd != fd:
            self._sockets[place] = last
            self._places[last.fd] = place
        self._selected = None

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        if len(self._places) <= _MOST_SELECTED:
            return self._select(timeout)
        # Rounded up, or the last millisecond would be spent in asking.
        milliseconds = -1 if timeout is None else math.ceil(timeout * 1000)
        count = len(self._places)
        if not poll_sockets(self._sockets, count, milliseconds):
            return []
        numbers = memoryview(self._sockets).cast("B").cast("H")
        found = numbers[_REVENTS : count * _STRIDE : _STRIDE].tolist()
        return [
            (self._sockets[place].fd, events if not events & ~_BOTH else _BOTH)
            for place, events in enumerate(found)
            if events
        ]

    def _select(self, timeout: float | None) -> list[tuple[int, int]]:
        if self._selected is None:
            sockets = [self._sockets[place] for place in range(len(self._places))]
            readers = [s.fd for s in sockets if s.events & READABLE]
            self._selected = readers, [s.fd for s in sockets if s.events & WRITABLE]
        readers, writers = self._selected
        if not readers and not writers:
            # Which select() refuses.
            time.sleep(timeout or 0)
            return []
        # A connection that has failed is exceptional, and not writable.
        readable, writable, failed = select.select(readers, writers, writers, timeout)
        ready = dict.fromkeys(readable, READABLE)
        for fd in writable:
            ready[fd] = ready.get(fd, 0) | WRITABLE
        ready.update(dict.fromkeys(failed, _BOTH))
        return list(ready.items())

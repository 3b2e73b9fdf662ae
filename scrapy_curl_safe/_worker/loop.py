"""The worker's event loop: descriptors, timers, and what is to be done at the end of a turn.

asyncio's would do, and took 6 % of all that a page costs (a handshake for each page; 10 % one
page at a time), since libcurl alters its descriptors and its timer several times a request. Here
that is one system call, and none.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NoReturn

READABLE = select.POLLIN
WRITABLE = select.POLLOUT

_HAS_EPOLL = hasattr(select, "epoll")  # Linux; poll() speaks of the same numbers


class Loop:
    """What a callback raises ends it."""

    def __init__(self) -> None:
        self._poller = select.epoll() if _HAS_EPOLL else select.poll()
        self._watched: dict[int, Callable[[int, int], None]] = {}
        self._sides: dict[int, dict[int, Callable[[], None]]] = {}
        self._soon: deque[Callable[[], None]] = deque()
        self._alarms: list[tuple[float, int, LoopTimer]] = []
        self._numbers = count()

    def run(self) -> NoReturn:
        while True:
            self._ring()
            for _ in range(len(self._soon)):
                self._soon.popleft()()
            for fd, events in self._poller.poll(self._longest_wait()):
                # One that another event of this turn has ended is watched no more.
                callback = self._watched.get(fd)
                if callback is not None:
                    callback(fd, events)

    def watch(self, fd: int, events: int, callback: Callable[[int, int], None]) -> None:
        """Call back with the descriptor and its events, some of READABLE and WRITABLE, or others
        where it is broken. It has one callback, which this replaces.

        Raises:
            OSError: the system does not watch it.
        """
        if fd in self._watched:
            self._poller.modify(fd, events)
        else:
            self._poller.register(fd, events)
        self._watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Nothing if it is not watched."""
        if self._watched.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # closed, and so forgotten by the system
                self._poller.unregister(fd)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """At the end of this turn."""
        self._soon.append(callback)

    # What a link asks for

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._sides.setdefault(fd, {})[READABLE] = callback
        self._watch_sides(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._sides.setdefault(fd, {})[WRITABLE] = callback
        self._watch_sides(fd)

    def remove_reader(self, fd: int) -> None:
        self._remove_side(fd, READABLE)

    def remove_writer(self, fd: int) -> None:
        self._remove_side(fd, WRITABLE)

    def _remove_side(self, fd: int, side: int) -> None:
        if self._sides.get(fd, {}).pop(side, None) is not None:
            self._watch_sides(fd)

    def _watch_sides(self, fd: int) -> None:
        if self._sides[fd]:
            self.watch(fd, sum(self._sides[fd]), self._on_sides)
        else:
            del self._sides[fd]
            self.unwatch(fd)

    def _on_sides(self, fd: int, events: int) -> None:
        # A broken one is both: reading and writing it says why.
        for side, other in ((READABLE, WRITABLE), (WRITABLE, READABLE)):
            callback = self._sides.get(fd, {}).get(side)
            if events & ~other and callback is not None:
                callback()

    # Timers

    def _ring(self) -> None:
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            heappop(self._alarms)[2]._rung(now)

    def _longest_wait(self) -> float | None:
        """In the poller's unit."""
        if self._soon:
            return 0
        if not self._alarms:
            return None
        seconds = max(0.0, self._alarms[0][0] - time.monotonic())
        return seconds if _HAS_EPOLL else 1000 * seconds

    def _alarm(self, when: float, timer: LoopTimer) -> None:
        heappush(self._alarms, (when, next(self._numbers), timer))


class LoopTimer:
    """Calls back once, at the time that it was last set to.

    libcurl sets its timer anew for each request, and mostly to a later time than the alarm that is
    already there. That one stays, and is put off when it rings.
    """

    def __init__(self, loop: Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._due: float | None = None
        # Each before the one below it, so that they ring from the top.
        self._alarms: list[float] = []

    def set(self, delay: float | None) -> None:
        """
        Args:
            delay: seconds from now; None for never.
        """
        if delay is None:
            self._due = None
        else:
            self._due = time.monotonic() + delay
            self._alarm(self._due)

    def _alarm(self, when: float) -> None:
        if not self._alarms or when < self._alarms[-1]:
            self._alarms.append(when)
            self._loop._alarm(when, self)

    def _rung(self, now: float) -> None:
        self._alarms.pop()
        if self._due is None:
            return
        if self._due > now:
            self._alarm(self._due)
        else:
            self._due = None
            self._callback()

"""The worker's event loop: descriptors, timers, and callbacks for the next turn.

libcurl changes its descriptors and its timer several times a request. Here that costs one system
call and none; with asyncio both would cost more.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import NoReturn

from .._platform.system import system

_READABLE, _WRITABLE = system.READABLE, system.WRITABLE


class Loop:
    """An event loop that runs until a callback raises an exception, which ends it."""

    def __init__(self) -> None:
        self._poller, self._timeout_units = system.create_poller()
        self._watched: dict[int, Callable[[int, int], None]] = {}
        # By descriptor: what `add_reader` and `add_writer` were given, by event.
        self._callbacks: dict[int, dict[int, Callable[[], None]]] = {}
        self._soon: deque[Callable[[], None]] = deque()
        # A heap. The second element keeps entries of the same time in order.
        self._wake_ups: list[tuple[float, int, LoopTimer]] = []
        self._wake_up_numbers = count()

    def run(self) -> NoReturn:
        while True:
            self._run_timers()
            for _ in range(len(self._soon)):
                self._soon.popleft()()
            for fd, events in self._poller.poll(self._poll_timeout()):
                # An earlier event of this turn may have unwatched the descriptor.
                callback = self._watched.get(fd)
                if callback is not None:
                    callback(fd, events)

    def watch(self, fd: int, events: int, callback: Callable[[int, int], None]) -> None:
        """Watch a descriptor; a callback that it already has is replaced.

        Args:
            events: READABLE, WRITABLE of `system`, both or none.
            callback: called with the descriptor and its events, which may be others than those
                asked for if the descriptor is broken.

        Raises:
            OSError: the system does not watch the descriptor.
        """
        if fd in self._watched:
            self._poller.modify(fd, events)
        else:
            self._poller.register(fd, events)
        self._watched[fd] = callback

    def unwatch(self, fd: int) -> None:
        """Stop watching a descriptor, if it is watched."""
        if self._watched.pop(fd, None) is not None:
            with contextlib.suppress(OSError):  # closed, and so forgotten by the system
                self._poller.unregister(fd)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call back in the next turn, before the loop waits."""
        self._soon.append(callback)

    # The FdWatcher of a channel

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks.setdefault(fd, {})[_READABLE] = callback
        self._update(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._callbacks.setdefault(fd, {})[_WRITABLE] = callback
        self._update(fd)

    def remove_reader(self, fd: int) -> None:
        self._remove(fd, _READABLE)

    def remove_writer(self, fd: int) -> None:
        self._remove(fd, _WRITABLE)

    def _remove(self, fd: int, event: int) -> None:
        if self._callbacks.get(fd, {}).pop(event, None) is not None:
            self._update(fd)

    def _update(self, fd: int) -> None:
        if self._callbacks[fd]:
            self.watch(fd, sum(self._callbacks[fd]), self._on_events)
        else:
            del self._callbacks[fd]
            self.unwatch(fd)

    def _on_events(self, fd: int, events: int) -> None:
        # A broken descriptor is both readable and writable: to read or write it shows why.
        for event, other in ((_READABLE, _WRITABLE), (_WRITABLE, _READABLE)):
            callback = self._callbacks.get(fd, {}).get(event)
            if events & ~other and callback is not None:
                callback()

    # Timers

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._wake_ups and self._wake_ups[0][0] <= now:
            heappop(self._wake_ups)[2]._on_wake_up(now)

    def _poll_timeout(self) -> float | None:
        if self._soon:
            return 0
        if not self._wake_ups:
            return None
        seconds = max(0.0, self._wake_ups[0][0] - time.monotonic())
        return seconds * self._timeout_units

    def _wake_up(self, when: float, timer: LoopTimer) -> None:
        heappush(self._wake_ups, (when, next(self._wake_up_numbers), timer))


class LoopTimer:
    """Calls back once, at the time that it was last set to.

    libcurl sets its timer anew for each request, mostly to a later time than before. Such a change
    does not touch the loop's heap: the loop still wakes the timer up at the earlier time, and the
    timer waits for the rest.
    """

    def __init__(self, loop: Loop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._due: float | None = None
        # Times of its entries in the loop's heap, the earliest last.
        self._wake_ups: list[float] = []

    def set(self, delay: float | None) -> None:
        """Set the timer, or unset it.

        Args:
            delay: seconds from now; None for never.
        """
        if delay is None:
            self._due = None
        else:
            self._due = time.monotonic() + delay
            self._wake_up_at(self._due)

    def _wake_up_at(self, when: float) -> None:
        if not self._wake_ups or when < self._wake_ups[-1]:
            self._wake_ups.append(when)
            self._loop._wake_up(when, self)

    def _on_wake_up(self, now: float) -> None:
        self._wake_ups.pop()
        if self._due is None:
            return
        if self._due > now:
            self._wake_up_at(self._due)
        else:
            self._due = None
            self._callback()

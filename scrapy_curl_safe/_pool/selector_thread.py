"""Watches descriptors for an event loop of asyncio that cannot, as the default one on Windows."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from .._platform.system import system
from .event_loop import EventLoop, Future, TimerHandle

_READ, _WRITE = 0, 1
_WAKE_UP_BYTES = 4096


def watching_loop(loop: asyncio.AbstractEventLoop) -> EventLoop:
    """Return a loop of asyncio, or what watches descriptors for it if it cannot itself."""
    return loop if system.can_watch(loop) else SelectorThread(loop)


class SelectorThread:
    """An event loop whose descriptors a thread watches.

    The thread reports a descriptor that is ready once, and again when the callback has been made.
    It runs as long as there are descriptors.

    Args:
        loop: in which the callbacks are made.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: tuple[dict[int, Callable[[], None]], dict[int, Callable[[], None]]]
        self._callbacks = {}, {}
        # Descriptors that were reported, until their callbacks have been made.
        self._reported: tuple[set[int], set[int]] = set(), set()
        self._lock = threading.Lock()
        self._wake_up: socket.socket | None = None

    def call_soon(self, callback: Callable[[], None]) -> object:
        return self._loop.call_soon(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> object:
        return self._loop.call_soon_threadsafe(callback)

    def call_later(self, delay: float, callback: Callable[[], None], /) -> TimerHandle:
        return self._loop.call_later(delay, callback)

    def create_future(self) -> Future[Any]:
        return self._loop.create_future()

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._add(_READ, fd, callback)

    def remove_reader(self, fd: int) -> None:
        self._remove(_READ, fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._add(_WRITE, fd, callback)

    def remove_writer(self, fd: int) -> None:
        self._remove(_WRITE, fd)

    def _add(self, kind: int, fd: int, callback: Callable[[], None]) -> None:
        with self._lock:
            is_new = fd not in self._callbacks[kind]
            self._callbacks[kind][fd] = callback
            if is_new:
                self._reported[kind].discard(fd)
                self._changed()

    def _remove(self, kind: int, fd: int) -> None:
        with self._lock:
            if self._callbacks[kind].pop(fd, None) is not None:
                self._reported[kind].discard(fd)
                self._changed()

    def _changed(self) -> None:
        """Have the thread look at what it is to watch."""
        if self._wake_up is None:
            self._wake_up, awaited = socket.socketpair()
            self._wake_up.setblocking(False)
            threading.Thread(
                target=self._watch, args=(awaited,), name="scrapy_curl_safe", daemon=True
            ).start()
        else:
            with contextlib.suppress(BlockingIOError):  # it is awake
                self._wake_up.send(b"\0")

    def _watch(self, awaited: socket.socket) -> None:
        with awaited:
            wake_up = awaited.fileno()
            while True:
                with self._lock:
                    if not any(self._callbacks):
                        assert self._wake_up is not None
                        self._wake_up.close()
                        self._wake_up = None
                        return
                    readers, writers = (
                        [fd for fd in self._callbacks[kind] if fd not in self._reported[kind]]
                        for kind in (_READ, _WRITE)
                    )
                try:
                    ready = select.select([wake_up, *readers], writers, writers)
                except (OSError, ValueError):  # one was closed meanwhile
                    continue
                if wake_up in ready[0]:
                    awaited.recv(_WAKE_UP_BYTES)
                    ready[0].remove(wake_up)
                self._report(ready[0], ready[1] + ready[2])

    def _report(self, readable: list[int], writable: list[int]) -> None:
        with self._lock:
            self._reported[_READ].update(readable)
            self._reported[_WRITE].update(writable)
        if readable or writable:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._tell, readable, writable)

    def _tell(self, readable: list[int], writable: list[int]) -> None:
        for kind, ready in ((_READ, readable), (_WRITE, writable)):
            for fd in ready:
                callback = self._callbacks[kind].get(fd)
                if callback is None or fd not in self._reported[kind]:
                    continue
                callback()
                with self._lock:
                    self._reported[kind].discard(fd)
        with self._lock:
            if any(self._callbacks):
                self._changed()

"""The crawl's event loop, be it asyncio's or a reactor of Twisted's.

No other module knows which one runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from concurrent.futures import Future as ThreadFuture
from typing import Any, Generic, TypeVar

from scrapy.utils.asyncio import is_asyncio_available
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from zope.interface import implementer

from .._pool.event_loop import EventLoop, Future, TimerHandle
from .._pool.selector_thread import watching_loop

_T = TypeVar("_T")


def running_event_loop() -> EventLoop:
    """Return the loop that Scrapy uses: asyncio's with its asyncio reactor and without any reactor
    (TWISTED_REACTOR_ENABLED=False), Twisted's with every other reactor."""
    if is_asyncio_available():
        return watching_loop(asyncio.get_event_loop())
    return _ReactorLoop()


def call_in_loop(loop: EventLoop, call: Callable[[], _T], timeout_seconds: float) -> _T:
    """Have a loop call a function, and return its result. To be called in another thread.

    Raises:
        concurrent.futures.TimeoutError: the loop is too busy.
        Exception: of the function.
    """
    answer: ThreadFuture[_T] = ThreadFuture()

    def run() -> None:
        try:
            answer.set_result(call())
        except Exception as error:
            answer.set_exception(error)

    loop.call_soon_threadsafe(run)
    return answer.result(timeout_seconds)


class _DeferredFuture(Generic[_T]):
    def __init__(self) -> None:
        self._deferred: Deferred[_T] = Deferred()

    def done(self) -> bool:
        return bool(self._deferred.called)

    def set_result(self, result: _T, /) -> None:
        self._deferred.callback(result)

    def set_exception(self, exception: BaseException, /) -> None:
        self._deferred.errback(exception)

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._deferred.__await__()


class _ReactorLoop:
    """Gives Twisted's reactor the names that asyncio's loop has."""

    def __init__(self) -> None:
        # Importing it installs it, which is for Scrapy to do.
        from twisted.internet import reactor  # noqa: PLC0415

        self._reactor: Any = reactor
        if not IReactorFDSet.providedBy(reactor):
            name = f"{type(reactor).__module__}.{type(reactor).__name__}"
            raise ValueError(
                f"TWISTED_REACTOR is {name}, which watches no sockets. Take Scrapy's default, or "
                "twisted.internet.selectreactor.SelectReactor"
            )
        # One per descriptor: epoll's and poll's reactors know it by its number alone.
        self._descriptors: dict[int, _Descriptor] = {}

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._reactor.callLater(0, callback)

    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> None:
        self._reactor.callFromThread(callback)

    def call_later(self, delay: float, callback: Callable[[], None], /) -> TimerHandle:
        return _DelayedCall(self._reactor.callLater(delay, callback))

    def create_future(self) -> Future[Any]:
        return _DeferredFuture()

    def add_reader(self, fd: int, callback: Callable[[], None]) -> None:
        self._descriptor(fd).on_readable = callback
        self._reactor.addReader(self._descriptors[fd])

    def remove_reader(self, fd: int) -> None:
        if fd in self._descriptors:
            self._reactor.removeReader(self._descriptors[fd])
            self._descriptors[fd].on_readable = None
            self._forget_unused(fd)

    def add_writer(self, fd: int, callback: Callable[[], None]) -> None:
        self._descriptor(fd).on_writable = callback
        self._reactor.addWriter(self._descriptors[fd])

    def remove_writer(self, fd: int) -> None:
        if fd in self._descriptors:
            self._reactor.removeWriter(self._descriptors[fd])
            self._descriptors[fd].on_writable = None
            self._forget_unused(fd)

    def _descriptor(self, fd: int) -> _Descriptor:
        return self._descriptors.setdefault(fd, _Descriptor(fd))

    def _forget_unused(self, fd: int) -> None:
        descriptor = self._descriptors[fd]
        if descriptor.on_readable is None and descriptor.on_writable is None:
            del self._descriptors[fd]


class _DelayedCall:
    """Ignores that a call that was made is cancelled, as asyncio does; Twisted raises."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        if self._call.active():
            self._call.cancel()


@implementer(IReadDescriptor, IWriteDescriptor)
class _Descriptor:
    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.on_readable: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:  # noqa: N802
        return "scrapy_curl_safe"

    def doRead(self) -> None:  # noqa: N802
        if self.on_readable is not None:
            self.on_readable()

    def doWrite(self) -> None:  # noqa: N802
        if self.on_writable is not None:
            self.on_writable()

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        # The reactor saw a hang-up; reading finds the end of the stream.
        self.doRead()

"""The parts of an event loop that the pool needs, under asyncio's names."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeVar

from .._ipc.channel import FdWatcher

_T = TypeVar("_T")


class Future(Protocol[_T]):
    """The part of `asyncio.Future` that the pool uses."""

    def done(self) -> bool: ...
    def set_result(self, result: _T, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...
    def __await__(self) -> Generator[Any, Any, _T]: ...


class TimerHandle(Protocol):
    def cancel(self) -> object: ...


class EventLoop(FdWatcher, Protocol):
    def call_soon_threadsafe(self, callback: Callable[[], None], /) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> TimerHandle: ...
    def create_future(self) -> Future[Any]: ...

"""The only way to wait in tests: for a condition, but not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

_PAUSE_SECONDS = 0.01
_LONGEST_SECONDS = 120.0


def wait_until(condition: Callable[[], object], seconds: float = _LONGEST_SECONDS) -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: it is still false after so many seconds.
    """
    for _ in _pauses(condition, seconds):
        time.sleep(_PAUSE_SECONDS)


async def until(condition: Callable[[], object]) -> None:
    """Wait like `wait_until`, while the loop keeps running."""
    for _ in _pauses(condition, _LONGEST_SECONDS):
        await asyncio.sleep(_PAUSE_SECONDS)


def _pauses(condition: Callable[[], object], seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition has not become true in {seconds:g} s"
        yield


def burn(seconds: float) -> None:
    """Use this much CPU time in this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass

"""Waiting for what has to have happened: for conditions, not for seconds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

_PAUSE = 0.01
_LONGEST = 120.0


def wait_until(condition: Callable[[], object]) -> None:
    """
    Raises:
        AssertionError: it has not come true after two minutes.
    """
    for _ in _until(condition):
        time.sleep(_PAUSE)


def burn(seconds: float) -> None:
    """Use so much processor time in this thread."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def until(condition: Callable[[], object]) -> None:
    """As `wait_until`, while the loop goes on."""
    for _ in _until(condition):
        await asyncio.sleep(_PAUSE)


def _until(condition: Callable[[], object]) -> Iterator[None]:
    last = time.monotonic() + _LONGEST
    while not condition():
        assert time.monotonic() < last, "it has not come true"
        yield

"""Responses come to Scrapy in portions.

A response is in Scrapy's hands for some turns of the loop, and only then does the request that
follows it go out; none does as long as Scrapy has more than SCRAPER_SLOT_MAX_ACTIVE_SIZE of
responses in hand. If all that have come are handed over at once, or one each turn, workers have
nothing to do until the last one is done with: a crawl then gets a quarter less of 1 MB pages,
and a twelfth less of small ones with a handshake each.
"""

from __future__ import annotations

from collections.abc import Callable

# Of the loop: what Scrapy takes from a response to the request that follows it is 6
# (Scrapy 2.19 on asyncio), and a few more are nothing.
_TURNS = 10
# Of a portion. With 8 the turns between them cost what is won, with 32 half of it is lost.
_RESPONSES = 16


class Valve:
    """Closed between two portions.

    Args:
        call_soon: has a function called in the next turn of the loop.
        limit: bytes; what Scrapy may have in hand.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], object], limit: int) -> None:
        self._call_soon = call_soon
        # The last body of a portion comes on top of it.
        self._portion = limit // 2
        self._bytes = 0
        self._responses = 0
        self._turns_left = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return not self._turns_left

    def passed(self, size: int) -> None:
        """A response with a body of so many bytes was handed over."""
        self._bytes += size
        self._responses += 1
        is_portion = self._bytes > self._portion or self._responses >= _RESPONSES
        if self.is_open and is_portion:
            self._turns_left = _TURNS
            self._call_soon(self._on_turn)

    def when_open(self, callback: Callable[[], None]) -> None:
        """Call it once, when the valve, which is closed now, has opened; it may be closed again by
        one that was called before."""
        self._waiting.append(callback)

    def _on_turn(self) -> None:
        self._turns_left -= 1
        if self._turns_left:
            self._call_soon(self._on_turn)
            return
        self._bytes = self._responses = 0
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

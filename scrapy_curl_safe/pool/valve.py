"""Bodies come to Scrapy in portions.

Scrapy asks for no new request as long as it has more than SCRAPER_SLOT_MAX_ACTIVE_SIZE of
responses in hand, and a response is in its hands for some turns of the loop. If all that
have come are handed over at once, or one each turn, workers have nothing to do until the
last one is done with: of 1 MB pages a crawl then gets a quarter less.
"""

from __future__ import annotations

from collections.abc import Callable

# Of the loop: what Scrapy takes from a response to the request that follows it is 6
# (Scrapy 2.19 on asyncio), and a few more are nothing.
_TURNS = 10


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
        self._passed = 0
        self._turns_left = 0
        self._waiting: list[Callable[[], None]] = []

    @property
    def is_open(self) -> bool:
        return not self._turns_left

    def passed(self, size: int) -> None:
        """A body of so many bytes was handed over."""
        self._passed += size
        if self.is_open and self._passed > self._portion:
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
        self._passed = 0
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

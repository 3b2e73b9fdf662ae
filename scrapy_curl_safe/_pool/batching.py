"""Hands responses to Scrapy in batches.

Scrapy works on a response for several turns of the loop before it sends the next request, and sends
none while it holds more than SCRAPER_SLOT_MAX_ACTIVE_SIZE of responses. If it got all responses
that have arrived at once, or one in each turn, the workers would be idle until it has finished the
last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

# Scrapy 2.19 on asyncio takes 6 turns from a response to the next request; a few more cost nothing.
_TURNS_BETWEEN_BATCHES = 10
_RESPONSES_PER_BATCH = 16


class ResponseBatcher:
    """Pauses the workers' channels between two batches.

    Args:
        call_soon: calls a function in the next turn of the loop.
        active_size_bytes: how much Scrapy may hold (SCRAPER_SLOT_MAX_ACTIVE_SIZE).
    """

    def __init__(
        self, call_soon: Callable[[Callable[[], None]], object], active_size_bytes: int
    ) -> None:
        self._call_soon = call_soon
        # The last body of a batch may exceed this.
        self._batch_bytes = active_size_bytes // 2
        self._bytes = 0
        self._responses = 0
        self._turns_left = 0
        self._waiting: deque[Callable[[], None]] = deque()

    @property
    def is_paused(self) -> bool:
        return self._turns_left > 0

    def handed_over(self, size: int) -> None:
        """Count a response with a body of this size towards the batch."""
        self._bytes += size
        self._responses += 1
        is_full = self._bytes > self._batch_bytes or self._responses >= _RESPONSES_PER_BATCH
        if is_full and not self.is_paused:
            self._turns_left = _TURNS_BETWEEN_BATCHES
            self._call_soon(self._on_turn)

    def when_resumed(self, callback: Callable[[], None]) -> None:
        """Call a function once, outside of a pause, after those that were registered earlier."""
        self._waiting.append(callback)

    def _on_turn(self) -> None:
        self._turns_left -= 1
        if self._turns_left:
            self._call_soon(self._on_turn)
            return
        self._bytes = self._responses = 0
        for _ in range(len(self._waiting)):
            if self.is_paused:
                # The rest comes first after this pause, so that each worker has its share.
                return
            self._waiting.popleft()()

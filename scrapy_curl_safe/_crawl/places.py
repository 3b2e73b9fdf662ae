"""Places in CONCURRENT_REQUESTS, which requests may give up while they wait."""

from __future__ import annotations

from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler

from .scrapy_api import wake_engine


class Places:
    """Lets requests wait without a place. For the scheduler they are still active downloads of
    their slot, so that it prefers requests of others.

    Args:
        crawler: whose they are.
        most: requests that may wait without a place at once.
    """

    def __init__(self, crawler: Crawler, most: int) -> None:
        self._crawler = crawler
        self._most = most
        self._waiting: dict[Request, Any] = {}

    def have_waiting(self) -> bool:
        """Tell whether requests wait without a place."""
        return bool(self._waiting)

    def leave(self, request: Request) -> bool:
        """Free the place of a request; return False if it keeps it."""
        downloader = getattr(self._crawler.engine, "downloader", None)
        active = getattr(downloader, "active", None)
        if len(self._waiting) >= self._most or not isinstance(active, set):
            return False
        if request not in active:
            return False
        slot = _slot_of(downloader, request)
        active.discard(request)
        if slot is not None:
            slot.active.add(request)
        self._waiting[request] = slot
        wake_engine(self._crawler)
        return True

    def take_back(self, request: Request) -> None:
        """Return to the place, which the downloader is about to free itself."""
        slot = self._waiting.pop(request)
        if slot is not None:
            slot.active.discard(request)
        downloader = getattr(self._crawler.engine, "downloader", None)
        assert downloader is not None
        downloader.active.add(request)


def _slot_of(downloader: Any, request: Request) -> Any:
    """Return the downloader's slot of a request; None if there is none, or Scrapy does not show
    it."""
    slots, key_of = getattr(downloader, "slots", None), getattr(downloader, "get_slot_key", None)
    return None if slots is None or key_of is None else slots.get(key_of(request))

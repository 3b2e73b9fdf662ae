"""An extension for a crawl that is one of several on a shared queue."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import DontCloseSpider, NotConfigured

if TYPE_CHECKING:
    from scrapy import Spider
    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Patience:
    """Keeps an idle spider open for PATIENCE seconds, as another process may find more pages."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        extension = cls(crawler.settings.getfloat("PATIENCE"))
        crawler.signals.connect(extension.on_request, signals.request_reached_downloader)
        crawler.signals.connect(extension.on_idle, signals.spider_idle)
        return extension

    def on_request(self) -> None:
        self._last = time.monotonic()

    def on_idle(self) -> None:
        if time.monotonic() < self._last + self._seconds:
            raise DontCloseSpider


class StatsFile:
    """Leaves the numbers among the stats in STATS_FILE, as JSON."""

    def __init__(self, crawler: Crawler, path: Path) -> None:
        self._crawler = crawler
        self._path = path

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        path = crawler.settings.get("STATS_FILE")
        if not path:
            raise NotConfigured
        extension = cls(crawler, Path(path))
        crawler.signals.connect(extension.on_close, signals.spider_closed)
        return extension

    def on_close(self, spider: Spider, reason: str) -> None:
        assert self._crawler.stats is not None
        stats = self._crawler.stats.get_stats()
        numbers = {key: value for key, value in stats.items() if isinstance(value, (int, float))}
        self._path.write_text(json.dumps({**numbers, "finish_reason": reason}))

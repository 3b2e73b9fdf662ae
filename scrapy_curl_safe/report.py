"""Writes the report of a crawl: a page to look at, or the data of one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.utils.asyncio import create_looping_call

from ._crawl.report.collect import CrawlRecorder
from ._crawl.report.data import ReportData
from ._crawl.report.files import check_file, write_file
from ._extras import missing
from .settings import Settings

logger = logging.getLogger(__name__)

_SAMPLE_SECONDS = 1.0


class HealthReport:
    """An extension that records the crawl and writes CURL_SAFE_REPORT at its end.

    Raises:
        ValueError: a setting is wrong, the file cannot be written, or what draws pages is missing.
    """

    def __init__(self, crawler: Crawler) -> None:
        settings = Settings.load(crawler.settings)
        if settings.report is None or crawler.stats is None:
            raise NotConfigured
        self._path = settings.report
        self._draw = _drawing(self._path)
        _check(self._path)
        self._crawler = crawler
        self._settings = settings
        self._task: Any = None
        self._recorder: CrawlRecorder | None = None
        self._data: ReportData | None = None
        self._began = datetime.now(timezone.utc)
        crawler.signals.connect(self._spider_opened, signals.spider_opened)
        crawler.signals.connect(self._spider_closed, signals.spider_closed)
        crawler.signals.connect(self._engine_stopped, signals.engine_stopped)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> HealthReport:
        return cls(crawler)

    def _spider_opened(self) -> None:
        self._began = datetime.now(timezone.utc)
        self._recorder = CrawlRecorder(self._crawler, self._settings)
        self._task = create_looping_call(self._recorder.sample)
        self._task.start(_SAMPLE_SECONDS, now=False)

    def _spider_closed(self, reason: str) -> None:
        if self._recorder is None:
            return
        if self._task.running:
            self._task.stop()
        self._data = self._recorder.data(self._began, reason)

    def _engine_stopped(self) -> None:
        """Write the file: drawing blocks the loop for seconds, of which the stats must have no
        sign."""
        if self._data is None:
            return
        try:
            write_file(self._path, self._draw(self._data))
        except OSError as error:
            logger.error("The report of the crawl could not be written: %s", error)
        else:
            logger.info("The report of the crawl is in %s", self._path)


def _drawing(path: str) -> Callable[[ReportData], bytes]:
    """Return what makes the file of a report.

    Raises:
        ValueError: the package that draws pages is missing.
    """
    if path.endswith(".json"):
        return ReportData.to_json
    try:
        from ._crawl.report.page import page  # noqa: PLC0415
    except ImportError as error:
        instead = "a path that ends in .json"
        raise missing(
            "CURL_SAFE_REPORT", path, "vl-convert-python", "report", error, instead
        ) from error
    return lambda data: page(data).encode()


def _check(path: str) -> None:
    """
    Raises:
        ValueError: the file cannot be written.
    """
    try:
        check_file(path)
    except OSError as error:
        raise ValueError(
            f"CURL_SAFE_REPORT is {path!r}: it takes the path of a file that can be written: "
            f"{error}"
        ) from error

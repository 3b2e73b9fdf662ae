"""How the handshakes are doing: a line in the log every interval and at the end."""

from __future__ import annotations

import logging
from typing import Any

from scrapy import Spider, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.utils.asyncio import create_looping_call

from .settings import Settings
from .shared import close_crawl, shared_by

logger = logging.getLogger(__name__)

# Of fewer handshakes than this, a share says nothing.
_LEAST_HANDSHAKES = 10


class HandshakeMonitor:
    """See https://docs.scrapy.org/en/latest/topics/extensions.html

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        if crawler.stats is None:
            raise NotConfigured
        self._crawler = crawler
        self._stats = crawler.stats
        self._settings = Settings.load(crawler.settings)
        self._task: Any = None
        # As of the last line.
        self._done = 0
        self._failed = 0
        crawler.signals.connect(self._spider_opened, signals.spider_opened)
        crawler.signals.connect(self._spider_closed, signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> HandshakeMonitor:
        return cls(crawler)

    def _spider_opened(self, spider: Spider) -> None:
        if self._settings.monitor_interval:
            self._task = create_looping_call(self._interval_ended, spider)
            self._task.start(self._settings.monitor_interval, now=False)

    def _spider_closed(self, spider: Spider) -> None:
        if self._task is not None and self._task.running:
            self._task.stop()
        self._report(spider)

    def _interval_ended(self, spider: Spider) -> None:
        if self._report(spider):
            self._task.stop()
            close_crawl(self._crawler, "curl_safe_handshake_failures")

    def _report(self, spider: Spider) -> bool:
        """Log the line; whether so many failed that the spider is to be closed."""
        shared = shared_by(self._crawler)
        if shared is not None:
            shared.figures.set_rates()
        extra = {"spider": spider}
        done, failed = (
            self._count("handshake/success_count"),
            self._count("handshake/failure_count"),
        )
        new_done, new_failed = done - self._done, failed - self._failed
        self._done, self._failed = done, failed
        alive = shared.pool.workers_alive if shared is not None else 0
        logger.info("%s", self._line(done, failed, new_done, new_failed, alive), extra=extra)
        if new_done + new_failed < _LEAST_HANDSHAKES:
            return False
        rate = new_failed / (new_done + new_failed)
        if rate > self._settings.failure_rate_warning:
            logger.warning(
                "%.1f %% of the last %d handshakes failed, which is more than "
                "CURL_SAFE_FAILURE_RATE_WARNING (%.1f %%)",
                100 * rate,
                new_done + new_failed,
                100 * self._settings.failure_rate_warning,
                extra=extra,
            )
        return 0 < self._settings.failure_rate_close < rate

    def _line(self, done: int, failed: int, new_done: int, new_failed: int, alive: int) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._kinds())
        share = f" = {failed / (done + failed):.1%}" if failed else ""
        return (
            f"Handshakes: {done} done (+{new_done}), "
            f"{failed} failed (+{new_failed}{share}{': ' + kinds if kinds else ''}); "
            f"{self._count('handshake/retry_count')} retried, "
            f"{self._count('handshake/recovered_count')} recovered, "
            f"{self._count('handshake/gave_up_count')} given up; "
            f"connections: {self._count('connection/reused_count')} reused; "
            f"workers: {alive} alive, "
            f"{self._count('worker/crash_count') + self._count('worker/hang_count')} crashed"
        )

    def _kinds(self) -> list[tuple[str, int]]:
        prefix = "curl_safe/handshake/failure_count/"
        stats = self._stats.get_stats()
        kinds = [(key.removeprefix(prefix), stats[key]) for key in stats if key.startswith(prefix)]
        return sorted(kinds, key=lambda kind: -kind[1])

    def _count(self, key: str) -> int:
        count: int = self._stats.get_value(f"curl_safe/{key}", 0)
        return count

"""Reports the state of the handshakes: a log line in each interval and at the end, and metrics for
Prometheus and OpenTelemetry."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scrapy import Spider, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured
from scrapy.utils.asyncio import create_looping_call

from ._crawl.advice import advice
from ._crawl.context import context_of, origins_of
from ._crawl.failed_proxies import ProxyTotals, advice_on, failed_proxies
from ._crawl.health import (
    LEAST_HANDSHAKES,
    Progress,
    SessionCounts,
    health_line,
    named_limits,
    progress_of,
)
from ._crawl.health_record import health_record
from ._crawl.scrapy_api import close_crawl
from ._crawl.session_pools import session_pool_of
from ._crawl.sessions.health import Proxy
from ._crawl.words import by_count
from ._extras import missing
from ._pool.origins import Origin
from .settings import Settings

if TYPE_CHECKING:
    from ._crawl.metrics_server import MetricsServer
    from ._crawl.observed_metrics import ObservedMetrics

logger = logging.getLogger(__name__)

# The number of origins or proxies that are named.
_IN_TABLE = 10


class HandshakeMonitor:
    """See https://docs.scrapy.org/en/latest/topics/extensions.html

    Raises:
        ValueError: a setting is wrong, or the port for Prometheus is not available.
    """

    def __init__(self, crawler: Crawler) -> None:
        if crawler.stats is None:
            raise NotConfigured
        self._crawler = crawler
        self._stats = crawler.stats
        self._settings = Settings.load(crawler.settings)
        self._task: Any = None
        self._origins = origins_of(crawler, self._settings)
        # As of the last line, and of the last judgement.
        self._reported: Progress | None = None
        self._judged = Progress(0, 0, 0)
        # Proxies that a warning has named.
        self._named: set[str] = set()
        self._exports = _exports(crawler, self._settings)
        self._has_ended = False
        crawler.signals.connect(self._spider_opened, signals.spider_opened)
        crawler.signals.connect(self._spider_idle, signals.spider_idle)
        crawler.signals.connect(self._spider_closed, signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> HandshakeMonitor:
        return cls(crawler)

    def _spider_opened(self, spider: Spider) -> None:
        for export in self._exports:
            export.start()
        if self._settings.monitor_interval:
            self._task = create_looping_call(self._interval_ended, spider)
            self._task.start(self._settings.monitor_interval, now=False)

    def _spider_idle(self, spider: Spider) -> None:
        """Judge before the end of an interval: a short crawl has none."""
        if self._progress().since(self._judged).handshakes >= LEAST_HANDSHAKES:
            self._judge(spider)

    def _spider_closed(self, spider: Spider) -> None:
        for export in self._exports:
            export.close()
        self.end(spider)

    def end(self, spider: Spider) -> None:
        """Write the last lines of the crawl, unless they are there."""
        if self._has_ended:
            return
        self._has_ended = True
        if self._task is not None and self._task.running:
            self._task.stop()
        self._report(spider)
        self._judge(spider)
        self._judge_proxies(spider)
        if worst := self._origins.worst(_IN_TABLE):
            logger.info("%s", _table(worst), extra={"spider": spider})
        pool = session_pool_of(self._crawler)
        if pool is None:
            table = _table_of_failed_proxies(failed_proxies(self._origins)[:_IN_TABLE])
        else:
            table = _table_of_proxies(pool.worst_proxies(_IN_TABLE))
        if table is not None:
            logger.info("%s", table, extra={"spider": spider})

    def _interval_ended(self, spider: Spider) -> None:
        self._report(spider)
        self._judge(spider)
        self._judge_proxies(spider)

    def _progress(self) -> Progress:
        context = context_of(self._crawler)
        if context is not None:
            context.stats.set_rates()
        return progress_of(self._stats.get_stats())

    def _report(self, spider: Spider) -> None:
        before, self._reported = self._reported, self._progress()
        workers = None
        if (context := context_of(self._crawler)) is not None:
            workers = context.pool.workers_alive, context.settings.workers
        stats, waiting = self._stats.get_stats(), self._origins.waiting.total()
        sessions, limited = self._session_counts(), self._origins.limited()
        if self._settings.monitor_json:
            record = health_record(
                stats,
                before,
                spider=spider.name,
                waiting=waiting,
                workers=workers,
                sessions=sessions,
                limited=limited[:_IN_TABLE],
            )
            line = json.dumps(record)
        else:
            line = health_line(stats, before, waiting=waiting, workers=workers, sessions=sessions)
            if limited:
                line += f". Limits: {named_limits(limited)}"
        logger.info("%s", line, extra={"spider": spider})

    def _session_counts(self) -> SessionCounts | None:
        pool = session_pool_of(self._crawler)
        if pool is None:
            return None
        return SessionCounts(pool.alive, pool.resting(time.monotonic()), len(pool.proxies))

    def _judge(self, spider: Spider) -> None:
        """Warn if too many handshakes have failed since the last time, or close the crawl."""
        now = self._progress()
        new, self._judged = now.since(self._judged), now
        if new.handshakes < LEAST_HANDSHAKES:
            return
        extra = {"spider": spider}
        if new.failure_rate > self._settings.failure_rate_warning:
            logger.warning(
                "%.1f %% of the last %d handshakes failed, which is more than "
                "CURL_SAFE_FAILURE_RATE_WARNING (%.1f %%)",
                100 * new.failure_rate,
                new.handshakes,
                100 * self._settings.failure_rate_warning,
                extra=extra,
            )
            if worst := self._origins.worst(1):
                failed = sum(origin.failures.total() for origin in self._origins)
                logger.warning("%s", advice(worst[0], failed), extra=extra)
        if 0 < self._settings.failure_rate_close < new.failure_rate and not self._has_ended:
            if self._task is not None and self._task.running:
                self._task.stop()
            close_crawl(self._crawler, "curl_safe_handshake_failures")

    def _judge_proxies(self, spider: Spider) -> None:
        """Warn once of each proxy that has brought nothing. Sessions let theirs rest."""
        if session_pool_of(self._crawler) is not None:
            return
        for proxy in failed_proxies(self._origins):
            if proxy.is_useless and proxy.label not in self._named and len(self._named) < _IN_TABLE:
                self._named.add(proxy.label)
                logger.warning("%s", advice_on(proxy), extra={"spider": spider})


class LastReport:
    """An item pipeline that processes no items: as the last one it is closed first, and then has
    the monitor report. Other pipelines see the final stats when they are closed, and Scrapy counts
    the warnings."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> LastReport:
        return cls(crawler)

    def close_spider(self) -> None:
        context = context_of(self._crawler)
        if context is not None:
            context.stats.set_rates()
        monitor = self._crawler.get_extension(HandshakeMonitor)
        if monitor is not None:
            assert self._crawler.spider is not None
            monitor.end(self._crawler.spider)


def _exports(crawler: Crawler, settings: Settings) -> list[MetricsServer | ObservedMetrics]:
    exports: list[MetricsServer | ObservedMetrics] = []
    if settings.opentelemetry:
        # Only then the package for it is sure to be there.
        from ._crawl.observed_metrics import ObservedMetrics  # noqa: PLC0415

        exports.append(ObservedMetrics(crawler))
    if settings.prometheus_port is not None:
        exports.append(_metrics_server(crawler, settings.prometheus_port))
    return exports


def _metrics_server(crawler: Crawler, port: int) -> MetricsServer:
    name = "CURL_SAFE_PROMETHEUS_PORT"
    try:
        from ._crawl.metrics_server import MetricsServer  # noqa: PLC0415
    except ImportError as error:
        raise missing(name, port, "prometheus-client", "prometheus", error) from error
    try:
        return MetricsServer(port, crawler)
    except OSError as error:
        raise ValueError(
            f"{name} is {port!r}: it takes a port of 127.0.0.1 that can be had: {error}"
        ) from error


def _table(worst: list[Origin]) -> str:
    rows = [("origin", "done", "failed", "share", "limit", "kinds")]
    for origin in worst:
        failed, done = origin.failures.total(), origin.handshakes_done
        kinds = by_count({kind.value: count for kind, count in origin.failures.items()})
        share = f"{failed / (done + failed):.1%}"
        limit = str(origin.limit.value) if origin.limit.is_lowered else "-"
        rows.append((str(origin.route), str(done), str(failed), share, limit, kinds))
    return _aligned("Handshakes by origin, the worst first:", rows)


def _table_of_failed_proxies(worst: list[ProxyTotals]) -> str | None:
    if not worst:
        return None
    rows = [("proxy", "responses", "failed", "causes")]
    for proxy in worst:
        failed = proxy.failures.total()
        rows.append((proxy.label, str(proxy.responses), str(failed), proxy.causes))
    return _aligned("Proxies through which connections failed, the worst first:", rows)


def _table_of_proxies(worst: list[Proxy]) -> str | None:
    if not worst:
        return None
    rows = [("proxy", "requests", "failed", "blocked", "causes")]
    for proxy in worst:
        causes = by_count(proxy.failures)
        failed, blocked = proxy.failures.total(), proxy.blocks
        rows.append((proxy.label, str(proxy.requests), str(failed), str(blocked), causes))
    return _aligned("Requests by proxy, the worst first:", rows)


def _aligned(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table: the first and the last column have words, the others numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if 0 < number < len(row) - 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([title, *lines])

"""Collects what the report of a crawl says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from scrapy.crawler import Crawler

from ..._pool.origins import Origin, OriginRegistry
from ..._version import __version__
from ...settings import Settings
from ..context import context_of, origins_of
from ..health import count_of, counts_below
from ..session_pools import session_pool_of, shown_proxy
from ..sessions.health import Proxy
from ..stats import PREFIX
from .advise import advise
from .data import OriginHealth, ProxyHealth, ReportData
from .points import Sample, TimeSeries

_MOST_ORIGINS = 50
_MOST_PROXIES = 50
# Others may have secrets in their names: this package's have none.
_PREFIXES = (PREFIX, "retry/")


class CrawlRecorder:
    """Records a crawl for its report.

    Args:
        crawler: whose it is.
        settings: of the crawl.
    """

    def __init__(self, crawler: Crawler, settings: Settings) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._settings = settings
        self._origins = origins_of(crawler, settings)
        self._began = time.monotonic()
        self._series = TimeSeries()

    def sample(self) -> None:
        """Note how the crawl stands at this moment."""
        at = time.monotonic() - self._began
        self._series.add(sample_of(self._crawler, self._origins, at))

    def data(self, began: datetime, finish_reason: str) -> ReportData:
        """Return what is known now.

        Args:
            began: when the crawl began.
            finish_reason: why it ended.
        """
        self.sample()
        context = context_of(self._crawler)
        if context is not None:
            context.stats.set_rates()
        stats = self._stats.get_stats()
        worst = self._origins.worst(_MOST_ORIGINS)
        proxies = _proxies(self._origins, _session_proxies(self._crawler))
        workers = [] if context is None else context.stats.worker_lives.since(self._began)
        return ReportData(
            version=__version__,
            spider=self._crawler.spidercls.name,
            began=began.isoformat(timespec="seconds"),
            seconds=time.monotonic() - self._began,
            finish_reason=finish_reason,
            stats={key: stats[key] for key in sorted(stats) if key.startswith(_PREFIXES)},
            points=self._series.points,
            handshake_times=[] if context is None else context.stats.handshake_times.bars(),
            origins=[_origin_health(origin) for origin in worst],
            proxies=proxies,
            workers=workers,
            workers_forgotten=0 if context is None else context.stats.worker_lives.forgotten,
            advice=advise(stats, self._settings, worst, proxies, workers),
        )


def sample_of(crawler: Crawler, origins: OriginRegistry, at: float) -> Sample:
    """Return how a crawl stands at this moment.

    Args:
        crawler: whose it is.
        origins: of the crawler.
        at: seconds since the crawl began.
    """
    assert crawler.stats is not None
    context = context_of(crawler)
    if context is not None:
        context.stats.flush()
    stats = crawler.stats.get_stats()
    lowered = [each for each in origins.limited() if each.limit.is_lowered]
    return Sample(
        at=at,
        pages=count_of(stats, "response_count"),
        done=count_of(stats, "handshake/success_count"),
        failed=counts_below(stats, "handshake/failure_count"),
        retries=stats.get("retry/count", 0),
        in_flight=0 if context is None else context.pool.in_flight,
        limited=len(lowered),
        lowest_limit=lowered[0].limit.value if lowered else None,
        given_up=count_of(stats, "handshake/gave_up_count"),
    )


def _session_proxies(crawler: Crawler) -> list[Proxy]:
    pool = session_pool_of(crawler)
    return [] if pool is None else pool.worst_proxies(_MOST_PROXIES)


def _origin_health(origin: Origin) -> OriginHealth:
    return OriginHealth(
        origin.route.origin,
        origin.route.proxy,
        origin.handshakes_done,
        _by_name(origin.failures),
        origin.limit.value if origin.limit.is_lowered else None,
        origin.breaker.is_open,
    )


def _by_name(counts: Counter[Any]) -> dict[str, int]:
    return {kind.value: count for kind, count in counts.most_common()}


def _proxies(origins: Iterable[Origin], of_sessions: Iterable[Proxy]) -> list[ProxyHealth]:
    """Return the proxies with failures, the worst first."""
    known: dict[str, ProxyHealth] = {}
    for origin in origins:
        label = shown_proxy(origin.route.proxy)
        if label is None:
            continue
        health = known.setdefault(label, ProxyHealth(label))
        health.done += origin.handshakes_done
        for kind, count in origin.failures.items():
            health.failed[kind.value] = health.failed.get(kind.value, 0) + count
    for proxy in of_sessions:
        health = known.setdefault(proxy.label, ProxyHealth(proxy.label))
        health.requests, health.blocked = proxy.requests, proxy.blocks
        health.causes = dict(proxy.failures.most_common())
    bad = [health for health in known.values() if _failures(health)]
    return sorted(bad, key=_failures, reverse=True)[:_MOST_PROXIES]


def _failures(health: ProxyHealth) -> int:
    return sum(health.failed.values()) + sum(health.causes.values()) + health.blocked

"""Monitors for Spidermon, and a suite of all of them.

They need the package spidermon: `pip install scrapy-curl-safe[spidermon]`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from scrapy.crawler import Crawler
from scrapy.settings import BaseSettings
from spidermon import MonitorSuite
from spidermon.contrib.scrapy.monitors import BaseScrapyMonitor

from ._crawl.context import origins_of
from ._crawl.health import LEAST_HANDSHAKES, count_of, counts_below
from ._crawl.sessions.pool import SESSION_BLOCKS
from .settings import Settings


class _AtMost(BaseScrapyMonitor):  # type: ignore[misc]
    """A monitor of a number that may not exceed the threshold of its setting.

    Attributes:
        threshold_setting: name of the setting.
        threshold: where that is not set.
    """

    threshold_setting: ClassVar[str]
    threshold: ClassVar[float] = 0

    @classmethod
    def most(cls, settings: BaseSettings) -> float:
        """Return the threshold of a crawl.

        Raises:
            ValueError: the setting is wrong.
        """
        value = settings.get(cls.threshold_setting, cls.threshold)
        try:
            most = float(value)
        except (TypeError, ValueError):
            most = math.nan
        if not most >= 0:
            name = cls.threshold_setting
            raise ValueError(f"{name} is {value!r}: it takes a number of 0 or more")
        return most

    def _check(self, value: float, what: str) -> None:
        most = self.most(self.crawler.settings)
        if value > most:
            self.fail(f"{what}, and {self.threshold_setting} allows {most:g}")


class HandshakeFailureRateMonitor(_AtMost):
    """Check the share of failed TLS handshakes."""

    threshold_setting = "SPIDERMON_CURL_SAFE_MAX_HANDSHAKE_FAILURE_RATE"
    threshold = 0.05

    def test_handshake_failure_rate(self) -> None:
        failed = count_of(self.stats, "handshake/failure_count")
        tried = count_of(self.stats, "handshake/count")
        if tried < LEAST_HANDSHAKES:
            self.skipTest(f"{tried} handshakes say nothing")
        kinds = _listed(counts_below(self.stats, "handshake/failure_count"))
        what = f"{failed / tried:.1%} of {tried} TLS handshakes failed ({kinds})"
        self._check(failed / tried, what)


class GivenUpMonitor(_AtMost):
    """Check how many requests were given up, since their TLS handshakes failed."""

    threshold_setting = "SPIDERMON_CURL_SAFE_MAX_GIVEN_UP"

    def test_given_up_requests(self) -> None:
        given_up = count_of(self.stats, "handshake/gave_up_count")
        self._check(given_up, f"{given_up} requests were given up")


class WorkerRestartMonitor(_AtMost):
    """Check how many workers died or hung, and were replaced."""

    threshold_setting = "SPIDERMON_CURL_SAFE_MAX_WORKER_RESTARTS"

    def test_worker_restarts(self) -> None:
        crashed = count_of(self.stats, "worker/crash_count")
        hung = count_of(self.stats, "worker/hang_count")
        what = f"{crashed} workers died and {hung} hung"
        self._check(crashed + hung, what)


class OpenBreakerMonitor(_AtMost):
    """Check how many origins are unavailable at the moment: their circuit breaker is open."""

    threshold_setting = "SPIDERMON_CURL_SAFE_MAX_OPEN_BREAKERS"

    def test_open_breakers(self) -> None:
        crawler: Crawler = self.crawler
        origins = origins_of(crawler, Settings.load(crawler.settings))
        names = [str(origin.route) for origin in origins.limited() if origin.breaker.is_open]
        what = f"{len(names)} origins are unavailable ({', '.join(names[:3])})"
        self._check(len(names), what)


class BlockedSessionMonitor(_AtMost):
    """Check how many responses were blocks of a session."""

    threshold_setting = "SPIDERMON_CURL_SAFE_MAX_BLOCKS"

    def test_blocked_sessions(self) -> None:
        blocks = counts_below(self.stats, SESSION_BLOCKS)
        count = sum(blocks.values())
        self._check(count, f"{count} responses were blocks ({_listed(blocks)})")


class CurlSafeMonitorSuite(MonitorSuite):  # type: ignore[misc]
    """All monitors of this package, for SPIDERMON_SPIDER_CLOSE_MONITORS or
    SPIDERMON_PERIODIC_MONITORS.

    Raises:
        ValueError: a threshold is wrong.
    """

    monitors: ClassVar[list[type[_AtMost]]] = [
        HandshakeFailureRateMonitor,
        GivenUpMonitor,
        WorkerRestartMonitor,
        OpenBreakerMonitor,
        BlockedSessionMonitor,
    ]

    def __init__(self, *, crawler: Crawler, **options: Any) -> None:
        for monitor in self.monitors:
            monitor.most(crawler.settings)
        super().__init__(crawler=crawler, **options)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))

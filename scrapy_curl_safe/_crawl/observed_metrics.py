"""The metrics of crawls as OpenTelemetry's observable instruments.

OpenTelemetry's SDK makes each instrument once a process, so all crawls of a process share them; an
attribute tells their spiders apart. The SDK asks each instrument for itself, in a thread of its
own.
"""

from __future__ import annotations

import concurrent.futures
import threading
from functools import lru_cache, partial
from typing import NamedTuple

from opentelemetry.metrics import CallbackOptions, Histogram, Observation, get_meter
from scrapy.crawler import Crawler

from .._pool.event_loop import EventLoop
from .._version import __version__
from .context import context_of
from .event_loop import call_in_loop, running_event_loop
from .histogram import LogHistogram
from .metrics import HANDSHAKE_DURATION, METRICS, Metric, read_metrics

#: Of the library, as spans and metrics name it.
SCOPE = "scrapy_curl_safe"
#: The attribute that has the name of the spider.
SPIDER = "scrapy.spider.name"

# How long a reader waits for a loop that is busy; it then gets what the last one got.
_READ_TIMEOUT_SECONDS = 2.0

_Snapshot = dict[str, list[Observation]]


class _Key(NamedTuple):
    """The metric, its labels' values and the spider of an observation."""

    metric: str
    labels: tuple[str, ...]
    spider: str


_Values = dict[_Key, float]


class ObservedMetrics:
    """Shows the metrics of a crawl from `start` to `close`, and its counters for good.

    Args:
        crawler: whose metrics they are.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    def start(self) -> None:
        """Show the metrics from now on. To be called when the crawl's loop runs."""
        context = context_of(self._crawler)
        if context is not None:
            times = _RecordedTimes(_handshake_durations(), self._spider)
            context.stats.handshake_times = times
        _all_crawls().start(self)

    def close(self) -> None:
        """Keep the counters as they are now. To be called in the crawl's own loop."""
        context = context_of(self._crawler)
        if context is not None:
            context.stats.flush()
        _all_crawls().close(self)

    def read(self) -> _Values:
        """Return all values as they are now."""
        return {
            _Key(name, labels, self._spider): value
            for name, samples in read_metrics(self._crawler).items()
            for labels, value in samples.items()
        }

    @property
    def _spider(self) -> str:
        assert self._crawler.spider is not None
        return self._crawler.spider.name


class _AllCrawls:
    """The instruments, and all crawls of this process."""

    def __init__(self) -> None:
        self._running: list[ObservedMetrics] = []
        self._ended: _Values = {}
        self._loop: EventLoop | None = None
        self._thread = 0
        self._snapshot: _Snapshot = {}
        self._shown: set[str] = set()
        meter = get_meter(SCOPE, __version__)
        create = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
        }
        for metric in METRICS:
            name, unit = instrument_name(metric.name)
            callbacks = [partial(self._observe, metric.name)]
            create[metric.type](name, callbacks, unit=unit, description=metric.text)

    def start(self, crawl: ObservedMetrics) -> None:
        self._loop, self._thread = running_event_loop(), threading.get_ident()
        self._running.append(crawl)

    def close(self, crawl: ObservedMetrics) -> None:
        if crawl not in self._running:
            return
        self._running.remove(crawl)
        last = crawl.read().items()
        _add(self._ended, {key: n for key, n in last if _BY_NAME[key.metric].type == "counter"})

    def _observe(self, name: str, options: CallbackOptions) -> list[Observation]:
        """Return the values of one metric, all read at the same moment as those of the others that
        are asked for in turn."""
        if name in self._shown or not self._shown:
            self._snapshot = self._read()
            self._shown.clear()
        self._shown.add(name)
        return self._snapshot.get(name, [])

    def _read(self) -> _Snapshot:
        # Whoever asks in the loop's own thread would wait for himself.
        if self._loop is None or not self._running or threading.get_ident() == self._thread:
            return self._now()
        try:
            return call_in_loop(self._loop, self._now, _READ_TIMEOUT_SECONDS)
        except concurrent.futures.TimeoutError:
            return self._snapshot
        except RuntimeError:  # asyncio's loop is closed: the crawl was ended by force
            return self._now()

    def _now(self) -> _Snapshot:
        values = dict(self._ended)
        for crawl in self._running:
            _add(values, crawl.read())
        snapshot: _Snapshot = {}
        for key, value in values.items():
            labels = zip(_BY_NAME[key.metric].labels, key.labels, strict=True)
            attributes = {SPIDER: key.spider, **dict(labels)}
            snapshot.setdefault(key.metric, []).append(Observation(value, attributes))
        return snapshot


class _RecordedTimes(LogHistogram):
    """Records each duration in a histogram of OpenTelemetry's, too."""

    def __init__(self, histogram: Histogram, spider: str) -> None:
        super().__init__()
        self._histogram = histogram
        self._attributes = {SPIDER: spider}

    def add(self, seconds: float) -> None:
        super().add(seconds)
        self._histogram.record(seconds, self._attributes)


_BY_NAME: dict[str, Metric] = {metric.name: metric for metric in METRICS}
_all_crawls = lru_cache(None)(_AllCrawls)


def _add(to: _Values, more: _Values) -> None:
    for key, value in more.items():
        to[key] = to.get(key, 0) + value


@lru_cache(None)
def _handshake_durations() -> Histogram:
    name, unit = instrument_name(HANDSHAKE_DURATION.name)
    *bounds, _ = LogHistogram().cumulative()
    return get_meter(SCOPE, __version__).create_histogram(
        name,
        unit,
        HANDSHAKE_DURATION.text,
        explicit_bucket_boundaries_advisory=[bound for bound, _ in bounds],
    )


def instrument_name(name: str) -> tuple[str, str]:
    """Return the name of a metric as OpenTelemetry writes it, and its unit."""
    name = name.replace("curl_safe_", "curl_safe.", 1)
    if name.endswith("_seconds"):
        return name.removesuffix("_seconds"), "s"
    return name, "By" if name.endswith("_bytes") else ""

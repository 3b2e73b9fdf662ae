"""The metrics of a crawl in the form that prometheus_client takes."""

from __future__ import annotations

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from scrapy.crawler import Crawler

from .context import context_of
from .metrics import HANDSHAKE_DURATION, METRICS, read_metrics

_FAMILIES = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


def metric_families(crawler: Crawler) -> list[Metric]:
    """Return all metrics as they are now. To be called in the crawl's own loop."""
    samples = read_metrics(crawler)
    families: list[Metric] = []
    for metric in METRICS:
        if metric.name in samples:
            family = _FAMILIES[metric.type](metric.name, metric.text, labels=metric.labels)
            for labels, value in samples[metric.name].items():
                family.add_metric(labels, value)
            families.append(family)
    context = context_of(crawler)
    if context is not None:
        times = context.stats.handshake_times
        buckets = [
            (str(bound).replace("inf", "+Inf"), count) for bound, count in times.cumulative()
        ]
        families.append(HistogramMetricFamily(*HANDSHAKE_DURATION, buckets, times.total))
    return families

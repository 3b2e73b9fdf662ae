"""The Prometheus metrics of a crawl, read from what is counted anyway."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from scrapy.crawler import Crawler

from .._ipc.failures import HANDSHAKE_KINDS
from .._pool.origins import Origin
from .context import context_of
from .health import counts_below
from .retry_rules import RETRY_REASONS
from .session_pools import session_pool_of
from .sessions.pool import PROXY_FAILURES, SESSION_BLOCKS, SESSION_ENDS, SessionPool
from .stats import PREFIX, STATS

# Origins whose limit has a label of its own, the lowest limits first: a crawl may meet any number
# of origins, and each label value is a time series.
_MOST_LABELLED_ORIGINS = 20

# The metrics that `STATS` names: each with its help text, and the name of its label if it has one.
_COUNTERS = {
    "curl_safe_requests": ("Requests given to the pool.", ""),
    "curl_safe_handshake_retries": ("Retries of requests whose TLS handshake failed.", ""),
    "curl_safe_handshake_outcomes": (
        "Requests whose TLS handshake failed, by whether they got a response in the end.",
        "outcome",
    ),
    "curl_safe_handshakes_resumed": ("TLS handshakes that resumed a session.", ""),
    "curl_safe_limit_decreases": ("Times that the limit of an origin went down.", ""),
    "curl_safe_breaker_openings": ("Times that the circuit breaker of an origin opened.", ""),
    "curl_safe_worker_starts": ("Worker processes started.", ""),
    "curl_safe_worker_ends": (
        "Worker processes that ended before the crawl, by the cause.",
        "cause",
    ),
    "curl_safe_lost_requests": ("Requests in flight in a worker that died.", ""),
    "curl_safe_quarantined_requests": ("Requests that were given a worker of their own.", ""),
    "curl_safe_wire_bytes": ("Bytes as libcurl counts them, without TLS.", "direction"),
}


def read_metrics(crawler: Crawler) -> list[Metric]:
    """Return all metrics as they are now. To be called in the crawl's own loop."""
    assert crawler.stats is not None
    stats = crawler.stats.get_stats()
    metrics = [_counter(stats, name, *about) for name, about in _COUNTERS.items()]
    metrics += [_retries(stats), _handshakes(stats), _responses(stats), _loop_lag(stats)]
    sessions = session_pool_of(crawler)
    if sessions is not None:
        metrics += session_metrics(stats, sessions, time.monotonic())
    context = context_of(crawler)
    if context is not None:
        pool, times = context.pool, context.stats.handshake_times
        metrics += [
            HistogramMetricFamily(
                "curl_safe_handshake_duration_seconds",
                "Time from the TCP connection to the end of the TLS handshake, of those done.",
                [(str(bound).replace("inf", "+Inf"), count) for bound, count in times.cumulative()],
                times.total,
            ),
            _gauge("curl_safe_in_flight_requests", "Requests in the pool.", pool.in_flight),
            _gauge("curl_safe_workers", "Worker processes that take requests.", pool.workers_alive),
            *limit_metrics(context.origins.limited()),
        ]
    return metrics


def _counter(stats: Mapping[str, Any], name: str, text: str, label: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label] if label else None)
    for stat in STATS:
        if stat.metric == name:
            family.add_metric([stat.label] if label else [], stats.get(PREFIX + stat.key, 0))
    return family


def _retries(stats: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily("curl_safe_retries", "Retries, by the reason.", labels=["reason"])
    for reason in RETRY_REASONS:
        family.add_metric([reason], stats.get(f"retry/reason_count/{reason}", 0))
    return family


def _handshakes(stats: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily(
        "curl_safe_handshakes",
        "TLS handshakes that ended, by result and, where they failed, by kind.",
        labels=["result", "kind"],
    )
    family.add_metric(["done", ""], stats.get("curl_safe/handshake/success_count", 0))
    for kind in HANDSHAKE_KINDS:
        failed = stats.get(f"curl_safe/handshake/failure_count/{kind.value}", 0)
        family.add_metric(["failed", kind.value], failed)
    return family


def _responses(stats: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily(
        "curl_safe_responses", "Responses, by the connection that brought them.", labels=["on"]
    )
    reused = stats.get("curl_safe/connection/reused_count", 0)
    family.add_metric(["new"], stats.get("curl_safe/response_count", 0) - reused)
    family.add_metric(["reused"], reused)
    return family


def _loop_lag(stats: Mapping[str, Any]) -> Metric:
    lag = stats.get("curl_safe/loop_lag_max", 0.0)
    return _gauge("curl_safe_longest_loop_lag_seconds", "Longest block of the crawler's loop.", lag)


def limit_metrics(limited: list[Origin]) -> Iterable[Metric]:
    """Yield the metrics of the origins whose limit is lowered.

    Args:
        limited: the lowest limit first.
    """
    unavailable = sum(origin.breaker.is_open for origin in limited)
    yield _gauge("curl_safe_limited_origins", "Origins whose limit is lowered.", len(limited))
    yield _gauge("curl_safe_resting_origins", "Origins whose circuit breaker is open.", unavailable)
    limits = GaugeMetricFamily(
        "curl_safe_origin_limit",
        "Limit on the new connections to an origin: "
        f"the {_MOST_LABELLED_ORIGINS} lowest of those lowered.",
        labels=["origin", "proxy"],
    )
    for origin in limited[:_MOST_LABELLED_ORIGINS]:
        route = origin.route
        limits.add_metric([route.origin, route.proxy or ""], origin.limit.value)
    yield limits


def session_metrics(stats: Mapping[str, Any], pool: SessionPool, now: float) -> Iterable[Metric]:
    """Yield the metrics of the sessions and their proxies."""
    yield _gauge("curl_safe_sessions", "Sessions that get requests.", pool.alive)
    yield _gauge("curl_safe_resting_proxies", "Proxies that rest.", pool.resting(now))
    yield _by_reason(stats, "curl_safe_sessions_ended", "Sessions that ended.", SESSION_ENDS)
    yield _by_reason(stats, "curl_safe_blocks", "Responses that were blocks.", SESSION_BLOCKS)
    yield _by_reason(
        stats, "curl_safe_proxy_failures", "Requests that failed by their proxy.", PROXY_FAILURES
    )


def _by_reason(stats: Mapping[str, Any], name: str, text: str, key: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=["reason"])
    for reason, count in counts_below(stats, key).items():
        family.add_metric([reason], count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

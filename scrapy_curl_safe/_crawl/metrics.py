"""The metrics of a crawl: declared once, and read from what is counted anyway.

`prometheus.py` and `observed_metrics.py` show them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

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


class Metric(NamedTuple):
    """The declaration of a metric.

    Attributes:
        name: without the end that Prometheus gives to counters.
        text: what it shows.
        type: "counter" only adds up, "gauge" is as of now.
        labels: their names.
    """

    name: str
    text: str
    type: Literal["counter", "gauge"] = "counter"
    labels: tuple[str, ...] = ()


#: The values of a metric, by those of its labels.
Samples = dict[tuple[str, ...], float]

METRICS = (
    # Named by `STATS`.
    Metric("curl_safe_requests", "Requests given to the pool."),
    Metric("curl_safe_handshake_retries", "Retries of requests whose TLS handshake failed."),
    Metric(
        "curl_safe_handshake_outcomes",
        "Requests whose TLS handshake failed, by whether they got a response in the end.",
        labels=("outcome",),
    ),
    Metric("curl_safe_handshakes_resumed", "TLS handshakes that resumed a session."),
    Metric("curl_safe_limit_decreases", "Times that the limit of an origin went down."),
    Metric("curl_safe_breaker_openings", "Times that the circuit breaker of an origin opened."),
    Metric("curl_safe_worker_starts", "Worker processes started."),
    Metric(
        "curl_safe_worker_ends",
        "Worker processes that ended before the crawl, by the cause.",
        labels=("cause",),
    ),
    Metric("curl_safe_lost_requests", "Requests in flight in a worker that died."),
    Metric("curl_safe_quarantined_requests", "Requests that were given a worker of their own."),
    Metric(
        "curl_safe_wire_bytes",
        "Bytes as libcurl counts them, without TLS.",
        labels=("direction",),
    ),
    # Of several stats.
    Metric("curl_safe_retries", "Retries, by the reason.", labels=("reason",)),
    Metric(
        "curl_safe_handshakes",
        "TLS handshakes that ended, by result and, where they failed, by kind.",
        labels=("result", "kind"),
    ),
    Metric(
        "curl_safe_responses", "Responses, by the connection that brought them.", labels=("on",)
    ),
    Metric("curl_safe_longest_loop_lag_seconds", "Longest block of the crawler's loop.", "gauge"),
    # Of the pool.
    Metric("curl_safe_in_flight_requests", "Requests in the pool.", "gauge"),
    Metric("curl_safe_workers", "Worker processes that take requests.", "gauge"),
    Metric("curl_safe_limited_origins", "Origins whose limit is lowered.", "gauge"),
    Metric("curl_safe_resting_origins", "Origins whose circuit breaker is open.", "gauge"),
    Metric(
        "curl_safe_origin_limit",
        "Limit on the new connections to an origin: "
        f"the {_MOST_LABELLED_ORIGINS} lowest of those lowered.",
        "gauge",
        ("origin", "proxy"),
    ),
    # Of sessions.
    Metric("curl_safe_sessions", "Sessions that get requests.", "gauge"),
    Metric("curl_safe_resting_proxies", "Proxies that rest.", "gauge"),
    Metric("curl_safe_sessions_ended", "Sessions that ended.", labels=("reason",)),
    Metric("curl_safe_blocks", "Responses that were blocks.", labels=("reason",)),
    Metric("curl_safe_proxy_failures", "Requests that failed by their proxy.", labels=("reason",)),
)


class HistogramMetric(NamedTuple):
    """The declaration of a histogram of seconds."""

    name: str
    text: str


HANDSHAKE_DURATION = HistogramMetric(
    "curl_safe_handshake_duration_seconds",
    "Time from the TCP connection to the end of the TLS handshake, of those done.",
)


def read_metrics(crawler: Crawler) -> dict[str, Samples]:
    """Return all metrics as they are now, by name. Those of the pool are there while there is one,
    those of sessions if there are sessions. To be called in the crawl's own loop."""
    assert crawler.stats is not None
    stats = crawler.stats.get_stats()
    samples = _of_single_stats(stats) | _of_stats(stats)
    sessions = session_pool_of(crawler)
    if sessions is not None:
        samples |= _of_sessions(stats, sessions, time.monotonic())
    context = context_of(crawler)
    if context is not None:
        samples["curl_safe_in_flight_requests"] = {(): context.pool.in_flight}
        samples["curl_safe_workers"] = {(): context.pool.workers_alive}
        samples |= limit_metrics(context.origins.limited())
    return samples


def _of_single_stats(stats: Mapping[str, Any]) -> dict[str, Samples]:
    samples: dict[str, Samples] = {}
    for stat in STATS:
        if stat.metric:
            labels = (stat.label,) if stat.label else ()
            samples.setdefault(stat.metric, {})[labels] = stats.get(PREFIX + stat.key, 0)
    return samples


def _of_stats(stats: Mapping[str, Any]) -> dict[str, Samples]:
    reused = stats.get("curl_safe/connection/reused_count", 0)
    handshakes: Samples = {("done", ""): stats.get("curl_safe/handshake/success_count", 0)}
    for kind in HANDSHAKE_KINDS:
        failed = stats.get(f"curl_safe/handshake/failure_count/{kind.value}", 0)
        handshakes["failed", kind.value] = failed
    return {
        "curl_safe_retries": {
            (reason,): stats.get(f"retry/reason_count/{reason}", 0) for reason in RETRY_REASONS
        },
        "curl_safe_handshakes": handshakes,
        "curl_safe_responses": {
            ("new",): stats.get("curl_safe/response_count", 0) - reused,
            ("reused",): reused,
        },
        "curl_safe_longest_loop_lag_seconds": {(): stats.get("curl_safe/loop_lag_max", 0.0)},
    }


def limit_metrics(limited: list[Origin]) -> dict[str, Samples]:
    """Return the metrics of the origins whose limit is lowered, or whose breaker is open.

    Args:
        limited: the lowest limit first.
    """
    lowered = [origin for origin in limited if origin.limit.is_lowered]
    return {
        "curl_safe_limited_origins": {(): len(lowered)},
        "curl_safe_resting_origins": {(): sum(origin.breaker.is_open for origin in limited)},
        "curl_safe_origin_limit": {
            (origin.route.origin, origin.route.proxy or ""): origin.limit.value
            for origin in lowered[:_MOST_LABELLED_ORIGINS]
        },
    }


def _of_sessions(stats: Mapping[str, Any], pool: SessionPool, now: float) -> dict[str, Samples]:
    counts = {
        "curl_safe_sessions_ended": SESSION_ENDS,
        "curl_safe_blocks": SESSION_BLOCKS,
        "curl_safe_proxy_failures": PROXY_FAILURES,
    }
    samples: dict[str, Samples] = {
        name: {(reason,): count for reason, count in counts_below(stats, key).items()}
        for name, key in counts.items()
    }
    samples["curl_safe_sessions"] = {(): pool.alive}
    samples["curl_safe_resting_proxies"] = {(): pool.resting(now)}
    return samples

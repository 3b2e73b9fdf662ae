"""The figures of a crawl for Prometheus, on a port of 127.0.0.1.

Nothing is counted for it: a scrape reads what is there anyway. A thread serves, so that a slow
client holds up nobody, and has the crawl's own loop read the figures, so that nothing changes
meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from socket import SHUT_RDWR, socket
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from scrapy.crawler import Crawler

from .errors import TREATMENTS
from .pool.eventloop import EventLoop, running_event_loop
from .pool.gate import Gate
from .shared import shared_by

logger = logging.getLogger(__name__)

# Origins whose limit has a label of its own, the lowest limits first: a crawl may meet any
# number of them, and each label value is a time series.
_MOST_LABELLED = 20

# Seconds that a scrape waits for a loop that is busy, and for a client that says nothing.
_PATIENCE = 10.0

_REASONS = [
    *(treatment.reason for treatment in TREATMENTS.values() if treatment.most_retries != 0),
    "worker_crashed",
    "worker_hung",
    "connection_died",
]

# Of each metric: its name, its help, its label if it has one, and the stats that it shows, by
# the value of that label.
_COUNTERS: list[tuple[str, str, str | None, dict[str, str]]] = [
    ("curl_safe_requests", "Requests given to the pool.", None, {"": "curl_safe/request_count"}),
    (
        "curl_safe_retries",
        "Retries, by the reason.",
        "reason",
        {reason: f"retry/reason_count/{reason}" for reason in _REASONS},
    ),
    (
        "curl_safe_handshake_retries",
        "Retries of requests whose TLS handshake failed.",
        None,
        {"": "curl_safe/handshake/retry_count"},
    ),
    (
        "curl_safe_handshake_outcomes",
        "Requests whose TLS handshake failed, by whether they got a response in the end.",
        "outcome",
        {
            "recovered": "curl_safe/handshake/recovered_count",
            "gave_up": "curl_safe/handshake/gave_up_count",
        },
    ),
    (
        "curl_safe_handshakes_resumed",
        "TLS handshakes that resumed a session.",
        None,
        {"": "curl_safe/handshake/resumed_count"},
    ),
    (
        "curl_safe_limit_decreases",
        "Times that the limit of an origin went down.",
        None,
        {"": "curl_safe/throttle/decrease_count"},
    ),
    (
        "curl_safe_breaker_openings",
        "Times that an origin was left alone for a while.",
        None,
        {"": "curl_safe/breaker/open_count"},
    ),
    (
        "curl_safe_worker_starts",
        "Worker processes started.",
        None,
        {"": "curl_safe/worker/start_count"},
    ),
    (
        "curl_safe_worker_ends",
        "Worker processes that ended before the crawl, by the cause.",
        "cause",
        {
            "crash": "curl_safe/worker/crash_count",
            "hang": "curl_safe/worker/hang_count",
            "recycle": "curl_safe/worker/recycle_count",
        },
    ),
    (
        "curl_safe_lost_requests",
        "Requests in flight in a worker that died.",
        None,
        {"": "curl_safe/worker/lost_request_count"},
    ),
    (
        "curl_safe_quarantined_requests",
        "Requests that were given a worker of their own.",
        None,
        {"": "curl_safe/worker/quarantine_count"},
    ),
    (
        "curl_safe_wire_bytes",
        "Bytes as libcurl counts them, without TLS.",
        "direction",
        {"sent": "curl_safe/wire_bytes_sent", "received": "curl_safe/wire_bytes_received"},
    ),
]


class MetricsServer(ThreadingTCPServer):
    """Serves the figures of a crawl, from `start` to `close`; the port is its own from the first.

    Args:
        port: of 127.0.0.1.
        crawler: whose figures they are.

    Raises:
        OSError: the port cannot be had.
    """

    daemon_threads = True
    # Else a port that was used a moment ago could not be had.
    allow_reuse_address = True

    def __init__(self, port: int, crawler: Crawler) -> None:
        self._crawler = crawler
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"curl-safe-prometheus-{port}", daemon=True
        )
        registry = CollectorRegistry()
        handler = MetricsHandler.factory(registry)
        handler.timeout = _PATIENCE  # type: ignore[attr-defined]
        super().__init__(("127.0.0.1", port), handler)
        self._registry = registry

    def start(self) -> None:
        """Call it when the crawl's loop runs."""
        self._registry.register(_Figures(self._crawler, running_event_loop()))
        self._thread.start()

    def close(self) -> None:
        """The port is free and the thread is gone when it returns."""
        self._closing.set()
        if self._thread.is_alive():
            # Wakes it. (Closing the socket would not, and `shutdown` polls.)
            self.socket.shutdown(SHUT_RDWR)
            self._thread.join()
        self.server_close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.handle_request()

    def get_request(self) -> tuple[socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # With no descriptor left the connection stays where it is, and would be seen again
            # at once, and again.
            self._closing.wait(1.0)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A scrape by %s failed", client_address, exc_info=True)


class _Figures(Collector):
    def __init__(self, crawler: Crawler, loop: EventLoop) -> None:
        self._crawler = crawler
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        """Called by a thread of the server's.

        Raises:
            TimeoutError: the crawl's loop is too busy.
        """
        answer: Future[list[Metric]] = Future()

        def read() -> None:
            try:
                answer.set_result(read_figures(self._crawler))
            except Exception as error:
                answer.set_exception(error)

        self._loop.call_soon_threadsafe(read)
        return answer.result(_PATIENCE)


def read_figures(crawler: Crawler) -> list[Metric]:
    """All metrics as they are now. Called in the crawl's own loop."""
    assert crawler.stats is not None
    stats = crawler.stats.get_stats()
    metrics = [_counter(stats, *row) for row in _COUNTERS]
    metrics += [_handshakes(stats), _responses(stats), _loop_lag(stats)]
    shared = shared_by(crawler)
    if shared is not None:
        pool, times = shared.pool, shared.figures.handshake_times
        metrics += [
            HistogramMetricFamily(
                "curl_safe_handshake_duration_seconds",
                "Time from the TCP connection to the end of the TLS handshake, of those done.",
                [(str(bound).replace("inf", "+Inf"), count) for bound, count in times.histogram()],
                times.total,
            ),
            _gauge("curl_safe_in_flight_requests", "Requests in the pool.", pool.in_flight),
            _gauge("curl_safe_workers", "Worker processes that take requests.", pool.workers_alive),
            *limit_metrics(pool.gates.lowered()),
        ]
    return metrics


def _counter(
    stats: Mapping[str, Any], name: str, text: str, label: str | None, keys: dict[str, str]
) -> Metric:
    family = CounterMetricFamily(name, text, labels=None if label is None else [label])
    for value, key in keys.items():
        family.add_metric([] if label is None else [value], stats.get(key, 0))
    return family


def _handshakes(stats: Mapping[str, Any]) -> Metric:
    family = CounterMetricFamily(
        "curl_safe_handshakes",
        "TLS handshakes that ended, by result and, where they failed, by kind.",
        labels=["result", "kind"],
    )
    family.add_metric(["done", ""], stats.get("curl_safe/handshake/success_count", 0))
    for kind in TREATMENTS:
        failed = stats.get(f"curl_safe/handshake/failure_count/{kind}", 0)
        family.add_metric(["failed", kind], failed)
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


def limit_metrics(lowered: list[Gate]) -> Iterable[Metric]:
    """Of the origins whose limit is lowered, the lowest first."""
    resting = sum(gate.limit.is_open for gate in lowered)
    yield _gauge("curl_safe_limited_origins", "Origins whose limit is lowered.", len(lowered))
    yield _gauge("curl_safe_resting_origins", "Origins that are left alone for now.", resting)
    limits = GaugeMetricFamily(
        "curl_safe_origin_limit",
        f"Limit on the new connections to an origin: the {_MOST_LABELLED} lowest of those lowered.",
        labels=["origin", "proxy"],
    )
    for gate in lowered[:_MOST_LABELLED]:
        limits.add_metric([gate.route.origin, gate.route.proxy or ""], gate.limit.value)
    yield limits


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)

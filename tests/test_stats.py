"""The stats: each is declared once, and what is declared is counted, documented and exported."""

from __future__ import annotations

import ast
import math
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.core import Metric
from scrapy.statscollectors import StatsCollector
from scrapy.utils.test import get_crawler

import scrapy_curl_safe
from scrapy_curl_safe import SessionMiddleware
from scrapy_curl_safe._crawl.histogram import LogHistogram
from scrapy_curl_safe._crawl.prometheus import metric_families
from scrapy_curl_safe._crawl.session_pools import session_pool_of
from scrapy_curl_safe._crawl.sessions.session import VisitorSession
from scrapy_curl_safe._crawl.stats import CONNECTION_CAUSES, PREFIX, STATS, CrawlStats
from scrapy_curl_safe._ipc.failures import HANDSHAKE_KINDS, FailureKind
from scrapy_curl_safe._ipc.messages import TransferStats
from scrapy_curl_safe._pool.events import PoolEvents
from testkit.workers import a_worker

PACKAGE = Path(scrapy_curl_safe.__file__).parent

DONE = TransferStats(
    connects=1,
    connected_at=0.1,
    handshake_at=0.3,
    bytes_sent=5,
    bytes_received=9,
    resumed=True,
    resends=1,
)
REUSED = TransferStats()


def handshakes_of_each_kind(stats: CrawlStats) -> None:
    for failed in (None, *HANDSHAKE_KINDS):
        stats.handshakes(DONE, failed)


def connection_failures_of_each_cause(stats: CrawlStats) -> None:
    for kind in FailureKind:
        stats.connection_failed(TransferStats(), kind)


def a_worker_is_replaced(stats: CrawlStats) -> None:
    worker = a_worker()
    stats.worker_started(worker)
    stats.worker_replaced(worker, "it uses 300 MB")


#: Everything that `CrawlStats` can be told, by the name of its method.
COUNTED: dict[str, Callable[[CrawlStats], None]] = {
    "request": lambda stats: stats.request(),
    "response": lambda stats: stats.response(REUSED),
    "transferred": lambda stats: stats.transferred(DONE),
    "request_rejected": lambda stats: stats.request_rejected(),
    "request_quarantined": lambda stats: stats.request_quarantined(),
    "request_recovered": lambda stats: stats.request_recovered(),
    "connection_failed": connection_failures_of_each_cause,
    "handshakes": handshakes_of_each_kind,
    "in_flight": lambda stats: stats.in_flight(1),
    "limit_decreased": lambda stats: stats.limit_decreased(),
    "breaker_opened": lambda stats: stats.breaker_opened(),
    "worker_started": lambda stats: stats.worker_started(a_worker()),
    "worker_crashed": lambda stats: stats.worker_crashed(),
    "worker_hung": lambda stats: stats.worker_hung(),
    "worker_replaced": a_worker_is_replaced,
    "requests_lost": lambda stats: stats.requests_lost(1),
    "loop_lag": lambda stats: stats.loop_lag(1.0),
    "flush": lambda stats: stats.flush(),
    "set_rates": lambda stats: stats.set_rates(),
}

#: What it passes on.
NOT_COUNTED = {"worker_exited", "worker_ready"}


class Turn:
    """One turn of a loop."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def end(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


@pytest.fixture
def collector() -> StatsCollector:
    return StatsCollector(get_crawler())


def counting(collector: StatsCollector) -> tuple[CrawlStats, Turn]:
    turn = Turn()
    return CrawlStats(collector, turn.call_soon), turn


def declared(name: str) -> Iterator[str]:
    """Yield the keys that a declaration stands for."""
    if "{kind}" in name:
        yield from (name.format(kind=kind.value) for kind in HANDSHAKE_KINDS)
    elif "{cause}" in name:
        yield from {name.format(cause=cause) for cause in CONNECTION_CAUSES.values()}
    else:
        yield name


# Declarations


def test_each_is_declared_once_and_says_what_it_means() -> None:
    keys = [stat.key for stat in STATS]
    assert len(set(keys)) == len(keys)
    assert all(stat.meaning for stat in STATS)
    assert {stat.type for stat in STATS} == {"counter", "max", "rate"}


def test_what_is_counted_is_what_is_declared(collector: StatsCollector) -> None:
    methods = {name for name in vars(CrawlStats) if not name.startswith("_")}
    assert methods - NOT_COUNTED == COUNTED.keys()
    stats, turn = counting(collector)
    for count in COUNTED.values():
        count(stats)
    turn.end()
    counted = {key.removeprefix(PREFIX) for key in collector.get_stats()}
    of_retries = ("retry", "retried_request", "recovered", "gave_up")
    by_the_middleware = {f"handshake/{name}_count" for name in of_retries}
    declared_keys = {key for stat in STATS for key in declared(stat.key)}
    of_sessions = {key for key in declared_keys if key.startswith(("session/", "proxy/"))}
    assert counted | by_the_middleware == declared_keys - of_sessions


def test_the_pool_counts_all_its_events() -> None:
    events = {name for name in vars(PoolEvents) if not name.startswith("_")}
    assert events - NOT_COUNTED <= COUNTED.keys()


def texts(node: ast.AST) -> Iterator[str]:
    """Yield the string literals of a module, with {} for each value in an f-string."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
        return
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for child in ast.iter_child_nodes(node):
        yield from texts(child)


def test_every_key_that_the_code_names_is_declared() -> None:
    """Keys that it only reads count, too."""
    known = {stat.key.replace("{kind}", "{}") for stat in STATS}
    # A prefix, and the rates that `set_rates` sets by their last part.
    known |= {"handshake/failure_count/", "handshake/{}", "{}"}
    found = {
        key
        for path in PACKAGE.rglob("*.py")
        for text in texts(ast.parse(path.read_text()))
        for key in re.findall(r"\Acurl_safe/([\w/{}]+)\Z", text)
    }
    assert {"handshake/recovered_count", "handshake/retry_count"} <= found
    assert found <= known


def test_every_key_of_the_health_line_is_declared() -> None:
    words = (PACKAGE / "_crawl" / "health.py").read_text()
    keys = set(re.findall(r"""\(stats, ['"]([\w/]+)""", words))
    assert len(keys) > 5
    assert keys <= {stat.key for stat in STATS}


def middleware_counts() -> set[str]:
    # The second one is the middleware's where another package's handler downloads.
    modules = (PACKAGE / "middleware.py", PACKAGE / "_crawl" / "foreign_responses.py")
    return {
        str(node.args[0].value)
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("inc_value", "set_value", "max_value")
        and isinstance(node.args[0], ast.Constant)
    }


def test_the_middleware_counts_the_rest() -> None:
    assert middleware_counts() == {
        f"{PREFIX}handshake/{name}_count"
        for name in ("retry", "retried_request", "recovered", "gave_up")
    }


# Metrics


def exported(metrics: list[Metric]) -> dict[tuple[str, ...], float]:
    """Return the samples by name and label values."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
    }


def test_each_metric_that_a_stat_names_shows_it() -> None:
    crawler = get_crawler()
    assert crawler.stats is not None
    named = [stat for stat in STATS if stat.metric]
    assert len(named) > 10
    for number, stat in enumerate(named):
        crawler.stats.set_value(PREFIX + stat.key, 1000 + number)
    samples = exported(metric_families(crawler))
    for number, stat in enumerate(named):
        sample = (f"{stat.metric}_total", *filter(None, [stat.label]))
        assert samples[sample] == 1000 + number
        assert stat.type == "counter"


def test_sessions_have_metrics_by_the_reason() -> None:
    crawler = get_crawler(settings_dict={"CURL_SAFE_SESSIONS": {"proxies": ["http://a.test:1"]}})
    SessionMiddleware.from_crawler(crawler)
    pool = session_pool_of(crawler)
    assert pool is not None
    session = pool.acquire("https://a.test:443", 0.0)
    assert isinstance(session, VisitorSession)
    pool.proxy_failed(session, "https://a.test:443", "timeout", time.monotonic())
    pool.blocked(session, "https://b.test:443", "403", time.monotonic())
    samples = exported(metric_families(crawler))
    assert samples["curl_safe_sessions",] == 0
    assert samples["curl_safe_sessions_ended_total", "blocked"] == 1
    assert samples["curl_safe_blocks_total", "403"] == 1
    assert samples["curl_safe_proxy_failures_total", "timeout"] == 1
    assert samples["curl_safe_resting_proxies",] == 0  # It answered, if not well.


def test_no_metric_is_without_a_stat() -> None:
    metrics = metric_families(get_crawler())
    assert [metric.name for metric in metrics if not metric.samples] == []
    of_stats = {stat.metric for stat in STATS} - {""}
    others = {
        "curl_safe_retries",  # of Scrapy's stats
        "curl_safe_handshakes",
        "curl_safe_responses",
        "curl_safe_longest_loop_lag_seconds",
    }
    assert {metric.name for metric in metrics} == of_stats | others


# Counts


def test_the_counts_of_one_turn_are_passed_on_together(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    for _ in range(3):
        stats.request()
    stats.worker_started(a_worker())
    assert len(turn.soon) == 1
    assert collector.get_value("curl_safe/request_count") is None
    turn.end()
    assert collector.get_value("curl_safe/request_count") == 3
    assert collector.get_value("curl_safe/worker/start_count") == 1
    stats.request()
    turn.end()
    assert collector.get_value("curl_safe/request_count") == 4


def test_a_collector_that_fails_stops_nothing() -> None:
    """One that keeps the stats elsewhere may fail at any time; the pool must not notice."""

    class Failing(StatsCollector):
        def inc_value(self, *args: Any, **kwargs: Any) -> None:
            raise ConnectionError

        max_value = set_value = inc_value

    collector = Failing(get_crawler())
    stats, turn = counting(collector)
    for name, count in COUNTED.items():
        if name not in ("flush", "set_rates"):
            count(stats)
    with pytest.raises(ConnectionError):
        turn.end()
    # What comes later is passed on all the same.
    stats.request()
    with pytest.raises(ConnectionError):
        turn.end()


def test_the_most_requests_in_flight(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    for count in (1, 3, 2):
        stats.in_flight(count)
    turn.end()
    stats.in_flight(2)
    turn.end()
    assert collector.get_value("curl_safe/in_flight_max") == 3


def test_the_longest_lag_is_never_below_zero(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    stats.loop_lag(-0.001)
    turn.end()
    assert collector.get_value("curl_safe/loop_lag_max") == 0
    for lag in (0.25, 0.1):
        stats.loop_lag(lag)
    turn.end()
    stats.loop_lag(0.2)
    turn.end()
    assert collector.get_value("curl_safe/loop_lag_max") == 0.25


def test_a_response_on_a_new_connection_is_not_on_a_reused_one(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    stats.response(DONE)
    stats.response(REUSED)
    turn.end()
    assert collector.get_value("curl_safe/response_count") == 2
    assert collector.get_value("curl_safe/connection/reused_count") == 1


transfers = st.builds(
    TransferStats, connects=st.integers(0, 6), handshake_at=st.none() | st.floats(0.1, 5)
)


@given(st.lists(st.tuples(transfers, st.none() | st.sampled_from(HANDSHAKE_KINDS))))
def test_handshakes_add_up(outcomes: list[tuple[TransferStats, FailureKind | None]]) -> None:
    collector = StatsCollector(CRAWLER)
    stats, turn = counting(collector)
    for transfer, failed in outcomes:
        stats.handshakes(transfer, failed)
    turn.end()

    def value(key: str) -> int:
        count: int = collector.get_value(f"curl_safe/handshake/{key}", 0)
        return count

    failed_count = value("failure_count")
    assert value("count") == value("success_count") + failed_count
    kinds = sum(value(f"failure_count/{kind.value}") for kind in HANDSHAKE_KINDS)
    assert kinds == failed_count == sum(failed is not None for _, failed in outcomes)


CRAWLER: Any = get_crawler()


def test_rates_are_of_what_was_counted(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    stats.set_rates()
    assert collector.get_stats() == {}
    for failed in (None, None, None, FailureKind.ALERT):
        stats.handshakes(DONE, failed)
    stats.set_rates()  # which passes on what was counted
    assert collector.get_value("curl_safe/handshake/failure_rate") == 0.25
    assert collector.get_value("curl_safe/handshake/time_max") == pytest.approx(0.2)
    turn.end()
    assert collector.get_value("curl_safe/handshake/count") == 4


# The histogram


@given(st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 1.0]))
def test_percentiles_are_at_most_5_percent_too_high(durations: list[float], share: float) -> None:
    histogram = LogHistogram()
    for duration in durations:
        histogram.add(duration)
    at = max(0, -(-len(durations) * share // 1) - 1)
    exact = sorted(durations)[int(at)]
    assert exact * 0.999 <= histogram.percentile(share) <= exact * 1.051
    assert histogram.max == max(durations)


def test_percentiles_of_nothing() -> None:
    assert LogHistogram().percentile(0.5) == 0.0


@given(st.lists(st.floats(1e-5, 1e3), max_size=300))
def test_the_exported_counts_are_at_most_5_percent_off(durations: list[float]) -> None:
    histogram = LogHistogram()
    for duration in durations:
        histogram.add(duration)
    *bounds, (last, count) = histogram.cumulative()
    assert (last, count) == (math.inf, len(durations))
    assert (bounds[0][0], bounds[-1][0]) == (0.001, 100)
    for bound, count in bounds:
        surely, perhaps = (sum(d <= bound * by for d in durations) for by in (0.95, 1.05))
        assert surely <= count <= perhaps
    assert histogram.total == pytest.approx(sum(durations))


def test_a_timeout_after_the_connection_is_no_failed_connection(collector: StatsCollector) -> None:
    stats, turn = counting(collector)
    late = FailureKind.DOWNLOAD_TIMEOUT
    stats.connection_failed(TransferStats(connects=1), late)
    stats.connection_failed(TransferStats(bytes_sent=80), late)  # on a reused connection
    turn.end()
    assert collector.get_stats() == {}

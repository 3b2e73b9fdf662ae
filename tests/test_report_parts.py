"""The parts of a report: advice, data and tables."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest
from scrapy import Spider
from scrapy.settings import Settings as ScrapySettings
from scrapy.utils.test import get_crawler

from scrapy_curl_safe._crawl.context import origins_of
from scrapy_curl_safe._crawl.histogram import LogHistogram
from scrapy_curl_safe._crawl.report.advise import advise
from scrapy_curl_safe._crawl.report.charts import charts
from scrapy_curl_safe._crawl.report.collect import CrawlRecorder
from scrapy_curl_safe._crawl.report.data import (
    Advice,
    OriginHealth,
    ProxyHealth,
    ReportData,
)
from scrapy_curl_safe._crawl.report.points import Point
from scrapy_curl_safe._crawl.report.tables import (
    course,
    kinds,
    origins,
    proxies,
    summary,
    workers,
)
from scrapy_curl_safe._crawl.worker_lives import WorkerLife
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._pool.origins import HandshakeFailure, Origin, Route
from scrapy_curl_safe.settings import Settings

SITE = "https://example.com:443"


class ShopSpider(Spider):
    name = "shop"


def failing(kind: FailureKind, count: int = 5, *, done: int = 5, limit: int = 16) -> Origin:
    origin = Origin(Route(SITE, None), 16, 1)
    origin.failures[kind] = count
    origin.handshakes_done = done
    while origin.limit.value > limit:
        origin.acquire(0.0).failure(HandshakeFailure(kind, 35, ""), 0.0)
    return origin


def advised(
    *origins: Origin,
    stats: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    proxies: tuple[ProxyHealth, ...] = (),
    workers: tuple[WorkerLife, ...] = (),
) -> list[Advice]:
    loaded = Settings.load(ScrapySettings(settings or {}))
    counts = {f"curl_safe/{key}": value for key, value in (stats or {}).items()}
    return advise(counts, loaded, origins, proxies, workers)


def test_a_healthy_crawl_needs_no_advice() -> None:
    assert advised(failing(FailureKind.SYSCALL, 1, done=500)) == []


@pytest.mark.parametrize(
    ("kind", "settings", "command"),
    [
        (FailureKind.SYSCALL, "", f"scrapy curlsafe probe {SITE}"),
        (FailureKind.TIMEOUT, "", f"scrapy curlsafe probe {SITE}"),
        (FailureKind.ALERT, 'CURL_SAFE_IMPERSONATE = "firefox"', ""),
        (FailureKind.LOCAL, "CONCURRENT_REQUESTS = 8  # it was 16", ""),
        (FailureKind.CERTIFICATE, "", ""),
        (FailureKind.PROTOCOL, "", ""),
    ],
    ids=str,
)
def test_what_is_to_be_done_about_an_origin(kind: FailureKind, settings: str, command: str) -> None:
    (advice,) = advised(failing(kind, 5, done=15))
    assert (advice.about, advice.settings, advice.command) == (SITE, settings, command)
    assert advice.text.startswith(f"5 of 20 handshakes failed (25.0%), all by {kind.value}: ")


def test_the_most_frequent_kind_is_named() -> None:
    origin = failing(FailureKind.SYSCALL, 5, done=12)
    origin.failures[FailureKind.ALERT] = 3
    (advice,) = advised(origin)
    assert advice.text.startswith("8 of 20 handshakes failed (40.0%), 5 of them by syscall: it ")


def test_another_browser_than_the_one_that_was_refused() -> None:
    (advice,) = advised(failing(FailureKind.ALERT), settings={"CURL_SAFE_IMPERSONATE": "firefox"})
    assert advice.settings == 'CURL_SAFE_IMPERSONATE = "chrome"'


@pytest.mark.parametrize(
    ("arguments", "about", "says", "settings"),
    [
        (
            {"stats": {"handshake/gave_up_count": 3}},
            "Lost pages",
            "3 requests got no response",
            "CURL_SAFE_HANDSHAKE_RETRY_TIMES = 20  # it was 10",
        ),
        ({"stats": {"loop_lag_max": 1.25}}, "The crawler itself", "for up to 1.2 s", ""),
        (
            {"stats": {"connection/failure_count/proxy_auth": 2}},
            "Proxies",
            "refused its credentials, or asked for some, 2 times",
            "",
        ),
        (
            {"proxies": (ProxyHealth("http://a.test:1", done=5, failed={"syscall": 5}),)},
            "Proxies",
            "through http://a.test:1 failed: leave it out",
            "",
        ),
        (
            {"workers": (WorkerLife(0, 1, 0.0, 1.0, "died", "SIGSEGV"),)},
            "Workers",
            "1 worker died (SIGSEGV)",
            "CURL_SAFE_WORKER_MAX_REQUESTS = 1000",
        ),
        (
            {"workers": (WorkerLife(0, 1, 0.0, 1.0, "died", "SIGKILL"),)},
            "Workers",
            "no memory left",
            "CURL_SAFE_WORKER_MAX_MEMORY_MB = 300",
        ),
        (
            {"workers": (WorkerLife(0, 1, 0.0, 1.0, "hung", "SIGKILL"),)},
            "Workers",
            "1 worker sent no heartbeat for 30 s",
            "CURL_SAFE_WORKER_HANG_TIMEOUT = 60",
        ),
    ],
)
def test_what_else_is_advised(
    arguments: dict[str, Any], about: str, says: str, settings: str
) -> None:
    (advice,) = advised(**arguments)
    assert (advice.about, advice.settings) == (about, settings)
    assert says in advice.text


@pytest.mark.parametrize(
    "arguments",
    [
        {"stats": {"loop_lag_max": 0.2}},
        {"proxies": (ProxyHealth("http://a.test:1", requests=100, blocked=10),)},
        # Too few to tell.
        {"proxies": (ProxyHealth("http://a.test:1", requests=2, blocked=2),)},
        {"workers": (WorkerLife(0, 1, 0.0, 1.0, "recycled", "it uses 300 MB"),)},
    ],
)
def test_what_is_no_reason_to_change_anything(arguments: dict[str, Any]) -> None:
    assert advised(**arguments) == []


def test_settings_to_paste_are_settings() -> None:
    """As they would be in a settings module, and as the crawl takes them."""
    everything = [
        *advised(
            *(failing(kind) for kind in (FailureKind.ALERT, FailureKind.LOCAL)),
            stats={"handshake/gave_up_count": 1},
            workers=(
                WorkerLife(0, 1, 0.0, 1.0, "died", "SIGSEGV"),
                WorkerLife(0, 2, 0.0, 1.0, "hung", "SIGKILL"),
            ),
        ),
        *advised(workers=(WorkerLife(0, 1, 0.0, 1.0, "died", "SIGKILL"),)),
    ]
    settings: dict[str, object] = {}
    for advice in everything:
        exec(advice.settings, {}, settings)
    Settings.load(ScrapySettings(settings))
    assert len(settings) == 6


# Data

POINT = Point(1.0, 1.0, 2, 3, {"syscall": 4, "alert": 1}, 5, 6, 1, 7, 2)


def report(**fields: Any) -> ReportData:
    return ReportData(
        **{
            "version": "1",
            "spider": "<script>",
            "began": "2026-11-28T00:00:00+00:00",
            "seconds": 2.0,
            "finish_reason": "finished",
            "stats": {"curl_safe/request_count": 3},
            "points": [POINT],
            "handshake_times": [(0.001, 0.002, 5)],
            "origins": [OriginHealth(SITE, None, 3, {"syscall": 4}, 7, False)],
            "proxies": [ProxyHealth("http://a.test:1", 1, {"alert": 2}, 3, {"407": 4}, 5)],
            "workers": [WorkerLife(0, 12, 0.0, 1.5, "died", "SIGSEGV", 9)],
            "workers_forgotten": 2,
            "advice": [Advice("this", "that", "A = 1")],
            **fields,
        }
    )


def test_data_are_read_as_they_were_written() -> None:
    assert ReportData.from_json(report().to_json()) == report()


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"format": 1}', report().to_json()[:-9]])
def test_other_files_are_no_data(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"\A\w"):
        ReportData.from_json(text)


def test_data_of_another_format_are_named() -> None:
    with pytest.raises(ValueError, match="its format is 'another', and not 'scrapy-curl-safe"):
        ReportData.from_json(report(format="another").to_json())


# Tables and plots


def cells(table: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in rows]


def test_the_tables() -> None:
    data = report()
    assert cells(course(data))[1] == ["0.0 to 1.0", "2", "3", "4", "1", "5", "2", "6", "1", "7"]
    assert cells(course(data))[0][3:5] == ["failed: syscall", "failed: alert"]
    assert cells(origins(data))[1] == [SITE, "-", "3", "4", "57.1%", "4 syscall", "7"]
    assert cells(proxies(data))[1] == ["http://a.test:1", "1", "2 alert", "3", "4 407", "5"]
    assert cells(workers(data))[1] == ["0", "12", "0.0", "1.5", "died", "SIGSEGV", "9"]
    assert "(2 earlier ones are not listed)" in workers(data)
    meaning = "the origin closes or resets the connection during the handshake"
    assert cells(kinds(data))[1:] == [["syscall", meaning]]


def test_a_worker_that_ran_to_the_end() -> None:
    lives = [WorkerLife(0, 12, 0.5, served=3)]
    shown = cells(workers(report(workers=lives, seconds=2.0)))[1]
    assert shown == ["0", "12", "0.5", "2.0", "ran to the end", "", "3"]


def test_bad_news_stand_out() -> None:
    calm = summary(report(stats={"curl_safe/response_count": 5}))
    assert not any(is_bad for _, _, is_bad in calm)
    lost = {"curl_safe/handshake/gave_up_count": 1, "curl_safe/worker/crash_count": 2}
    bad = [(name, value) for name, value, is_bad in summary(report(stats=lost)) if is_bad]
    assert bad == [("requests given up", "1"), ("workers that died", "2")]


def test_an_origin_whose_breaker_is_open_has_no_limit() -> None:
    origin = OriginHealth(SITE, None, 0, {"timeout": 4}, 3, True)
    assert cells(origins(report(origins=[origin])))[1][-1] == "unavailable"


def test_an_unavailable_origin_whose_limit_cannot_fall_is_not_limited() -> None:
    limits = {"CONCURRENT_REQUESTS": 2, "CURL_SAFE_ADAPTIVE_FLOOR": 3}
    crawler = get_crawler(ShopSpider, {**limits, "REMOTE_CONTROL_ENABLED": False})
    settings = Settings.load(crawler.settings)
    origins = origins_of(crawler, settings)
    origin = origins.get(Route("https://shop.example", None))
    for now in range(20):
        permit = origin.acquire(float(now))
        permit.failure(HandshakeFailure(FailureKind.SYSCALL, 35, ""), float(now))
        permit.release()
    assert origins.limited() == [origin]
    recorder = CrawlRecorder(crawler, settings)
    recorder.sample()
    (point,) = recorder.data(datetime.now(timezone.utc), "finished").points[:1]
    assert (point.limited, point.lowest_limit) == (0, None)


def test_what_never_happened_has_no_plot() -> None:
    assert [chart.name for chart in charts(report())] == [
        "pages", "handshakes", "failed", "retries", "given-up", "in-flight", "limits", "times",
        "workers",
    ]  # fmt: skip
    calm = Point(1.0, 1.0, 2, 3, {}, 0, 6, 0, None, 0)
    plots = charts(report(points=[calm], handshake_times=[], workers=[]))
    assert [chart.name for chart in plots] == ["pages", "handshakes", "in-flight"]


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [(20, "seconds"), (3600, "minutes"), (86400, "hours"), (7 * 86400, "days")],
)
def test_the_axis_has_a_unit_that_suits_the_crawl(seconds: float, unit: str) -> None:
    pages, *_ = charts(report(seconds=seconds))
    assert pages.spec["encoding"]["x"]["title"] == f"{unit} since the start"


def test_all_plots_over_time_have_the_same_axis() -> None:
    axes = [
        chart.spec["encoding"]["x"]
        for chart in charts(report(seconds=600.0))
        if chart.name != "times"
    ]
    assert axes[0]["scale"]["domain"] == [0, 10.0]
    assert all({**axis, "field": ""} == {**axes[0], "field": ""} for axis in axes)


def test_the_bars_of_a_histogram_have_no_gap() -> None:
    histogram = LogHistogram()
    assert histogram.bars() == []
    for seconds in (0.002, 0.002, 0.004, 0.1):
        histogram.add(seconds)
    bars = histogram.bars()
    assert sum(count for _, _, count in bars) == 4
    assert [high for _, high, _ in bars[:-1]] == pytest.approx([low for low, _, _ in bars[1:]])
    assert bars[0][0] < 0.002 <= bars[0][1] * 1.06
    assert bars[-1][0] < 0.1 <= bars[-1][1] * 1.06

"""The health line, its warning, and the end that it can put to a crawl."""

from __future__ import annotations

import re

import pytest

from testkit.crawling import urls
from testkit.fixtures import RunCrawl
from testkit.origins import faults
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Way

LINE = re.compile(
    r"\[scrapy_curl_safe.monitor\] INFO: Handshakes: (\d+) done \(\+(\d+)\), (\d+) failed .*"
    r"(\d+) retried, (\d+) recovered, (\d+) given up; connections: (\d+) reused; "
    r"workers: (\d+) alive, (\d+) crashed"
)


@pytest.mark.parametrize("way", WAYS)
def test_a_line_every_interval_and_at_the_end(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(drop=0.3, requests_per_connection=1, delay=0.5) as origin:
        crawled = crawl(
            *urls(origin, 60),
            way=way,
            CONCURRENT_REQUESTS=16,
            CONCURRENT_REQUESTS_PER_DOMAIN=16,
            CURL_SAFE_MONITOR_INTERVAL=0.7,
        )
    lines = [[int(n) for n in line] for line in LINE.findall(crawled.log)]
    assert len(lines) > 2
    *_, (done, _, failed, _, recovered, given_up, reused, alive, crashed) = lines
    assert (done, failed, given_up, reused, alive, crashed) == (60, origin.dropped, 0, 0, 2, 0)
    assert recovered == crawled.stat("handshake/recovered_count") > 0
    assert sum(line[1] for line in lines) == 60
    assert f"{origin.dropped} syscall" in crawled.log
    assert "handshakes failed, which is more than CURL_SAFE_FAILURE_RATE_WARNING" in crawled.log


def test_no_warning_below_the_threshold(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=0.2, requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 60), CURL_SAFE_FAILURE_RATE_WARNING=0.9)
    assert origin.dropped > 0
    assert "CURL_SAFE_FAILURE_RATE_WARNING" not in re.sub(r"(?s)Overridden.*?\}", "", crawled.log)


def test_too_many_failures_close_the_spider(crawl: RunCrawl) -> None:
    with faults.close_after_hello() as origin:
        crawled = crawl(
            *urls(origin, 5000),
            CONCURRENT_REQUESTS=4,
            # With a breaker an interval may have too few handshakes for a rate.
            CURL_SAFE_ADAPTIVE=False,
            CURL_SAFE_MONITOR_INTERVAL=0.5,
            CURL_SAFE_FAILURE_RATE_CLOSE=0.5,
            LOG_LEVEL="INFO",
        )
    assert crawled.stats["finish_reason"] == "curl_safe_handshake_failures"
    assert len(crawled.errors) < 5000


def test_zero_leaves_only_the_line_at_the_end(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawled = crawl(origin.url, CURL_SAFE_MONITOR_INTERVAL=0)
    assert len(LINE.findall(crawled.log)) == 1


def test_rates_are_set_at_the_end(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=[True, False, False, False], requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 3))
    assert crawled.stat("handshake/failure_rate") == 0.25
    times = [crawled.stat(f"handshake/time_{key}") for key in ("p50", "p95", "max")]
    assert 0 < times[0] <= times[1] <= times[2]
    seen = [r["meta"]["curl_safe_info"]["handshake_time"] for r in crawled.responses]
    assert times[2] == pytest.approx(max(seen), abs=1e-6)

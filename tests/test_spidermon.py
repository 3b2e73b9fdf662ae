"""The monitors for Spidermon, in real crawls with it."""

from __future__ import annotations

import os
import re
import signal
from typing import Any

import pytest

from testkit.crawling import Crawled, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.holding import HoldingOrigin
from testkit.origins.messages import Reply
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Way

SETTINGS: dict[str, Any] = {
    "EXTENSIONS": {"spidermon.contrib.scrapy.extensions.Spidermon": 500},
    "SPIDERMON_ENABLED": True,
    "SPIDERMON_SPIDER_CLOSE_MONITORS": ["scrapy_curl_safe.spidermon.CurlSafeMonitorSuite"],
}
HANDSHAKES, GIVEN_UP = "HandshakeFailureRateMonitor", "GivenUpMonitor"
RESTARTS, BREAKERS, BLOCKS = "WorkerRestartMonitor", "OpenBreakerMonitor", "BlockedSessionMonitor"


def results(crawled: Crawled) -> dict[str, str]:
    """Return what Spidermon says of each monitor."""
    said = re.findall(r"\[Spidermon\] (\w+)/test_\w+\.\.\. ([A-Z]+)", crawled.log)
    assert len(said) == len(dict(said)), crawled.log
    return dict(said)


@pytest.mark.parametrize("way", WAYS)
def test_all_is_well(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 20), way=way, **SETTINGS)
    assert results(crawled) == dict.fromkeys(
        (HANDSHAKES, GIVEN_UP, RESTARTS, BREAKERS, BLOCKS), "OK"
    )


def test_few_handshakes_are_not_judged(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, **SETTINGS)
    assert results(crawled)[HANDSHAKES] == "SKIPPED"


def test_an_origin_that_drops_all(crawl: RunCrawl) -> None:
    options = {**SETTINGS, "CURL_SAFE_HANDSHAKE_RETRY_TIMES": 1, "CURL_SAFE_HANDSHAKE_BACKOFF": 0}
    with TlsOrigin(drop=1.0) as origin:
        crawled = crawl(*urls(origin, 40), **options)
    said = results(crawled)
    assert (said[HANDSHAKES], said[GIVEN_UP], said[BREAKERS]) == ("FAIL", "FAIL", "FAIL")
    assert (said[RESTARTS], said[BLOCKS]) == ("OK", "OK")
    tried, given_up = crawled.stat("handshake/count"), crawled.stat("handshake/gave_up_count")
    for text in (
        f"100.0% of {tried} TLS handshakes failed ({tried} syscall), and "
        "SPIDERMON_CURL_SAFE_MAX_HANDSHAKE_FAILURE_RATE allows 0.05",
        f"{given_up} requests were given up, and SPIDERMON_CURL_SAFE_MAX_GIVEN_UP allows 0",
        f"1 origins are unavailable ({origin.url}), and "
        "SPIDERMON_CURL_SAFE_MAX_OPEN_BREAKERS allows 0",
    ):
        assert text in crawled.log


def test_a_threshold_is_a_setting(crawl: RunCrawl) -> None:
    allowed: dict[str, Any] = {
        "SPIDERMON_CURL_SAFE_MAX_HANDSHAKE_FAILURE_RATE": "0.6",
        "SPIDERMON_CURL_SAFE_MAX_GIVEN_UP": 10,
    }
    with TlsOrigin(drop=[True, False] * 10, requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 20), CURL_SAFE_HANDSHAKE_RETRY_TIMES=0, **SETTINGS, **allowed)
    assert crawled.stat("handshake/failure_rate") == 0.5
    assert crawled.stat("handshake/gave_up_count") == 10
    assert results(crawled)[HANDSHAKES] == results(crawled)[GIVEN_UP] == "OK"


@pytest.mark.parametrize("value", ["many", -1, "nan"])
def test_a_wrong_threshold_stops_the_crawl_at_the_start(crawl: RunCrawl, value: Any) -> None:
    name = "SPIDERMON_CURL_SAFE_MAX_GIVEN_UP"
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, **SETTINGS, **{name: value})
        assert origin.requests == []
    assert f"ValueError: {name} is {value!r}: it takes a number of 0 or more" in crawled.log


def test_a_worker_that_died(start_crawl: StartCrawl) -> None:
    with HoldingOrigin() as origin:
        crawl = start_crawl(f"{origin.url}/held", CURL_SAFE_WORKERS=1, **SETTINGS)
        crawl.wait_for(lambda: origin.requests)
        os.kill(crawl.ready_workers[0][1], signal.SIGKILL)
        crawl.wait_for(lambda: crawl.stat("worker/crash_count"))
        origin.release.set()
        crawled = crawl.finish()
    assert results(crawled)[RESTARTS] == "FAIL"
    assert "1 workers died and 0 hung" in crawled.log


def test_sessions_that_are_blocked(crawl: RunCrawl) -> None:
    with TlsOrigin(lambda request: Reply(status=403)) as origin:
        crawled = crawl(origin.url, CURL_SAFE_SESSIONS={"size": 2}, RETRY_TIMES=1, **SETTINGS)
    blocks = crawled.stat("session/block_count/403")
    assert blocks > 0
    assert results(crawled)[BLOCKS] == "FAIL"
    assert f"{blocks} responses were blocks ({blocks} 403)" in crawled.log

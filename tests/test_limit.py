"""The limit on an origin's handshakes, in crawls of real origins."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.crawling import Crawl, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.holding import HoldingOrigin, SlowOnce
from testkit.origins.limited import LimitedOrigin
from testkit.origins.tls import TlsOrigin

CONCURRENT: dict[str, Any] = {"CONCURRENT_REQUESTS": 64, "CONCURRENT_REQUESTS_PER_DOMAIN": 64}


@pytest.mark.parametrize("at_once", [3, 10, 50])
def test_a_crawl_comes_near_what_the_origin_takes(crawl: RunCrawl, at_once: int) -> None:
    with LimitedOrigin(at_once, takes=0.02, requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 400), **CONCURRENT)
        dropped = origin.dropped
    assert_all_pages(crawled, 400)
    assert crawled.stat("handshake/gave_up_count") == 0
    if at_once < 50:
        assert crawled.stat("throttle/decrease_count") > 0
    # Without the limit all but `at_once` of 64 are dropped each time: five and more a page.
    assert dropped < 3 * 400


def test_reused_connections_are_not_limited(crawl: RunCrawl) -> None:
    with LimitedOrigin(2, takes=0.02, delay=0.05) as origin:
        crawled = crawl(*urls(origin, 300), CURL_SAFE_ADAPTIVE_FLOOR=1, **CONCURRENT)
    assert_all_pages(crawled, 300)
    assert crawled.stat("connection/reused_count") > 150


def test_a_slow_answer_does_not_keep_back_those_that_failed(
    start_crawl: StartCrawl,
) -> None:
    with HoldingOrigin(drop=[False, False, True], requests_per_connection=1) as origin:
        crawl = start_crawl(
            f"{origin.url}/held",
            f"{origin.url}/1",
            f"{origin.url}/2",
            CONCURRENT_REQUESTS=2,
            CURL_SAFE_HANDSHAKE_BACKOFF=0.01,
        )
        crawl.wait_for(lambda: len(origin.requests) == 3)
        origin.release.set()
        crawled = crawl.finish()
        assert origin.dropped == 1
    assert_all_pages(crawled, 3)


def test_a_dead_origin_is_left_alone(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=1.0) as dead, TlsOrigin() as origin:
        crawled = crawl(*urls(dead, 400), *urls(origin, 400, 460), **CONCURRENT)
        tried, done = dead.accepted, origin.handshakes
    assert crawled.numbers == list(range(400, 460))
    assert {e["type"] for e in crawled.errors} <= {"HandshakeError", "OriginUnavailableError"}
    assert len(crawled.errors) == 400
    assert crawled.stat("breaker/open_count") >= 1
    # Each would have been tried three times. (How many are tried until a quarter of a second is
    # over is the machine's to say.)
    assert tried < 800
    assert crawled.stat("handshake/count") == tried + done
    assert crawled.stat("breaker/rejected_count") > 0
    assert crawled.stats["retry/reason_count/origin_unavailable"] > 0
    assert f"Circuit breaker for {dead.url} open" in crawled.log
    assert "fail one after the other (syscall)" in crawled.log


def is_out(number: int, crawl: Crawl, openings: int) -> bool:
    """Tell whether a connection is dropped: from the fifth on, until the breaker has opened."""
    return number > 3 and crawl.stat("breaker/open_count") < openings


def test_no_page_is_lost_when_an_origin_is_out_for_some_seconds(
    start_crawl: StartCrawl,
) -> None:
    with TlsOrigin(drop=lambda n: is_out(n, crawl, 3), requests_per_connection=1) as origin:
        crawl: Crawl = start_crawl(*urls(origin, 300))
        crawled = crawl.finish()
    assert_all_pages(crawled, 300)
    assert crawled.stat("breaker/open_count") == 3


def test_no_page_is_lost_when_an_origin_is_down_as_the_crawl_begins(
    start_crawl: StartCrawl,
) -> None:
    with TlsOrigin(drop=lambda n: crawl.stat("breaker/open_count") < 2) as origin:
        crawl: Crawl = start_crawl(*urls(origin, 40))
        crawled = crawl.finish()
    assert_all_pages(crawled, 40)
    assert crawled.stat("handshake/gave_up_count") == 0
    # What was not tried is none of the tries.
    retries = crawled.stats["retry/reason_count/ssl_error_syscall"]
    assert crawled.stat("handshake/retry_count") == retries == origin.dropped
    unavailable = crawled.stats["retry/reason_count/origin_unavailable"]
    assert crawled.stat("breaker/rejected_count") == unavailable > 0
    attempts = sum(r["meta"]["curl_safe_info"]["attempt"] for r in crawled.responses)
    assert attempts == 40 + retries


def test_the_others_do_not_wait_for_a_slow_answer_to_the_trial(
    start_crawl: StartCrawl,
) -> None:
    with SlowOnce(4, drop=lambda n: is_out(n, crawl, 1), requests_per_connection=1) as origin:
        crawl: Crawl = start_crawl(*urls(origin, 40))
        crawled = crawl.finish()
    assert_all_pages(crawled, 40)


def test_the_limit_can_be_turned_off(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=1.0) as dead:
        crawled = crawl(*urls(dead, 30), CURL_SAFE_ADAPTIVE=False, **CONCURRENT)
        assert dead.accepted == 90
    assert crawled.stat("breaker/open_count") == 0


def test_a_request_that_waits_for_its_origin_is_not_late(crawl: RunCrawl) -> None:
    """A request's timeout and its latency begin when it is sent."""
    with LimitedOrigin(1, takes=0.15, requests_per_connection=1) as origin:
        crawled = crawl(
            *urls(origin, 24),
            CURL_SAFE_ADAPTIVE_FLOOR=1,
            DOWNLOAD_TIMEOUT=3,
            **CONCURRENT,
        )
    assert_all_pages(crawled, 24)


def test_the_log_says_which_origin_and_what_to_do(crawl: RunCrawl) -> None:
    with (
        LimitedOrigin(2, takes=0.02, requests_per_connection=1) as limited,
        TlsOrigin() as healthy,
    ):
        crawled = crawl(*urls(limited, 60), *urls(healthy, 60), **CONCURRENT)
        dropped = limited.dropped
    assert crawled.numbers == list(range(120))
    name = limited.url
    assert (
        f"Most failed handshakes were with {name}, {dropped} by syscall (limit now " in crawled.log
    )
    line = next(line for line in crawled.log.splitlines() if ". Limits: " in line)
    assert f"Limits: {name} " in line
    table = crawled.log.partition("Handshakes by origin, the worst first:\n")[2].splitlines()
    assert table[0].split() == ["origin", "done", "failed", "share", "limit", "kinds"]
    row = table[1].split()
    assert row[:3] == [name, "60", str(dropped)]
    assert row[-2:] == [str(dropped), "syscall"]
    assert healthy.url not in table[2]

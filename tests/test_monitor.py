"""The health line, its warning, and the end that it can put to a crawl."""

from __future__ import annotations

import json
import re

import pytest

from scrapy_curl_safe._crawl.health_record import KEYS
from testkit.crawling import Crawl, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins import faults
from testkit.origins.proxies import Proxy
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way
from tests.test_proxies import NO_PASSWORD, AnsweringProxy

LINE = re.compile(
    r"\[scrapy_curl_safe.monitor\] INFO: Health of the whole crawl: "
    r"(?P<responses>\d+) responses?, (?P<reused>\d+) on reused connections; "
    r"(?P<handshakes>\d+) handshakes?(, (?P<failed>\d+) of them failed \(.*?\))?"
    r"(?P<rest>[^.\n]*)(\. Since the last line: (?P<new>\d+) responses?; .*)?"
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
            CURL_SAFE_WORKERS=1,
        )
    first, *_, last = lines = list(LINE.finditer(crawled.log))
    assert len(lines) > 2
    assert (last["responses"], last["reused"]) == ("60", "0")
    assert last["handshakes"] == str(60 + origin.dropped)
    assert last["failed"] == str(origin.dropped)
    retries, retried = origin.dropped, crawled.stat("handshake/retried_request_count")
    assert crawled.stat("handshake/recovered_count") == retried > 0
    again = "1 retry" if retries == 1 else f"{retries} retries"
    requests = "1 request" if retried == 1 else f"{retried} requests"
    assert last["rest"] == f"; {again} of {requests} ({retried} recovered); 1 of 1 worker up"
    # One scope in each clause: the first line has nothing before it.
    assert first["new"] is None
    assert int(first["responses"]) + sum(int(line["new"]) for line in lines[1:]) == 60
    assert f"{origin.dropped} syscall" in crawled.log
    assert "handshakes failed, which is more than CURL_SAFE_FAILURE_RATE_WARNING" in crawled.log


def test_a_line_can_be_an_object_for_programs(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=[True, False, False]) as origin:
        crawled = crawl(
            *urls(origin, 5),
            CURL_SAFE_MONITOR_JSON=True,
            CURL_SAFE_MONITOR_INTERVAL=0,
            LOG_FORMAT="%(name)s %(message)s",
        )
    lines = [
        line.removeprefix("scrapy_curl_safe.monitor ")
        for line in crawled.log.splitlines()
        if line.startswith("scrapy_curl_safe.monitor {")
    ]
    (record,) = map(json.loads, lines)
    assert record.keys() <= KEYS.keys()
    assert record["responses"] == crawled.stat("response_count") == 5
    assert record["handshakes_failed"] == crawled.stat("handshake/failure_count") == 1
    assert record["handshake_failures"] == {"syscall": 1}
    assert record["recovered"] == 1
    assert "Health of the whole crawl" not in crawled.log


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
            CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1,
            CURL_SAFE_MONITOR_INTERVAL=0.5,
            CURL_SAFE_FAILURE_RATE_CLOSE=0.5,
            LOG_LEVEL="INFO",
        )
    assert crawled.stats["finish_reason"] == "curl_safe_handshake_failures"
    assert len(crawled.errors) < 5000


@pytest.mark.parametrize("way", WAYS)
def test_a_short_crawl_is_judged_too(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(drop=0.5, requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 30), way=way, CURL_SAFE_FAILURE_RATE_CLOSE=0.1)
    assert_all_pages(crawled, 30)
    assert crawled.stats["finish_reason"] == "curl_safe_handshake_failures"
    assert crawled.log.count("which is more than CURL_SAFE_FAILURE_RATE_WARNING") == 1


@pytest.mark.parametrize("scenario", [Scenario(), Scenario(close_spider_at=20)])
def test_the_last_report_is_there_before_pipelines_and_stats_are_closed(
    crawl: RunCrawl, scenario: Scenario
) -> None:
    with TlsOrigin(drop=0.5, requests_per_connection=1) as origin:
        crawled = crawl(
            *urls(origin, 30),
            scenario=scenario,
            ITEM_PIPELINES={"testkit.components.StatsInPipeline": 1},
        )
    assert crawled.stat("handshake/failure_rate") > 0.05
    opened = crawled.log.partition("INFO: Spider opened")[2]
    warnings = len(re.findall(r"^\d.*\] WARNING: ", opened, re.MULTILINE))
    assert crawled.stats["log_count/WARNING"] == warnings >= 2
    assert crawled.stats["seen_at_close"] == [crawled.stat("handshake/failure_rate"), warnings]


def test_zero_leaves_only_the_line_at_the_end(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawled = crawl(origin.url, CURL_SAFE_MONITOR_INTERVAL=0)
    (line,) = LINE.finditer(crawled.log)
    assert line["new"] is None


def test_plain_http_has_a_line_of_use(crawl: RunCrawl) -> None:
    with TlsOrigin(tls=False) as origin:
        crawled = crawl(*urls(origin, 4), CONCURRENT_REQUESTS=1, CURL_SAFE_WORKERS=1)
    (line,) = LINE.finditer(crawled.log)
    assert (line["responses"], line["reused"], line["handshakes"]) == ("4", "3", "0")


def test_what_fails_before_tls_is_counted(crawl: RunCrawl) -> None:
    with TlsOrigin() as gone:
        pass
    with faults.silent_after_hello() as silent:
        proxy = {"proxy": f"http://127.0.0.1:{silent.port}", "download_timeout": 0.5}
        crawled = crawl(
            gone.url,
            {"url": gone.url, "meta": {"proxy": gone.url}},
            {"url": "https://nowhere.invalid/"},
            {"url": "http://127.0.0.1/", "meta": {"proxy": gone.url}},
            # Its proxy is reached, and says nothing.
            {"url": gone.url, "meta": proxy},
            RETRY_TIMES=1,
            CURL_SAFE_WORKERS=1,  # which is up, if anything was tried
        )
    assert len(crawled.errors) == 5
    (line,) = LINE.finditer(crawled.log)
    assert (line["responses"], line["handshakes"]) == ("0", "0")
    assert line["rest"] == "; 8 connections not made (6 refused, 2 unresolved); 1 of 1 worker up"


def test_a_proxy_that_brings_nothing_is_named(crawl: RunCrawl) -> None:
    with TlsOrigin() as gone:
        pass
    with TlsOrigin() as origin, Proxy() as good, AnsweringProxy(NO_PASSWORD) as refusing:
        dead = f"127.0.0.1:{gone.port}"
        proxies = [good.location, f"user:secret@{refusing.location}", dead]
        crawled = crawl(
            *(
                {"url": url, "meta": {"proxy": f"http://{proxies[n % 3]}", "dont_retry": True}}
                for n, url in enumerate(urls(origin, 18))
            ),
            # One failure may be chance.
            {"url": origin.url, "meta": {"proxy": "http://127.0.0.2:1", "dont_retry": True}},
        )
    assert len(crawled.responses) == 6
    assert "secret" not in crawled.log
    for named, causes in ((refusing.location, "6 proxy_auth"), (dead, "6 refused")):
        said = f"No response has come through http://{named}: 6 connections failed ({causes}). "
        assert crawled.log.count(said) == 1
    assert crawled.log.count("correct its user and password") == 1
    assert "No response has come through http://127.0.0.2:1" not in crawled.log
    _, _, rows = crawled.log.partition("Proxies through which connections failed, the worst first:")
    table = [row.split() for row in rows.splitlines()[1:5]]
    assert table[0] == ["proxy", "responses", "failed", "causes"]
    assert sorted(table[1:3]) == sorted(
        [
            [f"http://{refusing.location}", "0", "6", "6", "proxy_auth"],
            [f"http://{dead}", "0", "6", "6", "refused"],
        ]
    )
    assert table[3] == ["http://127.0.0.2:1", "0", "1", "1", "refused"]


def test_what_waits_for_a_retry_is_shown(start_crawl: StartCrawl) -> None:
    with TlsOrigin(drop=lambda n: " waiting for a retry" not in crawl.log) as origin:
        crawl: Crawl = start_crawl(*urls(origin, 4), CURL_SAFE_MONITOR_INTERVAL=0.2)
        crawled = crawl.finish()
    assert_all_pages(crawled, 4)
    assert re.search(r"INFO: Health .*; \d+ requests? waiting for a retry; ", crawled.log)


def test_rates_are_set_at_the_end(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=[True, False, False, False], requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 3))
    assert crawled.stat("handshake/failure_rate") == 0.25
    times = [crawled.stat(f"handshake/time_{key}") for key in ("p50", "p95", "max")]
    assert 0 < times[0] <= times[1] <= times[2]
    seen = [r["meta"]["curl_safe_info"]["handshake_time"] for r in crawled.responses]
    assert times[2] == pytest.approx(max(seen), abs=1e-6)

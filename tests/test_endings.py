"""Crawls that end in each way that Scrapy has: cleanly, and at once."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path
from typing import Literal

import pytest

from testkit.crawling import Crawled, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way
from testkit.waiting import wait_until

in_each_way = pytest.mark.parametrize("way", WAYS)


def assert_clean_end(crawled: Crawled) -> None:
    """Assert that nothing went wrong. (That no worker is left `Crawl.finish` asserts itself.)"""
    assert crawled.exit_code == 0, crawled.log
    assert crawled.stat("worker/crash_count") == 0, crawled.log
    assert crawled.stat("worker/hang_count") == 0, crawled.log
    assert "Unhandled error" not in crawled.log
    assert "was never retrieved" not in crawled.log


@in_each_way
def test_no_requests_at_all(crawl: RunCrawl, way: Way) -> None:
    crawled = crawl(way=way)
    assert_clean_end(crawled)
    assert crawled.stats["finish_reason"] == "finished"


@in_each_way
def test_sigterm_lets_what_is_in_flight_finish(start_crawl: StartCrawl, way: Way) -> None:
    with TlsOrigin(delay=0.3) as origin:
        crawl = start_crawl(*urls(origin, 500), way=way, CONCURRENT_REQUESTS=8)
        crawl.wait_for(lambda: len(origin.requests) >= 8)
        crawl.process.send_signal(signal.SIGTERM)
        crawled = crawl.finish()
        assert len(crawled.responses) == len(origin.requests) < 500
    assert_clean_end(crawled)
    assert crawl.workers() == []
    assert crawled.errors == []
    assert crawled.stats["finish_reason"] == "shutdown"


@in_each_way
def test_close_spider(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(delay=0.05) as origin:
        crawled = crawl(
            *urls(origin, 200),
            way=way,
            scenario=Scenario(close_spider_at=20),
        )
    assert_clean_end(crawled)
    assert crawled.stats["finish_reason"] == "enough"
    assert 20 <= len(crawled.responses) < 200


def test_an_exception_in_a_callback_costs_its_response_alone(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(*urls(origin, 50), scenario=Scenario(error_at=20))
    assert_clean_end(crawled)
    assert_all_pages(crawled, 50)
    assert crawled.stats["item_scraped_count"] == 49
    assert crawled.stats["spider_exceptions/RuntimeError"] == 1


@in_each_way
@pytest.mark.parametrize("how", ["at once", "in turn"])
def test_two_crawlers_in_one_process(
    crawl: RunCrawl, way: Way, how: Literal["at once", "in turn"]
) -> None:
    with TlsOrigin(delay=0.01) as origin:
        crawled = crawl(*urls(origin, 40), way=way, scenario=Scenario(second_crawl=how))
        assert len(origin.requests) == 80
    assert_clean_end(crawled)
    assert crawled.numbers == sorted([*range(40)] * 2)
    # Each has a pool of its own, with stats of its own.
    assert crawled.stat("response_count") == 40
    assert crawled.log.count("'curl_safe/worker/start_count': 2") == 2


@in_each_way
def test_a_second_ctrl_c_ends_it_at_once(start_crawl: StartCrawl, way: Way) -> None:
    with TlsOrigin(delay=3600) as origin:
        crawl = start_crawl(*urls(origin, 50), way=way)
        crawl.wait_for(lambda: len(origin.requests) >= 8)
        crawl.process.send_signal(signal.SIGINT)
        # Scrapy tells nobody else that it has heard the first one.
        crawl.wait_for(lambda: "gracefully" in crawl.log)
        crawl.process.send_signal(signal.SIGINT)
        wait_until(lambda: crawl.process.poll() is not None)
        wait_until(lambda: not crawl.workers())


@pytest.mark.parametrize("state", ["busy", "stopped"])
def test_no_worker_outlives_a_crawler_that_is_killed(start_crawl: StartCrawl, state: str) -> None:
    """A stopped worker cannot see the end of its socket."""
    with TlsOrigin(delay=0.05) as origin:
        crawl = start_crawl(*urls(origin, 500))
        crawl.wait_for(lambda: len(origin.requests) >= 10)
        # A process asks to end with its parent when it starts, before its first request.
        crawl.wait_for(
            lambda: len({crawl.worker_with_port(port) for port in origin.peer_ports} - {None}) == 2
        )
        workers = crawl.workers()
        assert len(workers) == 2
        if state == "stopped":
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
        crawl.kill()
        wait_until(lambda: not crawl.workers())


BROKEN = {
    "no interpreter": ("", "cannot start a worker"),
    "one that fails": ("exit 3", "a new worker ended with exit status 3"),
    "no memory": (
        f'ulimit -v 25000; exec {shlex.quote(sys.executable)} "$@"',
        "a new worker ended with",
    ),
}


@pytest.mark.parametrize(("script", "why"), BROKEN.values(), ids=BROKEN.keys())
def test_where_no_worker_can_start_jobdir_keeps_the_requests(
    crawl: RunCrawl, tmp_path: Path, script: str, why: str
) -> None:
    # Of a name that is taken for Python's: others are asked first whether they are.
    interpreter = tmp_path / "python3"
    if script:
        interpreter.write_text(f"#!/bin/sh\n{script}\n")
        interpreter.chmod(0o755)
    jobdir = str(tmp_path / "job")
    broken = Scenario(interpreter=str(interpreter), filter_duplicates=True)
    with TlsOrigin() as origin:
        requested = urls(origin, 40)
        first = crawl(*requested, scenario=broken, JOBDIR=jobdir)
        assert origin.accepted == 0
        second = crawl(*requested, scenario=Scenario(filter_duplicates=True), JOBDIR=jobdir)
    assert first.stats["finish_reason"] == "curl_safe_no_worker"
    assert f"no worker can be had: {why}" in first.log
    assert first.responses == first.errors == []
    assert first.exit_code == 0
    assert first.stat("worker/start_count") <= 10
    assert sorted(r["url"] for r in second.responses) == sorted(requested)


def test_a_crawl_that_fails_while_it_starts_is_closed_all_the_same(
    crawl: RunCrawl, tmp_path: Path
) -> None:
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o700)
    crawled = crawl(
        "https://127.0.0.1:9/",
        scenario=Scenario(interpreter=str(broken)),
        EXTENSIONS={"testkit.components.LateEngine": 0},
    )
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"


def test_no_descriptor_for_a_worker(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, EXTENSIONS={"testkit.components.NoDescriptorLeft": 0})
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"
    assert "cannot start a worker: [Errno 24] Too many open files" in crawled.log
    assert crawled.stat("worker/start_count") == 0

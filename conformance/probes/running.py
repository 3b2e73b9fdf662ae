"""The ways in which Scrapy can run."""

from __future__ import annotations

import os
import signal

from conformance.handlers import PATHS
from conformance.probe import Run, must, probe
from testkit.crawling import assert_all_pages, urls
from testkit.origins.hello import parse_client_hello
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Way

SECTION = "Running"


def runs(run: Run, way: Way) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(*urls(origin, 5), way=way)
        assert_all_pages(crawled, 5)
        for raw in origin.hellos:
            parse_client_hello(raw)


@probe(SECTION, "the asyncio reactor")
def asyncio(run: Run) -> None:
    runs(run, "asyncio")


@probe(SECTION, "other reactors (epoll)")
def epoll(run: Run) -> None:
    runs(run, "epoll")


@probe(SECTION, "without a reactor (`TWISTED_REACTOR_ENABLED = False`)")
def no_reactor(run: Run) -> None:
    runs(run, "none")


@probe(SECTION, "a subclass that Scrapy builds at its first request (`lazy = True`)")
def late(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(
            *urls(origin, 5),
            env={"LATE_HANDLER": PATHS[run.handler.distribution]},
            DOWNLOAD_HANDLERS=dict.fromkeys(("http", "https"), "conformance.late.LateHandler"),
        )
    assert_all_pages(crawled, 5)


@probe(SECTION, "`CONCURRENT_REQUESTS = 0`: no limit")
def no_limit(run: Run) -> None:
    with TlsOrigin(delay=0.1) as origin:
        crawled = run.crawl(
            *urls(origin, 60), CONCURRENT_REQUESTS=0, CONCURRENT_REQUESTS_PER_DOMAIN=1000
        )
    assert_all_pages(crawled, 60)


@probe(SECTION, "SIGTERM to all processes: requests in flight finish, none is sent twice")
def terminated(run: Run) -> None:
    with TlsOrigin(delay=1.0) as origin:
        crawl = run.start(
            *urls(origin, 100), CONCURRENT_REQUESTS=8, CONCURRENT_REQUESTS_PER_DOMAIN=8
        )
        crawl.wait_for(lambda: origin.in_service >= 4)
        for pid in [*crawl.workers(), crawl.process.pid]:
            os.kill(pid, signal.SIGTERM)
        crawled = run.finish(crawl)
        paths = [seen.path for seen in origin.requests]
    must(crawled.errors == [], crawled.errors)
    must(len(crawled.responses) == len(paths) == len(set(paths)) < 100, paths)

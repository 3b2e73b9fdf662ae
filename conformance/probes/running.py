"""The ways in which Scrapy can run."""

from __future__ import annotations

from conformance.probe import Run, probe
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

"""The ways in which Scrapy can run."""

from __future__ import annotations

from conformance.probe import Run, must, probe
from testkit.crawling import urls
from testkit.origins.hello import parse_client_hello
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Way

SECTION = "Running"


def runs(run: Run, way: Way) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(*urls(origin, 5), way=way)
        must(len(crawled.responses) == 5, crawled.errors or crawled.log[-300:])
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

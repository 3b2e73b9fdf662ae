"""Runs a real crawl in a separate process: ``python -m testkit.runner`` with a plan on stdin.

The plan is the JSON of a `Plan`. The program writes lines of JSON to stdout, each an object with
one key:

    {"stat": [key, value]}      one of the stats about workers or breakers has changed
    {"ready": [slot, pid]}      a worker now takes requests
    {"lingering": true}         the crawl is over, and the program stays (`Scenario.linger`)
    {"result": {...}}           the results, as the fields of `testkit.crawling.Crawled`

Bytes are latin-1 text in all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, Crawler, CrawlerProcess
from scrapy.statscollectors import MemoryStatsCollector
from twisted.internet.defer import Deferred

from scrapy_curl_safe._crawl.context import context_of
from scrapy_curl_safe._pool.worker import Worker
from testkit.processes import children
from testkit.scenario import Plan
from testkit.spider import Outcomes, PlanSpider, plain_values

REACTORS = {
    "asyncio": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "epoll": "twisted.internet.epollreactor.EPollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
}


class Output:
    """Lines of JSON for the program that started the crawl."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, key: str, value: object) -> None:
        json.dump({key: value}, self._file)
        self._file.write("\n")
        self._file.flush()


def publishing_stats(output: Output) -> type[MemoryStatsCollector]:
    """Return a stats collector that reports each change of the stats about workers or breakers. The
    other stats change too often."""

    class PublishingStats(MemoryStatsCollector):
        def inc_value(self, key: str, count: int = 1, *args: Any, **kwargs: Any) -> None:
            super().inc_value(key, count, *args, **kwargs)
            if key.startswith(("curl_safe/worker/", "curl_safe/breaker/")):
                output.write("stat", [key, self.get_value(key)])

    return PublishingStats


def publish_ready_workers(crawler: Crawler, output: Output) -> None:
    """Report each worker as soon as it is ready."""

    def spider_opened() -> None:
        context = context_of(crawler)
        if context is None:
            return
        hear = context.pool.on_worker_ready

        def on_worker_ready(worker: Worker) -> None:
            output.write("ready", [worker.slot, worker.process.pid])
            hear(worker)

        context.pool.on_worker_ready = on_worker_ready  # type: ignore[method-assign]

    crawler.signals.connect(spider_opened, signals.spider_opened, weak=False)


def main() -> None:
    # Other prints must not be mistaken for a line of the output.
    output = Output(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    plan = Plan.from_json(sys.stdin.read())
    scenario = plan.scenario
    # An upgrade, for example, can remove the crawler's own interpreter.
    sys.executable = scenario.interpreter or sys.executable
    settings = {
        "ADDONS": {"scrapy_curl_safe.Addon": 500},
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "DEBUG",
        "CONCURRENT_ITEMS": 1,
        "STATS_CLASS": publishing_stats(output),
        **plan.settings,
    }
    process: AsyncCrawlerProcess | CrawlerProcess
    if plan.way == "none":
        process = AsyncCrawlerProcess({**settings, "TWISTED_REACTOR_ENABLED": False})
    else:
        process = CrawlerProcess({**settings, "TWISTED_REACTOR": REACTORS[plan.way]})
    outcomes = Outcomes()
    arguments = {"listed": plan.requests, "scenario": scenario, "outcomes": outcomes}
    crawler = process.create_crawler(PlanSpider)
    publish_ready_workers(crawler, output)
    crawl = process.crawl(crawler, **arguments)
    if scenario.second_crawl == "at once":
        process.crawl(process.create_crawler(PlanSpider), **arguments)
    elif scenario.second_crawl == "in turn":
        second = process.create_crawler(PlanSpider)
        call_after(crawl, lambda: process.crawl(second, **arguments))
    process.start()
    if scenario.linger:
        output.write("lingering", True)
        signal.pause()
    output.write(
        "result",
        {
            "responses": outcomes.responses,
            "errors": outcomes.errors,
            "failed_workers": outcomes.failed_workers,
            "stats": plain_values(stats_of(crawler)),
            "children": [child.pid for child in children()],
            "threads": [t.name for t in threading.enumerate() if t.name.startswith("curl-safe")],
        },
    )
    # The exit code of `scrapy crawl`.
    sys.exit(process.bootstrap_failed)


def call_after(crawl: Deferred[None] | asyncio.Task[None], call: Callable[[], object]) -> None:
    """Call a function when a crawl is over."""
    if isinstance(crawl, Deferred):
        crawl.addCallback(lambda _: call() and None)
    else:
        crawl.add_done_callback(lambda _: call() and None)


def stats_of(crawler: Crawler) -> dict[str, Any]:
    try:
        assert crawler.stats is not None
        return crawler.stats.get_stats()
    except (AssertionError, AttributeError, RuntimeError):  # it did not get as far as having any
        return {}


if __name__ == "__main__":
    main()

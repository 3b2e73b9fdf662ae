"""Measures the steady state of one crawl in a process of its own, with its plan on stdin.

The result is a line of JSON on stdout.
"""

from __future__ import annotations

import copy
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import psutil
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from twisted.python.failure import Failure

from testkit.processes import children, cpu_seconds


class SteadySpider(scrapy.Spider):
    name = "steady"
    plan: dict[str, Any]

    async def start(self) -> AsyncIterator[scrapy.Request]:
        self.started = time.monotonic()
        self.got = 0
        self.workers: list[psutil.Process] = []
        self.begin = (0.0, 0.0, 0.0)
        self.first = self.last = 0.0
        self.end_cpu = self.end_own_cpu = 0.0
        self.latencies: list[float] = []
        self.errors: dict[str, int] = {}
        post_bytes = self.plan.get("post_bytes", 0)
        for number in range(self.plan["requests"]):
            yield scrapy.Request(
                self._url(number),
                method="POST" if post_bytes else "GET",
                body=b"x" * post_bytes,
                meta=self._meta(number),
                errback=self.failed,
                dont_filter=True,
            )

    def _url(self, number: int) -> str:
        """Return the URL at the origin whose turn it is. Each has an address."""
        url: str = self.plan["url"]
        origins: int = self.plan.get("origins", 1)
        if origins > 1:
            high, low = divmod(number % origins, 250)
            url = url.replace("127.0.0.1", f"127.0.{high}.{low + 1}")
        return url

    def _meta(self, number: int) -> dict[str, Any]:
        # A handler or a middleware may change it.
        meta: dict[str, Any] = copy.deepcopy(self.plan["meta"])
        if users := self.plan.get("users"):
            meta["proxy"] = f"http://user{number % users}:secret@{self.plan['proxy']}"
        if proxies := self.plan.get("proxies"):
            meta["proxy"] = proxies[number % len(proxies)]
        return meta

    def parse(self, response: Response) -> None:
        now = time.monotonic()
        self.got += 1
        if self.got == 1:
            self.first = time.time() - self.plan["started"]
        if self.got == self.plan["requests"] // 20:
            # This takes some milliseconds, which must not count.
            self.workers = children()
        if self.got == self.plan["requests"] // 10:
            own = time.process_time()
            self.begin = (now, own + cpu_seconds(self.workers), own)
        elif self.plan["times_each"]:
            self.latencies.append(now - self.last)
        self.last = now
        if self.got == self.plan["requests"]:
            self.end_own_cpu = time.process_time()
            self.end_cpu = self.end_own_cpu + cpu_seconds(children())
        if response.status != 200 or len(response.body) != self.plan["size"]:
            raise ValueError(f"a wrong page: {response}")

    def failed(self, failure: Failure) -> None:
        text = f"{type(failure.value).__name__}: {failure.value}"[:120]
        self.errors[text] = self.errors.get(text, 0) + 1


def main() -> None:
    # Other prints must not be mistaken for a result.
    output = os.dup(1)
    os.dup2(2, 1)
    plan = json.loads(sys.stdin.readline())
    process = CrawlerProcess(
        {
            "LOG_LEVEL": "ERROR",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
            "CONCURRENT_ITEMS": 1,
            "CONCURRENT_REQUESTS": plan["concurrency"],
            "CONCURRENT_REQUESTS_PER_DOMAIN": plan["concurrency"],
            "MEMUSAGE_ENABLED": False,
            "DOWNLOAD_TIMEOUT": 120,
            **plan["settings"],
        }
    )
    crawler = process.create_crawler(SteadySpider)
    process.crawl(crawler, plan=plan)
    process.start()
    spider = crawler.spider
    assert isinstance(spider, SteadySpider)
    steady = spider.got - plan["requests"] // 10
    result = {
        "got": spider.got,
        "errors": spider.errors,
        "first": spider.first,
        "rate": steady / (spider.last - spider.begin[0]) if steady > 0 else None,
        "cpu": (spider.end_cpu - spider.begin[1]) / steady if spider.end_cpu else None,
        "own_cpu": (spider.end_own_cpu - spider.begin[2]) / steady if spider.end_cpu else None,
        "seconds": spider.last - spider.started,
        "retries": crawler.stats.get_value("retry/count", 0) if crawler.stats else None,
        "latency": statistics.median(spider.latencies[10:]) if spider.latencies[10:] else None,
    }
    os.write(output, json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    main()

"""One crawl in a process of its own, with its plan as JSON on stdin.

For each page, a line on stdout says how it ended, at once, so that pages count even if the crawl
dies later. The last line is JSON about the whole crawl.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.http import Response
from twisted.python.failure import Failure

_TURN_SECONDS = 0.05


class PagesSpider(scrapy.Spider):
    name = "pages"
    plan: dict[str, Any]
    output: int

    async def start(self) -> AsyncIterator[scrapy.Request]:
        self.longest_turn = 0.0
        self._turns = asyncio.create_task(self._watch_loop())
        for number in range(self.plan["requests"]):
            yield scrapy.Request(
                f"{self.plan['url']}/{number}",
                # A handler or a middleware may change it.
                meta=copy.deepcopy(self.plan["meta"]),
                cb_kwargs={"number": number},
                errback=self.failed,
            )

    async def _watch_loop(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(_TURN_SECONDS)
            now = time.monotonic()
            self.longest_turn = max(self.longest_turn, now - before - _TURN_SECONDS)
            before = now

    def closed(self, reason: str) -> None:
        self._turns.cancel()

    def parse(self, response: Response, number: int) -> None:
        end = time.monotonic() + self.plan["busy"]
        while time.monotonic() < end:
            pass
        right = response.status == 200 and response.body.rstrip() == b"/%d" % number
        self._say("got" if right else "lost wrong page")

    def failed(self, failure: Failure) -> None:
        self._say(f"lost {_names(failure.value)}")

    def _say(self, line: str) -> None:
        os.write(self.output, f"{line}\n".encode())


def _names(error: BaseException | None) -> str:
    """Return the type names of an error and its causes, the first three."""
    names: list[str] = []
    while error is not None and len(names) < 3:
        names.append(type(error).__name__)
        error = error.__cause__
    return " from ".join(names)


def main() -> None:
    # Other prints must not be mistaken for a result.
    output = os.dup(1)
    os.dup2(2, 1)
    plan = json.load(sys.stdin)
    process = CrawlerProcess(
        {
            "LOG_LEVEL": "CRITICAL",
            "TELNETCONSOLE_ENABLED": False,
            "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
            **plan["settings"],
        }
    )
    crawler = process.create_crawler(PagesSpider)
    process.crawl(crawler, plan=plan, output=output)
    started = time.monotonic()
    process.start()
    seconds = time.monotonic() - started
    spider = crawler.spider
    assert isinstance(spider, PagesSpider)
    stats = crawler.stats.get_stats() if crawler.stats else {}
    result = {
        "seconds": seconds,
        "retries": stats.get("retry/count", 0),
        "finish_reason": stats.get("finish_reason"),
        "longest_turn": spider.longest_turn,
    }
    os.write(output, json.dumps(result).encode() + b"\n")


if __name__ == "__main__":
    main()

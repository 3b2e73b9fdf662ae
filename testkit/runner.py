"""A real crawl in a process of its own: ``python -m testkit.runner`` with a plan on stdin.

The plan and the result are JSON; bytes are written as latin-1 text in them. A spider
requests what the plan lists, and the result says what came back, and the stats.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import ssl
import sys
import threading
import time
from itertools import cycle, islice
from typing import Any

import curl_cffi.requests
import scrapy
from scrapy import signals
from scrapy.crawler import AsyncCrawlerProcess, CrawlerProcess
from scrapy.exceptions import CloseSpider, DownloadFailedError, StopDownload

from scrapy_curl_safe._crawl.context import context_of
from testkit.waiting import burn, until

REACTORS = {
    "asyncio": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "epoll": "twisted.internet.epollreactor.EPollReactor",
    "select": "twisted.internet.selectreactor.SelectReactor",
}


class PlanSpider(scrapy.Spider):
    name = "plan"
    plan: dict[str, Any]
    ended = 0

    @classmethod
    def from_crawler(cls, crawler, *args, **kwargs):
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.allowed_domains = crawler.settings.getlist("RUNNER_ALLOWED_DOMAINS")
        crawler.signals.connect(spider.opened, signals.spider_opened)
        crawler.signals.connect(spider.closed_, signals.spider_closed)
        crawler.signals.connect(spider.left_downloader, signals.request_left_downloader)
        if crawler.settings.get("RUNNER_STOPS_AT"):
            crawler.signals.connect(spider.headers_received, signals.headers_received)
            crawler.signals.connect(spider.bytes_received, signals.bytes_received)
        return spider

    def opened(self):
        self.crawler.stats.set_value("memory_at_start", _peak_memory())
        # The pool hears of the same signal after this, and starts its workers.

    def closed_(self):
        self.crawler.stats.set_value("memory_at_end", _peak_memory())

    def left_downloader(self, request):
        if "curl_safe_avoid" in request.meta:
            number = request.cb_kwargs["number"]
            self.plan["failed_workers"].append([number, request.meta["curl_safe_avoid"]])

    def headers_received(self, headers, body_length, request, spider):
        self.crawler.stats.inc_value("heard_headers")
        self.stop_at("headers_received", request)

    def bytes_received(self, data, request, spider):
        self.crawler.stats.inc_value("heard_bytes", len(data))
        time.sleep(self.settings.getfloat("RUNNER_SLEEPS"))
        if self.crawler.stats.get_value("heard_bytes") > 2_000_000:
            self.stop_at("two_megabytes_received", request)
        self.stop_at("bytes_received", request)

    def stop_at(self, signal, request):
        path = self.settings.get("RUNNER_STOPS_PATH", "")
        if self.settings["RUNNER_STOPS_AT"] == signal and path in request.url:
            raise StopDownload(fail=self.settings.getbool("RUNNER_FAILS"))

    async def start(self):
        first_is_back = self.settings.getbool("RUNNER_WAITS_FOR_FIRST")
        listed = self.plan["requests"]
        forgets = self.settings.getbool("RUNNER_FORGETS")
        # The list as it is, or over and over until so many requests are made.
        total = self.settings.getint("RUNNER_REPEATS_TO", len(listed))
        for number, wanted in enumerate(islice(cycle(listed), total)):
            # Else the scheduler would hold them all at once.
            while forgets and number - self.ended > 1000:
                await asyncio.sleep(0.01)
            while first_is_back and number == 1 and not self.plan["responses"]:
                await asyncio.sleep(0.01)
            arguments = dict(wanted)
            if "body" in arguments:
                arguments["body"] = arguments["body"].encode("latin-1")
            yield scrapy.Request(
                **arguments,
                callback=self.parse,
                errback=self.failed,
                cb_kwargs={"number": number},
                dont_filter=not self.settings.getbool("RUNNER_FILTERS"),
            )

    def parse(self, response, number):
        burn(self.settings.getfloat("RUNNER_BURNS"))
        if self.settings.getbool("RUNNER_FORGETS"):
            self.forget(response.status)
            return None
        self.plan["responses"].append(
            {
                "number": number,
                "url": response.url,
                "status": response.status,
                "headers": [
                    [name.decode("latin-1"), value.decode("latin-1")]
                    for name, values in response.headers.items()
                    for value in values
                ],
                "body": response.body.decode("latin-1"),
                "class": type(response).__name__,
                "priority": response.request.priority,
                "flags": response.flags,
                "protocol": response.protocol,
                "ip": str(response.ip_address),
                "certificate": _der(response.certificate),
                "meta": {k: v for k, v in response.meta.items() if _is_plain(v)},
            }
        )
        if len(self.plan["responses"]) == self.settings.getint("RUNNER_RAISES_AT"):
            raise {"close": CloseSpider("enough"), "error": RuntimeError("a bug")}[
                self.settings["RUNNER_RAISES"]
            ]
        return {"number": number, "file_urls": self.settings.getlist("RUNNER_FILE_URLS")}

    def forget(self, outcome):
        self.ended += 1
        self.crawler.stats.inc_value(f"outcome/{outcome}")

    def failed(self, failure):
        error = failure.value
        if self.settings.getbool("RUNNER_FORGETS"):
            self.forget(type(error).__name__)
            return
        fields = ("kind", "curl_code", "detail", "origin", "worker", "exit_status", "hung")
        self.plan["errors"].append(
            {
                "number": failure.request.cb_kwargs["number"],
                "type": type(error).__name__,
                "text": str(error),
                **{name: getattr(error, name) for name in fields if hasattr(error, name)},
                "stopped_flags": getattr(getattr(error, "response", None), "flags", None),
                "meta": {k: v for k, v in failure.request.meta.items() if _is_plain(v)},
            }
        )


class LeavesNoDescriptor:
    """An extension: those are made before the download handlers."""

    def __init__(self):
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))


class SeesBodiesInHand:
    """An extension: how many bytes of responses Scrapy works on at most, as a stat."""

    def __init__(self, crawler):
        self.crawler = crawler
        crawler.signals.connect(self.seen, signals.response_received)

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    def seen(self, response):
        in_hand = self.crawler.engine.scraper.slot.active_size + len(response.body)
        self.crawler.stats.max_value("bodies_in_hand", in_hand)


class StartsLate:
    """An extension: the engine has started, and does not run until no worker can be had."""

    def __init__(self, crawler):
        self.crawler = crawler
        crawler.signals.connect(self.started, signals.engine_started)

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def started(self):
        await until(lambda: context_of(self.crawler).pool.is_exhausted)


class BrokenPipeline:
    def __init__(self):
        raise RuntimeError("this pipeline cannot be made")

    def process_item(self, item):
        return item


class InProcessHandler:
    """A download handler as others are: curl_cffi in the crawler's own process."""

    lazy = True

    def __init__(self, crawler):
        self.wraps = crawler.settings.getbool("RUNNER_WRAPS")

    @classmethod
    def from_crawler(cls, crawler):
        return cls(crawler)

    async def download_request(self, request):
        async with curl_cffi.requests.AsyncSession(verify=False) as session:
            try:
                response = await session.get(request.url)
            except curl_cffi.CurlError as error:
                if self.wraps:
                    raise DownloadFailedError("wrapped") from error
                raise
        return scrapy.http.TextResponse(request.url, body=response.content)

    async def close(self):
        pass


def _der(certificate: Any) -> str | None:
    """As hexadecimal digits."""
    if certificate is None or isinstance(certificate, bytes):
        return certificate and certificate.hex()
    # Scrapy's older handlers give an object of Twisted's.
    return ssl.PEM_cert_to_DER_cert(certificate.dumpPEM().decode()).hex()


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _peak_memory() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _children() -> list[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as children:
        return [int(pid) for pid in children.read().split()]


def main() -> None:
    # Only what is said there may come out here: the result.
    result_fd = os.dup(1)
    os.dup2(2, 1)
    # What starts workers. An upgrade, say, can take the crawler's own interpreter away.
    sys.executable = os.environ.get("RUNNER_INTERPRETER", sys.executable)
    plan = json.load(sys.stdin)
    plan.update(responses=[], errors=[], failed_workers=[])
    settings = {
        "ADDONS": {"scrapy_curl_safe.Addon": 500},
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "DEBUG",
        "CONCURRENT_ITEMS": 1,
        **plan["settings"],
    }
    if plan["way"] == "none":
        process = AsyncCrawlerProcess({**settings, "TWISTED_REACTOR_ENABLED": False})
    else:
        process = CrawlerProcess({**settings, "TWISTED_REACTOR": REACTORS[plan["way"]]})
    crawler = process.create_crawler(PlanSpider)
    crawl = process.crawl(crawler, plan=plan)
    if settings.get("RUNNER_TWICE") == "at once":
        process.crawl(process.create_crawler(PlanSpider), plan=plan)
    elif settings.get("RUNNER_TWICE") == "in turn":
        in_turn = process.create_crawler(PlanSpider)
        again = "addCallback" if hasattr(crawl, "addCallback") else "add_done_callback"
        getattr(crawl, again)(lambda _: process.crawl(in_turn, plan=plan) and None)
    process.start()
    if settings.get("RUNNER_LINGERS"):
        print("lingering", file=sys.stderr, flush=True)
        signal.pause()
    try:
        stats = crawler.stats.get_stats()
    except (AttributeError, RuntimeError):  # it did not get as far as having any
        stats = {}
    result = {
        "responses": plan["responses"],
        "errors": plan["errors"],
        "failed_workers": plan["failed_workers"],
        "stats": {key: value for key, value in stats.items() if _is_plain(value)},
        "children": _children(),
        "threads": [t.name for t in threading.enumerate() if t.name.startswith("curl-safe")],
    }
    with open(result_fd, "w") as out:
        json.dump(result, out)
    # As `scrapy crawl` ends.
    sys.exit(process.bootstrap_failed)


if __name__ == "__main__":
    main()

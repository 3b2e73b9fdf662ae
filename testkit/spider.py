"""The spider of `testkit.runner`: sends the requests of its plan and keeps the results."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import scrapy
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import CloseSpider, StopDownload
from scrapy.http import Response
from scrapy.statscollectors import StatsCollector
from twisted.python.failure import Failure

from testkit.processes import peak_memory_bytes
from testkit.scenario import Scenario
from testkit.waiting import burn, until

_MOST_SCHEDULED = 1000
_ERROR_FIELDS = ("kind", "curl_code", "detail", "origin", "worker", "exit_status", "hung")


@dataclass
class Outcomes:
    """The results: see the fields of the same names in `testkit.crawling.Crawled`."""

    responses: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)
    failed_workers: list[tuple[int, int]] = field(default_factory=list)


class PlanSpider(scrapy.Spider):
    name = "plan"
    listed: list[dict[str, Any]]
    scenario: Scenario
    outcomes: Outcomes
    allowed_domains: list[str]
    _made = 0
    _ended = 0
    _heard_bytes = 0

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> PlanSpider:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.allowed_domains = list(spider.scenario.allowed_domains)
        connect = crawler.signals.connect
        connect(spider._opened, signals.spider_opened)
        connect(spider._closed, signals.spider_closed)
        connect(spider._left_downloader, signals.request_left_downloader)
        if spider.scenario.listen or spider.scenario.stop_at is not None:
            connect(spider._headers_received, signals.headers_received)
            connect(spider._bytes_received, signals.bytes_received)
        return spider

    def _opened(self) -> None:
        self._stats.set_value("memory_at_start", _peak_memory_bytes())
        # After this, the pool gets the same signal and starts its workers.

    def _closed(self) -> None:
        self._stats.set_value("memory_at_end", _peak_memory_bytes())

    @property
    def _stats(self) -> StatsCollector:
        assert self.crawler.stats is not None
        return self.crawler.stats

    def _left_downloader(self, request: scrapy.Request) -> None:
        if "curl_safe_avoid" in request.meta:
            number = request.cb_kwargs["number"]
            self.outcomes.failed_workers.append((number, request.meta["curl_safe_avoid"]))

    # Requests

    async def start(self) -> AsyncIterator[scrapy.Request]:
        scenario = self.scenario
        total = len(self.listed) if scenario.repeat_to is None else scenario.repeat_to
        for number, arguments in enumerate(islice(cycle(self.listed), total)):
            self._made = number
            if scenario.count_only:
                # Otherwise the scheduler would hold them all at once.
                await until(lambda: self._made - self._ended <= _MOST_SCHEDULED)
            if scenario.wait_for_first and number == 1:
                await until(lambda: self.outcomes.responses)
            yield self._request(number, dict(arguments))

    def _request(self, number: int, arguments: dict[str, Any]) -> scrapy.Request:
        if "body" in arguments:
            arguments["body"] = arguments["body"].encode("latin-1")
        then = arguments.pop("then", [])
        return scrapy.Request(
            **arguments,
            callback=self.parse,
            errback=self.failed,
            cb_kwargs={"number": number, "then": then} if then else {"number": number},
            dont_filter=not self.scenario.filter_duplicates,
        )

    # Signals

    def _headers_received(self, request: scrapy.Request) -> None:
        self._stats.inc_value("heard_headers")
        self._stop_at("headers_received", request)

    def _bytes_received(self, data: bytes, request: scrapy.Request) -> None:
        self._heard_bytes += len(data)
        self._stats.inc_value("heard_bytes", len(data))
        time.sleep(self.scenario.listener_sleep_seconds)
        self._stop_at("bytes_received", request)

    def _stop_at(self, signal: str, request: scrapy.Request) -> None:
        scenario = self.scenario
        if (
            scenario.stop_at == signal
            and scenario.stop_path in request.url
            and self._heard_bytes >= scenario.stop_after_bytes
        ):
            raise StopDownload(fail=scenario.stop_fails)

    # Outcomes

    def parse(
        self, response: Response, number: int, then: Sequence[dict[str, Any]] = ()
    ) -> Iterator[Any]:
        burn(self.scenario.burn_seconds)
        if self.scenario.count_only:
            self._count(str(response.status))
            return
        responses = self.outcomes.responses
        assert response.request is not None
        responses.append(
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
                "meta": plain_values(response.meta),
            }
        )
        if len(responses) == self.scenario.close_spider_at:
            raise CloseSpider("enough")
        if len(responses) == self.scenario.error_at:
            raise RuntimeError("a bug")
        yield {"number": number, "file_urls": list(self.scenario.file_urls)}
        for arguments in then:
            yield self._request(number, dict(arguments))

    def failed(self, failure: Failure) -> None:
        error = failure.value
        assert error is not None
        request: scrapy.Request = failure.request  # type: ignore[attr-defined]
        if self.scenario.count_only:
            self._count(type(error).__name__)
            return
        self.outcomes.errors.append(
            {
                "number": request.cb_kwargs["number"],
                "type": type(error).__name__,
                "text": str(error),
                **{name: getattr(error, name) for name in _ERROR_FIELDS if hasattr(error, name)},
                "stopped_flags": getattr(getattr(error, "response", None), "flags", None),
                "meta": plain_values(request.meta),
            }
        )

    def _count(self, outcome: str) -> None:
        self._ended += 1
        self._stats.inc_value(f"outcome/{outcome}")


def plain_values(values: dict[Any, Any]) -> dict[str, Any]:
    """Return the values that JSON can represent."""
    return {key: value for key, value in values.items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def _der(certificate: Any) -> str | None:
    """Return a certificate in DER, as hexadecimal digits."""
    if certificate is None:
        return None
    if isinstance(certificate, bytes):
        return certificate.hex()
    # Scrapy's older handlers return one of Twisted's objects.
    return ssl.PEM_cert_to_DER_cert(certificate.dumpPEM().decode()).hex()


def _peak_memory_bytes() -> int:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return peak_memory_bytes()
    # On Linux ru_maxrss is at least what the parent had as it forked (getrusage(2)).
    (peak_kb,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(peak_kb) * 1024

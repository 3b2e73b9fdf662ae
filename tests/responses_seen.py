"""Middlewares that note each response as they see it, below and above decompression."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.http import Response, TextResponse

from scrapy_curl_safe._crawl.decoded_bodies import decoded_bodies_of


class Below:
    """Notes what is seen in the stat `seen`, and in `known` how many responses a worker has
    decoded."""

    stage = "below"

    def __init__(self, crawler: Crawler) -> None:
        assert crawler.stats is not None
        self._stats = crawler.stats
        self._bodies = decoded_bodies_of(crawler)
        self._kept: list[tuple[str, Response]] = []
        crawler.signals.connect(self._downloaded, signals.response_downloaded)
        crawler.signals.connect(self._received, signals.response_received)
        crawler.signals.connect(self._closed, signals.spider_closed)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Below:
        return cls(crawler)

    def process_response(self, request: Request, response: Response) -> Response:
        self._note(self.stage, response)
        if response in self._bodies:
            self._stats.inc_value("known")
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        self._note_fact([self.stage, request.url, repr(exception), repr(exception.__cause__)])

    def _downloaded(self, response: Response) -> None:
        self._note(f"{self.stage}: downloaded", response)
        self._kept.append((f"{self.stage}: downloaded, later", response))

    def _received(self, response: Response) -> None:
        self._note(f"{self.stage}: received", response)

    def _closed(self) -> None:
        for stage, response in self._kept:
            self._note(stage, response)

    def _note(self, stage: str, response: Response) -> None:
        headers = [
            [str(name), list(map(str, values))] for name, values in dict.items(response.headers)
        ]
        facts = [
            stage,
            response.url,
            response.status,
            f"{type(response).__module__}.{type(response).__name__}",
            type(response.body).__name__,
            len(response.body),
            sha256(response.body).hexdigest(),
            headers,
            response.flags,
            str(response.protocol),
            str(response.ip_address),
            response.certificate is not None,
            str(response.request),
        ]
        if isinstance(response, TextResponse):
            facts += [response.encoding, sha256(response.text.encode()).hexdigest()]
        self._note_fact(facts)

    def _note_fact(self, facts: list[Any]) -> None:
        seen = self._stats.get_value("seen") or []
        seen.append(facts)
        self._stats.set_value("seen", seen)


class Above(Below):
    stage = "above"


class Replacing:
    """Replaces each response by a copy."""

    def process_response(self, request: Request, response: Response) -> Response:
        return response.replace(flags=[*response.flags, "replaced"])

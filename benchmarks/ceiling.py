"""A download handler that downloads nothing, so a crawl costs only what Scrapy itself costs.

With CEILING_WAIT it first holds each request for that many seconds, which shows what Scrapy itself
needs to keep requests in flight.
"""

from __future__ import annotations

import asyncio

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Headers, HtmlResponse, Response


class CeilingHandler:
    lazy = False

    def __init__(self, crawler: Crawler) -> None:
        settings = crawler.settings
        size = settings.getint("CEILING_SIZE")
        self._body: bytes = b"<html>".ljust(size, b"x")[:size]
        self._wait = settings.getfloat("CEILING_WAIT")
        self._headers = {
            "Server": "nginx",
            "Date": "Mon, 01 Jan 2026 00:00:00 GMT",
            "Content-Type": "text/html",
            "Content-Length": str(len(self._body)),
            "Last-Modified": "Mon, 01 Jan 2026 00:00:00 GMT",
            "Etag": '"65a-c350"',
            "Accept-Ranges": "bytes",
        }

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> CeilingHandler:
        return cls(crawler)

    async def download_request(self, request: Request) -> Response:
        if self._wait:
            await asyncio.sleep(self._wait)
        return HtmlResponse(
            request.url, headers=Headers(self._headers), body=self._body, protocol="h2"
        )

    async def close(self) -> None:
        pass

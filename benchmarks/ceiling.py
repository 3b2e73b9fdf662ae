"""A download handler that downloads nothing, so a crawl costs only what Scrapy itself costs.

With CEILING_WAIT it first holds each request for that many seconds, which shows what Scrapy itself
needs to keep requests in flight.
"""

from __future__ import annotations

import asyncio

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Headers, HtmlResponse, Response

from benchmarks.pages import encoded_page, encoding_of


class CeilingHandler:
    lazy = False

    def __init__(self, crawler: Crawler) -> None:
        settings = crawler.settings
        page = settings["CEILING_PAGE"]
        self._body = encoded_page(page) if page else b"{}"
        encoding = encoding_of(page)
        # Scrapy's own handlers leave it to the middleware to see that it is HTML.
        self._class = Response if encoding else HtmlResponse
        self._wait = settings.getfloat("CEILING_WAIT")
        self._headers = {
            "Server": "nginx",
            "Date": "Mon, 01 Jan 2026 00:00:00 GMT",
            "Content-Type": "text/html",
            "Content-Length": str(len(self._body)),
            "Last-Modified": "Mon, 01 Jan 2026 00:00:00 GMT",
            "Etag": '"65a-c350"',
            "Accept-Ranges": "bytes",
            **({"Content-Encoding": encoding} if encoding else {}),
        }

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> CeilingHandler:
        return cls(crawler)

    async def download_request(self, request: Request) -> Response:
        if self._wait:
            await asyncio.sleep(self._wait)
        return self._class(
            request.url, headers=Headers(self._headers), body=self._body, protocol="h2"
        )

    async def close(self) -> None:
        pass

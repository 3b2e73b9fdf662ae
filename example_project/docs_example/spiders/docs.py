"""The spider `docs`: every page of a documentation site, one item each."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urlsplit

import scrapy
from scrapy import signals
from scrapy.http import Request, Response, TextResponse
from scrapy.linkextractors import LinkExtractor

from docs_example.items import PageItem
from docs_example.local_origin import LocalOrigin

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from twisted.python.failure import Failure


class DocsSpider(scrapy.Spider):
    """Crawls the site at `url`, or a local origin if there is none.

    Args:
        url: where to start; only this host is crawled.
        drop: the share of the handshakes that the local origin drops.
        requests_per_connection: what the local origin allows.
        seed: makes the local origin drop the same handshakes in each run.
    """

    name = "docs"
    links = LinkExtractor()

    def __init__(
        self,
        url: str | None = None,
        drop: float | str = 0.2,
        requests_per_connection: int | str = 4,
        seed: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.url = url
        self.origin = LocalOrigin(
            drop=float(drop),
            requests_per_connection=int(requests_per_connection),
            seed=None if seed is None else int(seed),
        )

    async def start(self) -> AsyncIterator[Request]:
        if self.url is not None:
            url = self.url
        else:
            url, pages = await asyncio.to_thread(self.origin.start)
            self.logger.info("The local origin serves %d pages at %s", pages, url)
            # No request is in flight any more then, and the stats have not been logged yet.
            self.crawler.signals.connect(self.stop_origin, signals.spider_closed)
        yield Request(url, self.parse, errback=self.failed)

    def parse(self, response: Response) -> Iterator[PageItem | Request]:
        links = self.page_links(response)
        info = response.meta.get("curl_safe_info", {})
        yield PageItem(
            url=response.url,
            title=response.css("title::text").get() if isinstance(response, TextResponse) else None,
            status=response.status,
            bytes=len(response.body),
            sha256=hashlib.sha256(response.body).hexdigest(),
            links=len(links),
            worker=info.get("worker"),
            handshake_time=info.get("handshake_time"),
            attempt=info.get("attempt"),
        )
        for link in links:
            yield Request(link, self.parse, errback=self.failed)

    def page_links(self, response: Response) -> list[str]:
        """The pages of the same host that this one links, each once."""
        if not isinstance(response, TextResponse):
            return []
        host = urlsplit(response.url).netloc
        targets = (urldefrag(link.url).url for link in self.links.extract_links(response))
        return list(dict.fromkeys(url for url in targets if urlsplit(url).netloc == host))

    def failed(self, failure: Failure) -> None:
        request: Request = failure.request  # type: ignore[attr-defined]
        self.logger.error("No item for %s: %s", request.url, failure.value)
        self.crawler.stats.inc_value("docs/failed")

    async def stop_origin(self) -> None:
        counts = await asyncio.to_thread(self.origin.stop)
        for key, value in flat(counts):
            self.crawler.stats.set_value(f"docs/origin/{key}", value)


def flat(counts: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The leaves of nested dicts, with their keys joined by a slash."""
    for key, value in counts.items():
        if isinstance(value, dict):
            yield from ((f"{key}/{rest}", leaf) for rest, leaf in flat(value))
        else:
            yield key, value

"""Notes which page asks for a request, as a browser would know it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.spidermiddlewares.referer import RefererMiddleware

from ._crawl.file_pages import file_pages_of
from ._crawl.initiators import note_initiator, policy_of


class InitiatorMiddleware:
    """See https://docs.scrapy.org/en/latest/topics/spider-middleware.html.

    Its order must be above that of RefererMiddleware (700), so that it can tell a Referer that a
    callback has set from Scrapy's.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._pages = file_pages_of(crawler)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> InitiatorMiddleware:
        return cls(crawler)

    def process_spider_output(self, response: Response, result: Iterable[Any]) -> Iterator[Any]:
        policy = policy_of(response)
        for each in result:
            self.note(each, response, policy)
            yield each

    async def process_spider_output_async(
        self, response: Response, result: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        policy = policy_of(response)
        async for each in result:
            self.note(each, response, policy)
            yield each

    def note(self, each: Any, response: Response, policy: str | None) -> None:
        """Note the page that asks for a request, or for the files of an item.

        Args:
            policy: the policy that the response sets, as `policy_of` returns it.
        """
        if isinstance(each, Request):
            note_initiator(each, response, policy)
        else:
            self._pages.note(each, response.url)


class BrowserRefererMiddleware(RefererMiddleware):
    """Scrapy's RefererMiddleware and `InitiatorMiddleware` in one, since each spider middleware
    that looks at what callbacks yield costs Scrapy 10 µs per response.

    Raises:
        NotConfigured: REFERER_ENABLED is False.
    """

    _initiators: InitiatorMiddleware

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> BrowserRefererMiddleware:
        middleware = super().from_crawler(crawler)
        middleware._initiators = InitiatorMiddleware(crawler)
        return middleware

    # Not in get_processed_request, which RedirectMiddleware calls for the Referer as well.

    def process_spider_output(  # type: ignore[override]  # Scrapy passes no spider to it.
        self, response: Response, result: Iterable[Any]
    ) -> Iterator[Any]:
        policy = policy_of(response)
        for each in result:
            yield self._processed(each, response, policy)

    async def process_spider_output_async(  # type: ignore[override]
        self, response: Response, result: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        policy = policy_of(response)
        async for each in result:
            yield self._processed(each, response, policy)

    def _processed(self, each: Any, response: Response, policy: str | None) -> Any:
        self._initiators.note(each, response, policy)
        if isinstance(each, Request):
            return self.get_processed_request(each, response)
        return each

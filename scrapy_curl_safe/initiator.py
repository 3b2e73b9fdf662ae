"""Notes which page asks for a request, as a browser knows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response

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
            self._note(each, response, policy)
            yield each

    async def process_spider_output_async(
        self, response: Response, result: AsyncIterator[Any]
    ) -> AsyncIterator[Any]:
        policy = policy_of(response)
        async for each in result:
            self._note(each, response, policy)
            yield each

    def _note(self, each: Any, response: Response, policy: str | None) -> None:
        if isinstance(each, Request):
            note_initiator(each, response, policy)
        else:
            self._pages.note(each, response.url)

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import scrapy
from scrapy.http import Response


class CurlSpider(scrapy.Spider):
    name = "with_scrapy_curl"

    def __init__(self, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url

    async def start(self) -> AsyncIterator[scrapy.Request]:
        yield scrapy.Request(f"{self.url}/firefox", meta={"curl": {"impersonate": "firefox"}})
        yield scrapy.Request(
            f"{self.url}/raw",
            meta={
                "curl": {
                    "impersonate": "safari",
                    "http_version": "v1",
                    "raw_headers": [("x-first", "1"), ("User-Agent", "of my own")],
                }
            },
        )
        yield scrapy.Request(f"{self.url}/plain", meta={"curl": False})

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status}

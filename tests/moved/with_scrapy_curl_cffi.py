from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import scrapy
from scrapy.http import Response


class FingerprintsSpider(scrapy.Spider):
    name = "with_scrapy_curl_cffi"
    curl_cffi_options = {"impersonate": "firefox"}  # noqa: RUF012

    def __init__(self, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url

    async def start(self) -> AsyncIterator[scrapy.Request]:
        yield scrapy.Request(f"{self.url}/firefox")
        yield scrapy.Request(
            f"{self.url}/safari",
            meta={
                "curl_cffi_options": {
                    "impersonate": "safari",
                    "default_headers": False,
                    "verify": False,
                }
            },
        )

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status}

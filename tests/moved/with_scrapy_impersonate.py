from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import scrapy
from scrapy.http import Response


class ImpersonateSpider(scrapy.Spider):
    name = "with_scrapy_impersonate"

    def __init__(self, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url

    async def start(self) -> AsyncIterator[scrapy.Request]:
        yield scrapy.Request(
            f"{self.url}/firefox",
            meta={"impersonate": "firefox", "impersonate_args": {"verify": False, "timeout": 30}},
        )
        yield scrapy.Request(
            f"{self.url}/safari",
            meta={
                "impersonate": "safari",
                "impersonate_args": {
                    "verify": False,
                    "http_version": "v1",
                    "interface": "127.0.0.2",
                    "extra_fp": {"tls_signature_algorithms": ["ecdsa_secp256r1_sha256"]},
                },
            },
        )

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status}

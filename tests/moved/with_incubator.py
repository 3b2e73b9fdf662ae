from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import curl_cffi
import scrapy
from scrapy.http import Response


class IncubatorSpider(scrapy.Spider):
    name = "with_incubator"

    def __init__(self, url: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url

    async def start(self) -> AsyncIterator[scrapy.Request]:
        yield scrapy.Request(f"{self.url}/firefox", meta={"curl_cffi_impersonate": "firefox"})
        ciphers = ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
        headers = {"User-Agent": "of the fingerprint"}
        yield scrapy.Request(
            f"{self.url}/dict",
            meta={"curl_cffi_impersonate": {"tls_ciphers": ciphers, "headers": headers}},
        )
        yield scrapy.Request(
            f"{self.url}/object",
            meta={
                "curl_cffi_impersonate": curl_cffi.Fingerprint(tls_ciphers=ciphers, headers=headers)
            },
        )

    def parse(self, response: Response) -> Iterator[dict[str, Any]]:
        yield {"url": response.url, "status": response.status}

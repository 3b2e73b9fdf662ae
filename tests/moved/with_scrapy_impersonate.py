import scrapy


class ImpersonateSpider(scrapy.Spider):
    name = "with_scrapy_impersonate"

    def __init__(self, url, **kwargs):
        super().__init__(**kwargs)
        self.url = url

    async def start(self):
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

    def parse(self, response):
        yield {"url": response.url, "status": response.status}

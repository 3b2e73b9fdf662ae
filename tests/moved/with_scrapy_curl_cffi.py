import scrapy


class FingerprintsSpider(scrapy.Spider):
    name = "with_scrapy_curl_cffi"
    curl_cffi_options = {"impersonate": "firefox"}  # noqa: RUF012

    def __init__(self, url, **kwargs):
        super().__init__(**kwargs)
        self.url = url

    async def start(self):
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

    def parse(self, response):
        yield {"url": response.url, "status": response.status}

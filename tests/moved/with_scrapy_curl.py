import scrapy


class CurlSpider(scrapy.Spider):
    name = "with_scrapy_curl"

    def __init__(self, url, **kwargs):
        super().__init__(**kwargs)
        self.url = url

    async def start(self):
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

    def parse(self, response):
        yield {"url": response.url, "status": response.status}

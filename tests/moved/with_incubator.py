import curl_cffi
import scrapy


class IncubatorSpider(scrapy.Spider):
    name = "with_incubator"

    def __init__(self, url, **kwargs):
        super().__init__(**kwargs)
        self.url = url

    async def start(self):
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

    def parse(self, response):
        yield {"url": response.url, "status": response.status}

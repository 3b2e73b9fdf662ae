"""The Scrapy team's tests of download handlers, on this package's handler.

`install.sh` links this module into the `tests` package of the suite. Two flags differ from those of
Scrapy's own handler; the suite sets them for libcurl, too: names that IDNA rejects are resolved in
the workers, where the suite's fixture does not reach, and libcurl refuses a response with a header
line without a colon. Where the suite checks that a handler adds no headers, no browser is
impersonated; crawls and all classes without settings of their own run with the default one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from scrapy import Request
from tests.mockserver.http import MockServer
from tests.test_handlers_base import (
    TestHttpBase,
    TestHttpProxyBase,
    TestHttpsBase,
    TestHttpsCustomCiphersBase,
    TestHttpsDefaultCiphersBase,
    TestHttpsInvalidDNSIdBase,
    TestHttpsInvalidDNSPatternBase,
    TestHttpsTLSVersionBase,
    TestHttpsWrongHostnameBase,
    TestHttpWithCrawlerBase,
    TestMitmProxyBase,
    TestSimpleHttpsBase,
)
from tests.utils.decorators import coroutine_test

from scrapy_curl_safe import CurlSafeDownloadHandler


class Handler:
    @property
    def download_handler_cls(self) -> type[CurlSafeDownloadHandler]:
        return CurlSafeDownloadHandler

    @property
    def settings_dict(self) -> dict[str, Any]:
        path = "scrapy_curl_safe.CurlSafeDownloadHandler"
        return {"DOWNLOAD_HANDLERS": {"http": path, "https": path}}


class TestHttp(Handler, TestHttpBase):
    handler_bad_header_handling = "fail"
    handler_supports_idna_rejected_hostnames = False
    default_handler_settings: ClassVar[dict[str, Any]] = {
        "CURL_SAFE_IMPERSONATE": None,
        "CURL_SAFE_HTTP_VERSION": "v1",
    }


class TestHttps(Handler, TestHttpsBase):
    handler_bad_header_handling = "fail"
    handler_supports_idna_rejected_hostnames = False
    default_handler_settings = TestHttp.default_handler_settings


class TestHttp2(TestHttps):
    http2 = True
    default_handler_settings: ClassVar[dict[str, Any]] = {"CURL_SAFE_IMPERSONATE": None}

    @coroutine_test
    async def test_protocol(self, mockserver: MockServer) -> None:
        request = Request(mockserver.url("/host", is_secure=self.is_secure))
        async with self.get_dh() as download_handler:
            response = await download_handler.download_request(request)
        assert response.protocol == "HTTP/2"


class TestSimpleHttps(Handler, TestSimpleHttpsBase):
    pass


class TestHttpsWrongHostname(Handler, TestHttpsWrongHostnameBase):
    pass


class TestHttpsInvalidDNSId(Handler, TestHttpsInvalidDNSIdBase):
    pass


class TestHttpsInvalidDNSPattern(Handler, TestHttpsInvalidDNSPatternBase):
    pass


class TestHttpsCustomCiphers(Handler, TestHttpsCustomCiphersBase):
    # BoringSSL has no Camellia, the suite's choice. This one it has, and Chrome does not offer it.
    cipher_string = "ECDHE-RSA-AES128-SHA256"


class TestHttpsDefaultCiphers(Handler, TestHttpsDefaultCiphersBase):
    pass


class TestHttpsTLSVersion(Handler, TestHttpsTLSVersionBase):
    pass


class TestHttpWithCrawler(Handler, TestHttpWithCrawlerBase):
    pass


class TestHttpsWithCrawler(TestHttpWithCrawler):
    is_secure = True


class TestHttpProxy(Handler, TestHttpProxyBase):
    expected_http_proxy_request_body = b"http://example.com/"


class TestHttpsProxy(TestHttpProxy):
    is_secure = True


class TestMitmProxy(Handler, TestMitmProxyBase):
    handler_supports_socks = True  # which adds tests

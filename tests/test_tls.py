"""Certificates, resumed sessions and TLS versions."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from curl_cffi.__version__ import __version__ as curl_cffi_version
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import CurlSafeDownloadHandler
from testkit.crawling import Crawled, assert_all_pages
from testkit.origins.certs import certs
from testkit.origins.hello import parse_client_hello
from testkit.origins.holding import SlowOnce
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

pytestmark = pytest.mark.processes


def fingerprint_of(origin: TlsOrigin) -> str:
    pem = ssl.get_server_certificate(("127.0.0.1", origin.port))
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def certificate_of(response: dict[str, Any]) -> str | None:
    """Its fingerprint."""
    der = response["certificate"]
    return der if der is None else hashlib.sha256(bytes.fromhex(der)).hexdigest()


@pytest.mark.parametrize("browser", ["chrome", None])
@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_every_tls_response_has_its_origins_certificate(
    crawl: Callable[..., Crawled], browser: str | None, alpn: str
) -> None:
    """On fresh and warm connections, after full handshakes and resumed ones."""
    another = certs().server_context(alpn=(alpn,), names=("other.test",))
    with (
        TlsOrigin(requests_per_connection=3, alpn=(alpn,)) as one,
        TlsOrigin(requests_per_connection=3, context=another) as other,
    ):
        urls = [f"{origin.url}/{n}" for n in range(20) for origin in (one, other)]
        crawled = crawl(
            *urls, CURL_SAFE_IMPERSONATE=browser, CURL_SAFE_WORKERS=1, CONCURRENT_REQUESTS=1
        )
        handshakes = one.handshakes + other.handshakes
        resumed = one.resumed + other.resumed
        expected = [fingerprint_of(one), fingerprint_of(other)]
    assert expected[0] != expected[1]
    assert len(crawled.responses) == 40
    for response in crawled.responses:
        assert certificate_of(response) == expected[response["number"] % 2]
    assert crawled.stat("connection/reused_count") > 0
    assert crawled.stat("handshake/success_count") == handshakes
    assert resumed > 0
    # The libcurl of curl_cffi 0.15 reports a certificate for resumed handshakes, too.
    told = resumed if curl_cffi_version >= "0.16" else 0
    assert crawled.stat("handshake/resumed_count") == told


class ResetsAtFirst(TlsOrigin):
    async def _answer(self, request: SeenRequest) -> Reply:
        first = not self.requests
        reply = await super()._answer(request)
        if first:
            raise ConnectionResetError
        return reply


def test_so_has_one_that_overtakes_the_first_of_its_connection(
    crawl: Callable[..., Crawled],
) -> None:
    with SlowOnce(alpn=("h2",)) as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(12)), CURL_SAFE_WORKERS=1, CONCURRENT_REQUESTS=3
        )
        expected = fingerprint_of(origin)
    assert [certificate_of(r) for r in crawled.responses] == [expected] * 12


def test_so_has_one_whose_session_a_failed_transfer_began(crawl: Callable[..., Crawled]) -> None:
    with ResetsAtFirst() as origin:
        crawled = crawl(origin.url, CURL_SAFE_WORKERS=1)
        resumed = origin.resumed
        expected = fingerprint_of(origin)
    assert crawled.stats["retry/count"] == 1
    assert resumed == 1
    assert [certificate_of(r) for r in crawled.responses] == [expected]


def test_a_plain_response_has_no_certificate(crawl: Callable[..., Crawled]) -> None:
    with TlsOrigin(tls=False) as origin:
        crawled = crawl(origin.url)
    assert crawled.responses[0]["certificate"] is None


def test_verbose_logging_names_protocol_cipher_and_certificate(
    crawl: Callable[..., Crawled],
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            f"{origin.url}/reused",
            DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING=True,
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=1,
        )
        silent = crawl(origin.url)
    connection = r"DEBUG: SSL connection to 127.0.0.1 using protocol TLSv1.3, cipher TLS_\w+\n"
    certificate = (
        r"DEBUG: SSL connection certificate: "
        r'issuer "OU=Testing CA #\S+,O=trustme v[\d.]+", '
        r'subject "OU=Testing cert #\S+,O=trustme v[\d.]+"\n'
    )
    assert len(re.findall(connection, crawled.log)) == 1
    assert len(re.findall(certificate, crawled.log)) == 1
    assert "SSL connection" not in silent.log


@pytest.mark.parametrize(
    ("settings", "offered"),
    [
        ({"DOWNLOAD_TLS_MAX_VERSION": "TLSv1.2"}, {0x0303}),
        ({"DOWNLOAD_TLS_MIN_VERSION": "TLSv1.3"}, {0x0304}),
        (
            {"DOWNLOAD_TLS_MIN_VERSION": "TLSv1.2", "DOWNLOAD_TLS_MAX_VERSION": "TLSv1.3"},
            {0x0303, 0x0304},
        ),
        ({"DOWNLOAD_TLS_MAX_VERSION": "TLSv1.2", "CURL_SAFE_IMPERSONATE": None}, {0x0303}),
    ],
)
def test_tls_versions_are_bounded_by_the_settings(
    crawl: Callable[..., Crawled], settings: dict[str, Any], offered: set[int]
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, **settings)
        hello = parse_client_hello(origin.hellos[0])
    assert crawled.responses[0]["status"] == 200
    known = set(range(0x0301, 0x0305))
    assert (set(hello.supported_versions) & known or {hello.legacy_version}) == offered


def test_an_origin_below_the_minimum_is_refused(crawl: Callable[..., Crawled]) -> None:
    context = certs().server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsOrigin(context=context) as origin:
        crawled = crawl(origin.url, DOWNLOAD_TLS_MIN_VERSION="TLSv1.3")
    assert crawled.errors[0]["type"] == "HandshakeError"


AES128_SHA, AES256_SHA = 0x2F, 0x35


def ciphers_offered(origin: TlsOrigin) -> set[int]:
    """Of TLS 1.2 and before, without the number that a browser makes up (RFC 8701)."""
    ciphers = parse_client_hello(origin.hellos[-1]).ciphers
    return {cipher for cipher in ciphers if cipher >> 8 != 0x13 and cipher & 0x0F0F != 0x0A0A}


@pytest.mark.parametrize("browser", ["chrome", None])
def test_the_ciphers_of_the_setting_replace_the_browsers(
    crawl: Callable[..., Crawled], browser: str | None
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            CURL_SAFE_IMPERSONATE=browser,
            DOWNLOADER_CLIENT_TLS_CIPHERS="AES256-SHA:AES128-SHA",
        )
        assert ciphers_offered(origin) == {AES128_SHA, AES256_SHA}
    assert_all_pages(crawled, 1)
    warning = "WARNING: DOWNLOADER_CLIENT_TLS_CIPHERS replaces the browser's ciphers"
    assert crawled.log.count(warning) == (browser is not None)


@pytest.mark.parametrize("ciphers", ["DEFAULT", "DEFAULT:!DH"])
def test_scrapys_default_ciphers_leave_the_browsers(
    crawl: Callable[..., Crawled], ciphers: str
) -> None:
    with TlsOrigin() as origin:
        crawl(origin.url)
        browsers = ciphers_offered(origin)
        crawled = crawl(origin.url, DOWNLOADER_CLIENT_TLS_CIPHERS=ciphers)
        assert ciphers_offered(origin) == browsers > {AES128_SHA, AES256_SHA}
    assert "DOWNLOADER_CLIENT_TLS_CIPHERS replaces" not in crawled.log


def test_ja3_goes_before_the_ciphers_of_the_setting(crawl: Callable[..., Crawled]) -> None:
    # With the extensions that curl_cffi 0.15 cannot leave out.
    ja3 = "771,4865-49195-47,0-65281-11-10-35-13-23-43-45-51,29-23-24,0"
    with TlsOrigin() as origin:
        crawl(
            {"url": origin.url, "meta": {"curl_safe": {"ja3": ja3}}},
            DOWNLOADER_CLIENT_TLS_CIPHERS="AES256-SHA",
        )
        assert ciphers_offered(origin) == {49195, AES128_SHA}


def test_ciphers_that_boringssl_does_not_have_are_a_clear_failure(
    crawl: Callable[..., Crawled],
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url, RETRY_ENABLED=False, DOWNLOADER_CLIENT_TLS_CIPHERS="CAMELLIA256-SHA"
        )
    (error,) = crawled.errors
    assert error["type"] == "DownloadFailedError"
    assert "curl: (59) failed setting cipher list: CAMELLIA256-SHA; " in error["text"]
    assert "DOWNLOADER_CLIENT_TLS_CIPHERS" in error["text"]


def test_keys_are_logged_where_sslkeylogfile_says(
    crawl: Callable[..., Crawled], tmp_path: Path
) -> None:
    keys = tmp_path / "keys.log"
    with TlsOrigin() as origin:
        crawl(origin.url, env={"SSLKEYLOGFILE": str(keys)})
    assert "CLIENT_TRAFFIC_SECRET_0" in keys.read_text()


def test_a_key_log_that_cannot_be_written_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Without a crawl, in which Scrapy may import aiohttp, which fails then."""
    keys = tmp_path / "missing" / "keys.log"
    crawler = get_crawler()
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))

    async def build_handlers() -> None:
        handlers = [CurlSafeDownloadHandler(crawler) for _ in ("http", "https")]
        for handler in handlers:
            await handler.close()

    asyncio.run(build_handlers())
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.startswith(f"Cannot write TLS session keys to {keys}: [Errno 2] ")

"""HTTP/3 against a local server, where the installed libcurl speaks it."""

from __future__ import annotations

from collections.abc import Callable

import curl_cffi
import pytest
from curl_cffi import Curl

from testkit.crawling import Crawled
from testkit.origins.http3 import RESET, Http3Origin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(b"nghttp3" not in Curl().version(), reason="this libcurl speaks no HTTP/3"),
]

ONLY = {"CURL_SAFE_HTTP_VERSION": "v3only"}


def test_requests_and_responses(crawl: Callable[..., Crawled]) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(headers=[(b"x-path", seen.path.encode())], body=seen.body * 1000)

    with Http3Origin(app) as origin:
        crawled = crawl(
            *(
                {"url": f"{origin.url}/{n}", "method": "POST", "body": f"body {n},"}
                for n in range(20)
            ),
            **ONLY,
        )
    assert len(crawled.responses) == 20, crawled.errors
    for response in crawled.responses:
        assert response["protocol"] == "HTTP/3"
        assert response["body"] == f"body {response['number']}," * 1000
        assert ["X-Path", f"/{response['number']}"] in response["headers"]
        assert response["certificate"] is not None
        assert response["ip"] == "127.0.0.1"
    assert crawled.stat("handshake/success_count") == origin.handshakes
    assert crawled.stat("connection/reused_count") > 0
    assert any(b"Chrome/" in (seen.header("User-Agent") or b"") for seen in origin.requests)


def test_a_large_body(crawl: Callable[..., Crawled]) -> None:
    size = 5_000_000
    with Http3Origin(lambda seen: Reply(body=b"x" * size)) as origin:
        crawled = crawl(
            origin.url,
            {"url": f"{origin.url}/too-large", "meta": {"download_maxsize": 100_000}},
            **ONLY,
        )
    assert [len(r["body"]) for r in crawled.responses] == [size]
    assert [e["type"] for e in crawled.errors] == ["DownloadCancelledError"]


def test_a_reset_stream_is_a_retry(crawl: Callable[..., Crawled]) -> None:
    def app(seen: SeenRequest) -> Reply:
        return RESET if len(origin.requests) == 1 else Reply(body=b"ok")

    with Http3Origin(app) as origin:
        crawled = crawl(origin.url, **ONLY)
    assert [r["body"] for r in crawled.responses] == ["ok"]
    assert crawled.stats["retry/count"] == 1
    assert crawled.stat("handshake/failure_count") == 0


def test_by_request(crawl: Callable[..., Crawled]) -> None:
    with Http3Origin() as origin, TlsOrigin(alpn=("h2",)) as other:
        crawled = crawl(
            {"url": origin.url, "meta": {"curl_safe": {"http_version": "v3only"}}}, other.url
        )
    protocols = {r["number"]: r["protocol"] for r in crawled.responses}
    assert protocols == {0: "HTTP/3", 1: "HTTP/2"}


def test_an_unknown_authority_is_refused(crawl: Callable[..., Crawled]) -> None:
    with Http3Origin(trusted=False) as origin:
        crawled = crawl(origin.url, **ONLY, DOWNLOAD_VERIFY_CERTIFICATES=True)
    (error,) = crawled.errors
    assert error["type"] == "HandshakeError"
    assert error["kind"] == "certificate"
    assert origin.requests == []


def test_nobody_at_the_port_is_a_failure_in_time(crawl: Callable[..., Crawled]) -> None:
    with Http3Origin() as origin:
        port = origin.port
    crawled = crawl(
        f"https://localhost:{port}/", **ONLY, DOWNLOAD_TIMEOUT=2, RETRY_TIMES=0, LOG_LEVEL="INFO"
    )
    assert len(crawled.errors) == 1


@pytest.mark.skipif(
    not hasattr(curl_cffi, "Fingerprint"), reason="curl_cffi takes fingerprints since 0.16"
)
def test_a_fingerprint_may_have_other_headers(crawl: Callable[..., Crawled]) -> None:
    fingerprint = {
        "headers": {"Host": "", "User-Agent": "over TCP", "X-Tcp": "1"},
        "http3_headers": {"Host": "", "User-Agent": "over QUIC", "X-Quic": "1"},
    }
    request = {"headers": {"X-Mine": "1"}}
    with Http3Origin() as origin, TlsOrigin() as other:
        crawled = crawl(
            {"url": origin.url, **request, "meta": {"curl_safe": {"http_version": "v3only"}}},
            {"url": f"{origin.url}/", "headers": {"User-Agent": "mine"}},
            {"url": other.url, **request, "meta": {"curl_safe": {"http_version": "v1"}}},
            CURL_SAFE_IMPERSONATE=fingerprint,
            CURL_SAFE_BROWSER_HEADERS="static",
            CURL_SAFE_HTTP_VERSION="v3only",
        )
        assert crawled.numbers == [0, 1, 2], crawled.log
        by_agent = {seen.header("User-Agent"): seen for seen in origin.requests}
        (over_tcp,) = other.requests
    assert set(by_agent) == {b"over QUIC", b"mine"}
    over_quic = by_agent[b"over QUIC"]
    assert (over_quic.header("X-Quic"), over_quic.header("X-Mine")) == (b"1", b"1")
    assert over_quic.header("X-Tcp") is None
    assert by_agent[b"mine"].header("X-Mine") is None
    assert (over_tcp.header("X-Tcp"), over_tcp.header("X-Quic")) == (b"1", None)
    assert over_tcp.header("User-Agent") == b"over TCP"


def test_perk_by_request(crawl: Callable[..., Crawled]) -> None:
    perk = "1:65536;6:262144|m,s,p,a|"
    with Http3Origin() as origin:
        crawled = crawl({"url": origin.url, "meta": {"curl_safe": {"perk": perk}}}, **ONLY)
        assert crawled.numbers == [0], crawled.log
        (request,) = origin.requests
    assert [name for name, _ in request.headers if name.startswith(b":")] == [
        b":method",
        b":scheme",
        b":path",
        b":authority",
    ]

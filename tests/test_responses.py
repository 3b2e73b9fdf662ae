"""Responses as they come back: status, headers, bodies, limits, in each version of HTTP."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from typing import Any, Literal

import brotli
import pytest
from curl_cffi import Curl

from testkit.crawling import assert_all_pages
from testkit.fixtures import MakeOrigin, RunCrawl
from testkit.origins.raw import HOLD, RESET, Piece, RawOrigin, Script
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario
from tests.conftest import in_most_ways

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

pytestmark = in_most_ways


def values_of(response: dict[str, Any], name: str) -> list[str]:
    return [value for key, value in response["headers"] if key == name]


def test_status_headers_and_body(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(
            status=int(seen.path.rpartition("/")[2]),
            headers=[
                (b"x-repeated", b"1"),
                (b"x-repeated", b"2"),
                (b"x-utf8", "ü".encode()),
                (b"x-latin", b"\xe9"),
                (b"x-empty", b""),
            ],
            body=bytes(range(256)),
        )

    statuses = [200, 201, 203, 299, 400, 404, 418, 599]
    with make_origin(app) as origin:
        crawled = crawl(
            *(f"{origin.url}/{status}" for status in statuses), HTTPERROR_ALLOW_ALL=True
        )
    assert_all_pages(crawled, len(statuses))
    assert sorted(r["status"] for r in crawled.responses) == statuses
    for response in crawled.responses:
        assert values_of(response, "X-Repeated") == ["1", "2"]
        assert values_of(response, "X-Utf8") == ["ü".encode().decode("latin-1")]
        assert values_of(response, "X-Latin") == ["\xe9"]
        assert values_of(response, "X-Empty") == [""]
        assert response["body"].encode("latin-1") == bytes(range(256))
        assert response["ip"] == "127.0.0.1"


def test_protocol(crawl: RunCrawl) -> None:
    with (
        TlsOrigin(tls=False) as tcp,
        TlsOrigin() as tls,
        TlsOrigin(alpn=("h2",)) as h2,
        RawOrigin(b"HTTP/1.0 200 OK\r\n\r\nold") as old,
    ):
        crawled = crawl(tcp.url, tls.url, h2.url, old.url)
    protocols = {r["number"]: r["protocol"] for r in crawled.responses}
    assert protocols == {0: "HTTP/1.1", 1: "HTTP/1.1", 2: "HTTP/2", 3: "HTTP/1.0"}
    assert crawled.responses[-1]["body"] or crawled.responses[0]["body"]


def test_the_class_is_chosen_as_scrapy_does(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    types = {
        "/html": b"text/html",
        "/xml": b"text/xml",
        "/json": b"application/json",
        "/binary": b"application/octet-stream",
    }

    def app(seen: SeenRequest) -> Reply:
        return Reply(headers=[(b"content-type", types[seen.path])], body=b"\0\1\2")

    with make_origin(app) as origin:
        crawled = crawl(*(f"{origin.url}{path}" for path in types))
    classes = {r["number"]: r["class"] for r in crawled.responses}
    assert classes == {0: "HtmlResponse", 1: "XmlResponse", 2: "JsonResponse", 3: "Response"}


TEXT = b"unpacked by HttpCompressionMiddleware"
PACKED = {
    "gzip": gzip.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstd.compress(TEXT),
}


def test_bodies_are_not_decompressed_by_the_worker(
    crawl: RunCrawl, make_origin: MakeOrigin
) -> None:
    def app(seen: SeenRequest) -> Reply:
        encoding = seen.path[1:]
        headers = [(b"content-type", b"text/html"), (b"content-encoding", encoding.encode())]
        return Reply(headers=headers, body=PACKED[encoding])

    with make_origin(app) as origin:
        urls = [f"{origin.url}/{encoding}" for encoding in PACKED]
        on = crawl(*urls)
        off = crawl(*urls, COMPRESSION_ENABLED=False)
    assert [r["body"].encode() for r in on.responses] == [TEXT] * 3
    for response in off.responses:
        packed = PACKED[response["url"].rpartition("/")[2]]
        assert response["body"].encode("latin-1") == packed


def test_thousands_of_headers(crawl: RunCrawl) -> None:
    lines = b"".join(b"X-Many: %d\r\n" % n for n in range(4000))
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok") as origin:
        crawled = crawl(origin.url)
    assert values_of(crawled.responses[0], "X-Many") == [str(n) for n in range(4000)]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (b"X-Large: %s\r\n" % (b"v" * 1000) * 1000, "Too large response headers"),
        (b"X-Many: 1\r\n" * 6000, "Too many response headers"),
        (b"X-Huge: %s\r\n" % (b"v" * 400_000), "larger than libcurl takes"),
    ],
    ids=["a megabyte", "too many", "one line"],
)
def test_headers_beyond_the_limits_of_libcurl_are_a_clear_failure(
    crawl: RunCrawl, headers: bytes, text: str
) -> None:
    """300 kB and 5,000 lines are built into it. Scrapy's own handler takes more of them."""
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + headers + b"\r\nok") as origin:
        crawled = crawl(origin.url, RETRY_ENABLED=False)
    (error,) = crawled.errors
    assert error["type"] == "DownloadFailedError"
    assert text in error["text"]
    assert 'meta["curl_safe"] = False' in error["text"]


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n"
         b"0\r\nX-Trailer: 1\r\n\r\n", "abcde"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", "until the end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
         b"Content-Length: 2\r\n\r\nok", "ok"),
        (b"HTTP/1.1 200 OK\r\nX-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ],
    ids=["chunked", "until close", "empty", "early hints", "folded"],
)  # fmt: skip
def test_unusual_answers(crawl: RunCrawl, answer: bytes, body: str) -> None:
    with RawOrigin(answer) as origin:
        crawled = crawl(origin.url)
    (response,) = crawled.responses
    assert response["status"] == 200
    assert response["body"] == body
    names = [name for name, _ in response["headers"]]
    assert "X-Trailer" not in names
    assert "Link" not in names


def test_a_header_line_without_a_colon_is_a_clear_failure(crawl: RunCrawl) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 2\r\n\r\nok") as origin:
        crawled = crawl(origin.url, RETRY_ENABLED=False)
    assert crawled.errors[0]["type"] == "DownloadFailedError"
    assert "Header without colon" in crawled.errors[0]["text"]


# Limits


def answer(size: int, length: bool) -> bytes:
    header = b"Content-Length: %d\r\n" % size if length else b""
    return b"HTTP/1.1 200 OK\r\n" + header + b"\r\n" + b"x" * size


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_body_above_the_maximum_is_cut_off(crawl: RunCrawl, length: bool) -> None:
    with RawOrigin(answer(100_000, length)) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/setting"},
            {"url": f"{origin.url}/request", "meta": {"download_maxsize": 200_000}},
            {"url": f"{origin.url}/none", "meta": {"download_maxsize": 0}},
            DOWNLOAD_MAXSIZE=50_000,
        )
    assert crawled.numbers == [1, 2]
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert ("Expected to receive 100000 bytes" if length else "Received ") in error["text"]
    assert len(origin.heads) == 3


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_body_above_the_warning_size_is_named_in_the_log(crawl: RunCrawl, length: bool) -> None:
    with RawOrigin(answer(100_000, length)) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/setting"},
            {"url": f"{origin.url}/request", "meta": {"download_warnsize": 200_000}},
            DOWNLOAD_WARNSIZE=50_000,
        )
    assert_all_pages(crawled, 2)
    assert crawled.log.count("which is larger than download warn size (50000) in request") == 1
    words = "Expected to receive 100000 bytes" if length else "Received "
    assert f"WARNING: {words}" in crawled.log


def test_an_endless_body_never_reaches_the_crawler(crawl: RunCrawl) -> None:
    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        for _ in range(10_000):
            yield b"x" * 1_000_000

    with RawOrigin(script) as origin:
        crawled = crawl(origin.url, DOWNLOAD_MAXSIZE=20_000_000, RETRY_ENABLED=False)
    assert crawled.errors[0]["type"] == "DownloadCancelledError"
    assert origin.abandoned == 1
    assert origin.sent < 100_000_000
    grown = crawled.stats["memory_at_end"] - crawled.stats["memory_at_start"]
    assert grown < 15_000_000


CUT_SHORT = {
    "by length": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
    "in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
}


@pytest.mark.parametrize("cut", CUT_SHORT.values(), ids=CUT_SHORT.keys())
def test_a_body_that_ends_early(crawl: RunCrawl, cut: bytes) -> None:
    with RawOrigin(cut) as origin:
        crawled = crawl(
            f"{origin.url}/a",
            f"{origin.url}/b",
            {"url": f"{origin.url}/c", "meta": {"download_fail_on_dataloss": False}},
            RETRY_ENABLED=False,
        )
        lenient = crawl(origin.url, DOWNLOAD_FAIL_ON_DATALOSS=False)
    assert [e["type"] for e in crawled.errors] == ["ResponseDataLossError"] * 2
    assert crawled.log.count("WARNING: Got data loss in") == 1
    for response in (crawled.responses[0], lenient.responses[0]):
        assert response["body"] == "only this"
        assert response["flags"] == ["dataloss"]


def pauses(*pieces: Piece) -> Script:
    return lambda head: pieces


A_BYTE_NOW_AND_THEN: list[Piece] = [b"x", 0.05]

STALLS = {
    "no first byte": pauses(HOLD),
    "headers that never end": pauses(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n", HOLD),
    "a body that stalls": pauses(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", HOLD),
    "a byte now and then": pauses(
        b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", *A_BYTE_NOW_AND_THEN * 5000
    ),
}


@pytest.mark.parametrize("stall", STALLS.values(), ids=STALLS.keys())
def test_the_timeout_bounds_the_whole_download(crawl: RunCrawl, stall: Script) -> None:
    with RawOrigin(stall) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/request", "meta": {"download_timeout": 0.3}},
            {"url": f"{origin.url}/setting"},
            DOWNLOAD_TIMEOUT=0.6,
            RETRY_ENABLED=False,
        )
        assert [e["type"] for e in crawled.errors] == ["DownloadTimeoutError"] * 2
        assert len(origin.heads) == 2


def test_a_reset_in_the_middle_of_a_body_is_a_failure(crawl: RunCrawl) -> None:
    script = pauses(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome", 0.05, RESET)
    with RawOrigin(script) as origin:
        crawled = crawl(origin.url, RETRY_TIMES=1)
    assert crawled.errors[0]["type"] in ("DownloadFailedError", "ResponseDataLossError")
    assert len(origin.heads) == 2
    assert crawled.stat("handshake/failure_count") == 0


# Signals


@pytest.mark.parametrize("fail", [True, False])
@pytest.mark.parametrize("signal", ["headers_received", "bytes_received"])
def test_stop_download(
    crawl: RunCrawl, signal: Literal["headers_received", "bytes_received"], fail: bool
) -> None:
    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\nX-A: 1\r\n\r\n"
        for _ in range(1000):
            yield b"x" * 1_000_000

    with RawOrigin(script) as origin:
        crawled = crawl(
            origin.url,
            DOWNLOAD_WARNSIZE=0,
            scenario=Scenario(stop_at=signal, stop_fails=fail),
        )
        # The transfer itself stops, not only its report.
        assert origin.abandoned == 1
    assert origin.sent < 500_000_000
    if fail:
        assert crawled.errors[0]["type"] == "StopDownload"
        assert crawled.errors[0]["stopped_flags"] == ["download_stopped"]
    else:
        (response,) = crawled.responses
        assert response["flags"] == ["download_stopped"]
        assert ["X-A", "1"] in response["headers"]
        assert bool(response["body"]) == (signal == "bytes_received")
        assert not response["meta"]["curl_safe_info"]["connection_reused"]
    assert crawled.stat("handshake/success_count") == 1


def test_a_stopped_download_frees_its_connection_at_once(crawl: RunCrawl) -> None:
    """The second answer waits until the origin has seen the first one abandoned, while the worker
    lives."""

    def script(head: bytes) -> Iterator[Piece]:
        if b"/second" in head:
            yield lambda: origin.abandoned
            yield b"HTTP/1.1 200 OK\r\nX-Abandoned: %d\r\n" % origin.abandoned
            yield b"Content-Length: 0\r\n\r\n"
        else:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"
            yield HOLD

    with RawOrigin(script) as origin:
        crawled = crawl(
            f"{origin.url}/first",
            f"{origin.url}/second",
            scenario=Scenario(stop_at="headers_received"),
        )
    second = next(r for r in crawled.responses if r["url"].endswith("/second"))
    assert values_of(second, "X-Abandoned") == ["1"]


def test_whoever_listens_gets_all_bytes(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    size = 30_000_000
    with make_origin(lambda seen: Reply(body=bytes(range(250)) * (size // 250))) as origin:
        crawled = crawl(origin.url, scenario=Scenario(listen=True))
    assert crawled.responses[0]["body"].encode("latin-1") == bytes(range(250)) * (size // 250)
    assert crawled.stats["heard_bytes"] == size
    assert crawled.stats["heard_headers"] == 1


@pytest.mark.skipif(not hasattr(Curl, "pause"), reason="this curl_cffi cannot pause a transfer")
def test_a_slow_listener_slows_the_origin_and_fills_no_memory(crawl: RunCrawl) -> None:
    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        for _ in range(1000):
            yield b"x" * 1_000_000

    with RawOrigin(script) as origin:
        crawled = crawl(
            origin.url,
            DOWNLOAD_WARNSIZE=0,
            scenario=Scenario(
                stop_at="bytes_received",
                stop_after_bytes=2_000_001,
                stop_fails=True,
                listener_sleep_seconds=0.01,
            ),
        )
        assert origin.abandoned == 1
    assert crawled.errors[0]["type"] == "StopDownload"
    assert crawled.stats["heard_bytes"] > 2_000_000
    # Beside what was heard there are 2 MB in the worker, and the buffers of two sockets.
    assert origin.sent < 30_000_000

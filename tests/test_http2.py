"""HTTP/2 as origins speak it, with and without mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame

from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.scripted_http2 import CLOSE, RESET, Piece, ScriptedHttp2, data, headers
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario
from testkit.waiting import wait_until


def good(stream: int) -> list[Frame]:
    return [headers(stream), data(stream, b"ok", end=True)]


def rst(stream: int, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> RstStreamFrame:
    return RstStreamFrame(stream, error_code=code)


def goaway(last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> GoAwayFrame:
    return GoAwayFrame(0, last_stream_id=last, error_code=code)


DATA, HEADERS, PUSH_PROMISE, UNKNOWN = 0, 1, 5, 0xEE
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


def raw_frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    start = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return start + stream.to_bytes(4, "big") + payload


Answer = Callable[[int], list[Piece]]

FAULTS: dict[str, Answer] = {
    "reset before the headers": lambda s: [rst(s)],
    "reset after the headers": lambda s: [headers(s), 0.05, rst(s)],
    "reset in the body": lambda s: [headers(s), data(s, b"part"), 0.05, rst(s)],
    "reset without an error in the body": lambda s: [
        headers(s, (b"content-length", b"100")), data(s, b"part"), rst(s, ErrorCodes.NO_ERROR),
    ],
    "told to go away with an error": lambda s: [
        headers(s), data(s, b"part"), goaway(s, ErrorCodes.PROTOCOL_ERROR), CLOSE,
    ],
    "closed in the body": lambda s: [headers(s), data(s, b"part"), 0.05, CLOSE],
    "connection reset in the body": lambda s: [headers(s), data(s, b"part"), 0.05, RESET],
    "closed before the headers": lambda s: [CLOSE],
    "a frame larger than allowed": lambda s: [headers(s), raw_frame(DATA, s, b"x" * 20_000), 0.5],
    "garbage": lambda s: [b"\xff" * 200],
    "headers that cannot be unpacked": lambda s: [
        raw_frame(HEADERS, s, b"\xff" * 4, END_HEADERS), 0.5,
    ],
    "data ahead of the headers": lambda s: [data(s, b"ok", end=True)],
    "data for a stream that is not there": lambda s: [data(s + 2, b"ok"), 0.5],
    "a pushed stream": lambda s: [
        raw_frame(PUSH_PROMISE, s, b"\0\0\0\2\x82", END_HEADERS), 0.5,
    ],
    "no status": lambda s: [raw_frame(HEADERS, s, b"", END_HEADERS | END_STREAM)],
    "a body longer than announced": lambda s: [
        headers(s, (b"content-length", b"1")), data(s, b"more", end=True),
    ],
    "a body shorter than announced": lambda s: [
        headers(s, (b"content-length", b"100")), data(s, b"part", end=True),
    ],
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_costs_a_retry(crawl: RunCrawl, fault: Answer) -> None:
    """Every third request meets the fault; a part of a body is never taken for a response."""

    def script(stream: int, request: int) -> Iterable[Piece]:
        return fault(stream) if request % 3 == 1 else good(stream)

    with ScriptedHttp2(script) as origin:
        crawled = crawl(*urls(origin, 12), RETRY_TIMES=30, DOWNLOAD_TIMEOUT=3)
        assert origin.seen >= 16
    assert crawled.errors == []
    assert [r["body"] for r in crawled.responses] == ["ok"] * 12
    assert crawled.stats["retry/count"] > 0
    assert crawled.stat("worker/crash_count") == 0


HARMLESS: dict[str, Answer] = {
    "an unknown frame": lambda s: [raw_frame(UNKNOWN, s, b"what is this"), *good(s)],
    "a ping": lambda s: [PingFrame(0, b"are you?"), *good(s)],
    "an answer while going away": lambda s: [headers(s), goaway(s), 0.05, data(s, b"ok", end=True)],
    "trailers": lambda s: [
        headers(s), data(s, b"ok"),
        raw_frame(HEADERS, s, b"\0\1x\1y", END_HEADERS | END_STREAM),
    ],
    "interim answers": lambda s: [headers(s, status=103), *good(s)],
    "a body in many frames": lambda s: [
        headers(s), data(s, b"o"), data(s, b""), 0.05, data(s, b"k"), data(s, b"", end=True),
    ],
    "padding": lambda s: [
        headers(s), raw_frame(DATA, s, b"\5ok" + bytes(5), PADDED | END_STREAM),
    ],
}  # fmt: skip


@pytest.mark.parametrize("answer", HARMLESS.values(), ids=HARMLESS.keys())
def test_what_http2_allows_is_taken(crawl: RunCrawl, answer: Answer) -> None:
    with ScriptedHttp2(lambda stream, request: answer(stream)) as origin:
        crawled = crawl(*urls(origin, 5), CONCURRENT_REQUESTS=1)
    assert [r["body"] for r in crawled.responses] == ["ok"] * 5
    assert [r["status"] for r in crawled.responses] == [200] * 5
    assert "retry/count" not in crawled.stats
    assert all(name != "X" for r in crawled.responses for name, _ in r["headers"])


def test_a_refused_stream_is_tried_again(crawl: RunCrawl) -> None:
    """The origin did nothing with the request (RFC 9113 section 8.7). By libcurl, if its method is
    idempotent, else by Scrapy."""

    def script(stream: int, request: int) -> Iterable[Piece]:
        return [rst(stream, ErrorCodes.REFUSED_STREAM)] if request == 2 else good(stream)

    for method, retries in (("GET", 0), ("POST", 1)):
        with ScriptedHttp2(script) as origin:
            crawled = crawl(
                *({"url": url, "method": method} for url in urls(origin, 4)),
                CONCURRENT_REQUESTS=1,
            )
            assert origin.seen == 5
        assert [r["body"] for r in crawled.responses] == ["ok"] * 4
        assert crawled.stats.get("retry/reason_count/connection_died", 0) == retries
        assert crawled.stat("connection/resent_count") == 1 - retries


def test_a_hundred_streams_on_one_connection(crawl: RunCrawl) -> None:
    def script(stream: int, request: int) -> Iterable[Piece]:
        if request > 1:
            yield lambda: origin.most_at_once >= 100
        yield from good(stream)

    with ScriptedHttp2(script) as origin:
        crawled = crawl(
            # The first one opens the connection that the others share.
            {"url": f"{origin.url}/first", "priority": 1},
            *urls(origin, 100),
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=101,
            CONCURRENT_REQUESTS_PER_DOMAIN=101,
            scenario=Scenario(wait_for_first=True),
        )
        assert origin.accepted == 1
        assert origin.most_at_once == 100
    assert_all_pages(crawled, 101)
    assert crawled.stat("connection/reused_count") == 100


def test_a_burst_puts_no_more_on_a_connection_than_every_origin_allows(crawl: RunCrawl) -> None:
    """The origin allows 250 streams; libcurl cannot know of a limit of 100 before the SETTINGS."""

    def script(stream: int, request: int) -> Iterable[Piece]:
        if request > 1:
            yield lambda: origin.most_at_once >= 240
        yield from good(stream)

    with ScriptedHttp2(script) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/first", "priority": 1},
            *urls(origin, 240),
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=241,
            CONCURRENT_REQUESTS_PER_DOMAIN=241,
            scenario=Scenario(wait_for_first=True),
        )
        assert origin.most_at_once == 240
        assert origin.most_on_a_connection == 100
    assert_all_pages(crawled, 241)


def test_head_and_statuses_without_a_body(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(status=int(seen.path[1:]), body=b"not for all")

    with TlsOrigin(app, alpn=("h2",)) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/200", "method": "HEAD"},
            f"{origin.url}/204",
            f"{origin.url}/304",
            HTTPERROR_ALLOW_ALL=True,
        )
    assert sorted((r["status"], r["body"]) for r in crawled.responses) == [
        (200, ""), (204, ""), (304, ""),
    ]  # fmt: skip


def endless(stream: int, request: int) -> Iterable[Piece]:
    yield headers(stream)
    # As much as the connection's window takes; the rest waits for nobody.
    for _ in range(500):
        yield data(stream, b"x" * 16_000)
    yield 60.0


@pytest.mark.parametrize("length", [True, False], ids=["announced", "not announced"])
def test_a_body_above_the_maximum_is_cut_off(crawl: RunCrawl, length: bool) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(body=b"x" * 3_000_000)

    origin = TlsOrigin(app, alpn=("h2",)) if length else ScriptedHttp2(endless)
    with origin:
        crawled = crawl(origin.url, DOWNLOAD_MAXSIZE=50_000, RETRY_ENABLED=False)
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert ("Expected to receive 3000000 bytes" if length else "Received") in error["text"]


@pytest.mark.parametrize("fail", [True, False])
def test_stop_download_resets_the_stream(crawl: RunCrawl, fail: bool) -> None:
    def script(stream: int, request: int) -> Iterable[Piece]:
        return [headers(stream), data(stream, b"x" * 100), 60.0]

    with ScriptedHttp2(script) as origin:
        crawled = crawl(origin.url, scenario=Scenario(stop_at="headers_received", stop_fails=fail))
        wait_until(lambda: origin.resets)
    if fail:
        assert crawled.errors[0]["type"] == "StopDownload"
    else:
        assert crawled.responses[0]["flags"] == ["download_stopped"]


@pytest.mark.parametrize(
    "stall", [[], ["headers"], ["headers", "data"]], ids=["no headers", "no data", "a stalled body"]
)
def test_the_timeout_bounds_a_stream_and_spares_its_connection(
    crawl: RunCrawl, stall: list[str]
) -> None:
    def script(stream: int, request: int) -> Iterable[Piece]:
        if request > 1:
            return good(stream)
        pieces = {"headers": headers(stream), "data": data(stream, b"part")}
        return [*(pieces[name] for name in stall), 60.0]

    with ScriptedHttp2(script) as origin:
        crawled = crawl(
            {"url": origin.url, "meta": {"download_timeout": 0.3}},
            f"{origin.url}/second",
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
            RETRY_ENABLED=False,
        )
        assert origin.accepted == 1
    assert [e["type"] for e in crawled.errors] == ["DownloadTimeoutError"]
    assert [r["body"] for r in crawled.responses] == ["ok"]


@pytest.mark.parametrize("keep", [False, True])
def test_data_that_is_lost(crawl: RunCrawl, keep: bool) -> None:
    def script(stream: int, request: int) -> Iterable[Piece]:
        return [
            headers(stream, (b"content-length", b"100")), data(stream, b"part"), 0.05, CLOSE,
        ]  # fmt: skip

    with ScriptedHttp2(script) as origin:
        crawled = crawl(origin.url, DOWNLOAD_FAIL_ON_DATALOSS=not keep, RETRY_ENABLED=False)
    if keep:
        assert [(r["body"], r["flags"]) for r in crawled.responses] == [("part", ["dataloss"])]
    else:
        assert [e["type"] for e in crawled.errors] == ["ResponseDataLossError"]


# The race of a closing connection


def closes(stream: int, request: int) -> Iterable[Piece]:
    """Answer, and close the connection before the client's next request arrives."""
    return [headers(stream), data(stream, b"ok", end=True), goaway(stream), CLOSE]


def assert_none_is_lost(
    start_crawl: StartCrawl, requests: int, *, timeout_seconds: float = 250
) -> None:
    with ScriptedHttp2(closes) as origin:
        crawl = start_crawl(
            *urls(origin, requests),
            CONCURRENT_REQUESTS=64,
            CONCURRENT_REQUESTS_PER_DOMAIN=64,
            # It costs a retry at most.
            RETRY_TIMES=1,
            LOG_LEVEL="INFO",
        )
        crawled = crawl.finish(timeout_seconds)
    assert_all_pages(crawled, requests)


def test_an_origin_that_closes_after_each_answer(start_crawl: StartCrawl) -> None:
    assert_none_is_lost(start_crawl, 500)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_origin_that_closes_after_each_of_20_000_answers(start_crawl: StartCrawl) -> None:
    assert_none_is_lost(start_crawl, 20_000, timeout_seconds=880)


FORBIDDEN = {
    "connection": b"close",
    "keep-alive": b"timeout=5",
    "proxy-connection": b"keep-alive",
    "transfer-encoding": b"chunked",
    "upgrade": b"h2c",
    "X-Upper-Case": b"1",
}


def with_forbidden_header(name: str) -> Callable[[int, int], list[Piece]]:
    field = name.encode(), FORBIDDEN[name]
    return lambda stream, request: [
        headers(stream, (b"content-type", b"text/html"), field), data(stream, b"ok", end=True),
    ]  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
@pytest.mark.parametrize("listen", [False, True], ids=["whole", "streamed"])
def test_headers_that_http2_forbids_cost_a_retry_by_http_1_1(
    crawl: RunCrawl, name: str, listen: bool
) -> None:
    with ScriptedHttp2(with_forbidden_header(name)) as origin:
        crawled = crawl(f"{origin.url}/page", scenario=Scenario(listen=listen))
        assert origin.seen == 1
        assert [(seen.path, seen.http_version) for seen in origin.requests] == [("/page", "1.1")]
    assert [response["protocol"] for response in crawled.responses] == ["HTTP/1.1"]
    assert crawled.stats["retry/count"] == 1
    assert crawled.stats["retry/reason_count/http2_protocol"] == 1
    assert crawled.stat("handshake/failure_count") == 0


@pytest.mark.parametrize(
    ("meta", "settings", "tries"),
    [
        ({"dont_retry": True}, {}, 1),
        ({}, {"RETRY_ENABLED": False}, 1),
        ({"curl_safe": {"http_version": "v2"}}, {}, 3),
        ({}, {"CURL_SAFE_HTTP_VERSION": "v2"}, 3),
    ],
)
def test_what_the_user_says_of_retries_and_versions_wins(
    crawl: RunCrawl, meta: dict[str, Any], settings: dict[str, Any], tries: int
) -> None:
    with ScriptedHttp2(with_forbidden_header("connection")) as origin:
        crawled = crawl({"url": origin.url, "meta": meta}, **settings)
        assert origin.seen == tries
        assert origin.requests == []
    (error,) = crawled.errors
    assert error["type"] == "Http2ProtocolError"
    assert "name: [connection]" in error["text"]
    assert error["text"].endswith('meta["curl_safe"] = {"http_version": "v1"}')


def test_one_origin_that_breaks_http2_says_nothing_of_another(crawl: RunCrawl) -> None:
    def script(stream: int, request: int) -> Iterable[Piece]:
        return good(stream)

    def app(seen: SeenRequest) -> Reply:
        path = seen.path.encode()
        there = b"/same" if path == b"/first" else other.url.encode()
        return Reply(302, [(b"Location", there)]) if path != b"/last" else Reply()

    with (
        ScriptedHttp2(script) as other,
        ScriptedHttp2(with_forbidden_header("connection"), app) as origin,
    ):
        crawled = crawl(f"{origin.url}/first")
        assert origin.seen == 1
        assert [seen.path for seen in origin.requests] == ["/first", "/same"]
        assert other.seen == 1
    assert [response["protocol"] for response in crawled.responses] == ["HTTP/2"]


def test_a_post_that_is_taken_by_http_1_1_only(crawl: RunCrawl) -> None:
    """libcurl turns to HTTP/1.1 by itself, but a POST is not for it to send again."""

    def script(stream: int, request: int) -> Iterable[Piece]:
        return [rst(stream, ErrorCodes.HTTP_1_1_REQUIRED)]

    for method, retries in (("GET", 0), ("POST", 2)):
        with ScriptedHttp2(script) as origin:
            crawled = crawl({"url": f"{origin.url}/page", "method": method})
            assert origin.seen == max(1, retries)
            assert [seen.method for seen in origin.requests] == [method]
        assert [response["protocol"] for response in crawled.responses] == ["HTTP/1.1"]
        assert crawled.stats.get("retry/count", 0) == retries

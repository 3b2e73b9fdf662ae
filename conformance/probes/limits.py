"""Timeouts, sizes, lost data, and the signals of a running download."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

from hyperframe.frame import RstStreamFrame

from conformance.probe import Run, must, probe
from testkit.crawling import assert_all_pages
from testkit.origins.raw import CUT, HOLD, RESET, Piece, RawOrigin, Script
from testkit.origins.scripted_http2 import Piece as Http2Piece
from testkit.origins.scripted_http2 import ScriptedHttp2, data, headers
from testkit.scenario import Scenario

LIMITS = "Limits"
SIGNALS = "Signals"

STALLED: list[Piece] = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", HOLD]


def timed_out(run: Run, pieces: list[Piece], *requests: dict[str, Any], **settings: Any) -> None:
    with RawOrigin(lambda head: pieces) as origin:
        crawled = run.crawl(
            *({"url": origin.url, **r} for r in requests or ({},)), RETRY_ENABLED=False, **settings
        )
    must(crawled.errors, crawled.responses)
    for error in crawled.errors:
        must("Timeout" in error["type"] or "timed out" in error["text"], error)


@probe(LIMITS, "`DOWNLOAD_TIMEOUT` bounds a body that stalls")
def timeout_setting(run: Run) -> None:
    timed_out(run, STALLED, DOWNLOAD_TIMEOUT=0.5)


@probe(LIMITS, "`download_timeout` by request")
def timeout_by_request(run: Run) -> None:
    timed_out(run, STALLED, {"meta": {"download_timeout": 0.5}})


@probe(LIMITS, "`download_timeout` bounds a body of a byte now and then")
def drip(run: Run) -> None:
    byte: list[Piece] = [b"x", 0.05]
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n", *byte * 9000]
    timed_out(run, pieces, {"meta": {"download_timeout": 0.5}})


@probe(LIMITS, "`download_timeout` bounds headers that never end")
def no_headers(run: Run) -> None:
    timed_out(run, [b"HTTP/1.1 200 OK\r\nX-A: 1\r\n", HOLD], {"meta": {"download_timeout": 0.5}})


def endless(length: bool) -> Script:
    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\n"
        yield b"Content-Length: 300000000\r\n\r\n" if length else b"\r\n"
        for _ in range(300):
            yield b"x" * 1_000_000

    return script


def cut_off(run: Run, length: bool, by_request: bool) -> None:
    limit = 1_000_000
    with RawOrigin(endless(length)) as origin:
        crawled = run.crawl(
            {"url": origin.url, "meta": {"download_maxsize": limit} if by_request else {}},
            DOWNLOAD_MAXSIZE=0 if by_request else limit,
            RETRY_ENABLED=False,
        )
        must(crawled.errors, "a response")
        must(crawled.errors[0]["type"] == "DownloadCancelledError", crawled.errors)
        must(origin.sent < 100_000_000, f"the origin could send {origin.sent} bytes")


@probe(LIMITS, "`DOWNLOAD_MAXSIZE`, where a length is announced")
def maxsize_announced(run: Run) -> None:
    cut_off(run, True, False)


@probe(LIMITS, "`DOWNLOAD_MAXSIZE`, where none is")
def maxsize(run: Run) -> None:
    cut_off(run, False, False)


@probe(LIMITS, "`download_maxsize` by request")
def maxsize_by_request(run: Run) -> None:
    cut_off(run, False, True)


@probe(LIMITS, "`DOWNLOAD_WARNSIZE` is said in the log")
def warnsize(run: Run) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 50_000) as origin:
        crawled = run.crawl(origin.url, DOWNLOAD_WARNSIZE=10_000)
    assert_all_pages(crawled, 1)
    must("warn size" in crawled.log)


def lost_data(run: Run, origin: RawOrigin | ScriptedHttp2) -> None:
    with origin:
        crawled = run.crawl(
            {"url": f"{origin.url}/fails"},
            {"url": f"{origin.url}/flagged", "meta": {"download_fail_on_dataloss": False}},
            RETRY_ENABLED=False,
        )
    must([e["number"] for e in crawled.errors] == [0], (crawled.errors, crawled.responses))
    (response,) = crawled.responses
    must(response["body"] == "part" and response["flags"] == ["dataloss"], response)


SHORT: Piece = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
UNENDED: Piece = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n"


@probe(LIMITS, "a body shorter than its length: a failure, or the flag `dataloss`")
def dataloss_by_length(run: Run) -> None:
    lost_data(run, RawOrigin(lambda head: [SHORT]))


@probe(LIMITS, "a chunked body without its end: a failure, or the flag `dataloss`")
def dataloss_in_chunks(run: Run) -> None:
    lost_data(run, RawOrigin(lambda head: [UNENDED]))


@probe(LIMITS, "the same where the connection is reset, or closed without TLS's close_notify")
def dataloss_by_reset(run: Run) -> None:
    for pieces in ([SHORT, RESET], [UNENDED, RESET], [SHORT, CUT], [UNENDED, CUT]):
        lost_data(run, RawOrigin(partial(always, pieces)))


def always(pieces: list[Piece], head: bytes) -> list[Piece]:
    return pieces


@probe(LIMITS, "the same where an HTTP/2 stream is reset")
def dataloss_of_stream(run: Run) -> None:
    def script(stream: int, request: int) -> list[Http2Piece]:
        return [headers(stream), data(stream, b"part"), RstStreamFrame(stream, error_code=2)]

    lost_data(run, ScriptedHttp2(script))


@probe(LIMITS, "a lost body is a `ResponseDataLossError`")
def dataloss_error(run: Run) -> None:
    with RawOrigin(lambda head: [SHORT]) as origin:
        crawled = run.crawl(origin.url, RETRY_ENABLED=False)
    must([e["type"] for e in crawled.errors] == ["ResponseDataLossError"], crawled.errors)


@probe(LIMITS, "a body that ends with the connection, without TLS's close_notify: the page")
def no_close_notify(run: Run) -> None:
    with RawOrigin(lambda head: [b"HTTP/1.1 200 OK\r\n\r\npage", CUT]) as origin:
        crawled = run.crawl(origin.url, RETRY_ENABLED=False)
    must([r["body"] for r in crawled.responses] == ["page"], crawled.errors)


@probe(SIGNALS, "`headers_received` and `bytes_received` are sent")
def heard(run: Run) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") as origin:
        crawled = run.crawl(origin.url, scenario=Scenario(listen=True))
    must(crawled.stats.get("heard_headers") == 1, "no headers_received")
    must(crawled.stats.get("heard_bytes") == 5, "no bytes_received")


def stops(run: Run, signal: Literal["headers_received", "bytes_received"], fail: bool) -> None:
    with RawOrigin(endless(True)) as origin:
        crawled = run.crawl(
            origin.url, DOWNLOAD_WARNSIZE=0, scenario=Scenario(stop_at=signal, stop_fails=fail)
        )
        must(origin.sent < 200_000_000, "the transfer went on")
    if fail:
        must(crawled.errors[0]["type"] == "StopDownload", crawled.errors)
    else:
        must(crawled.responses[0]["flags"] == ["download_stopped"], crawled.errors)


@probe(SIGNALS, "`StopDownload` at the headers")
def stop_at_headers(run: Run) -> None:
    stops(run, "headers_received", False)
    stops(run, "headers_received", True)


@probe(SIGNALS, "`StopDownload` in the body")
def stop_at_bytes(run: Run) -> None:
    stops(run, "bytes_received", False)
    stops(run, "bytes_received", True)

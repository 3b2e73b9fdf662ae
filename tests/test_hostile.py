"""Hostile origins and networks: each costs an error or a retry, and the crawl goes on."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from testkit.crawling import Crawled, urls
from testkit.fixtures import RunCrawl
from testkit.origins.certs import certs
from testkit.origins.loop import Origin, reset_on_close
from testkit.origins.raw import HOLD, Piece, RawOrigin, Script
from testkit.origins.streams import PlainStream, TlsStream
from testkit.origins.tls import Reply, TlsOrigin
from testkit.scenario import Scenario

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def outcomes(crawled: Crawled, requests: int) -> list[str]:
    """Assert that each request came to an end and no worker died; return the types of errors."""
    ended = [r["number"] for r in crawled.responses + crawled.errors]
    assert sorted(ended) == list(range(requests))
    assert crawled.stat("worker/crash_count") == crawled.stat("worker/hang_count") == 0
    return [error["type"] for error in crawled.errors]


def headers_without_end(head: bytes) -> Iterator[Piece]:
    yield b"HTTP/1.1 200 OK\r\n"
    for n in range(1_000_000):
        yield b"X-%d: %s\r\n" % (n, b"v" * 1000)


def one_header_without_end(head: bytes) -> Iterator[Piece]:
    yield b"HTTP/1.1 200 OK\r\nX: "
    for _ in range(100_000):
        yield b"v" * 10_000


def interim_answers_without_end(head: bytes) -> Iterator[Piece]:
    for _ in range(1_000_000):
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 10


def a_status_line_without_end(head: bytes) -> Iterator[Piece]:
    yield b"HTTP/1.1 200 "
    for _ in range(100_000):
        yield b"O" * 10_000


ENDLESS = [
    headers_without_end,
    one_header_without_end,
    interim_answers_without_end,
    a_status_line_without_end,
]


@pytest.mark.parametrize("script", ENDLESS)
def test_what_never_ends_is_cut_off(crawl: RunCrawl, script: Script) -> None:
    with RawOrigin(script) as origin, TlsOrigin() as other:
        crawled = crawl(
            origin.url, other.url, RETRY_ENABLED=False, DOWNLOAD_TIMEOUT=20, CURL_SAFE_WORKERS=1
        )
        assert origin.sent < 50_000_000
    (kind,) = outcomes(crawled, 2)
    assert kind == "DownloadFailedError"
    assert crawled.responses[0]["number"] == 1


def test_slow_loris_headers(crawl: RunCrawl) -> None:
    """The timeout bounds headers that arrive a byte at a time, for ever."""

    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\nX: "
        for _ in range(100_000):
            yield b"v"
            yield 0.02

    with RawOrigin(script) as origin:
        crawled = crawl(origin.url, RETRY_ENABLED=False, DOWNLOAD_TIMEOUT=0.5)
    assert outcomes(crawled, 1) == ["DownloadTimeoutError"]


def test_a_decompression_bomb_is_passed_on_as_it_is(crawl: RunCrawl) -> None:
    """Two gigabytes once unpacked: Scrapy, which unpacks them, knows DOWNLOAD_MAXSIZE."""
    packed = gzip.compress(bytes(2_000_000))
    bomb = packed * 1000
    reply = Reply(headers=[(b"content-encoding", b"gzip")], body=bomb)
    with TlsOrigin(lambda seen: reply) as origin:
        crawled = crawl(origin.url, COMPRESSION_ENABLED=False, DOWNLOAD_MAXSIZE=5_000_000)
        limited = crawl(origin.url, DOWNLOAD_MAXSIZE=5_000_000, RETRY_ENABLED=False)
    assert crawled.responses[0]["body"].encode("latin-1") == bomb
    grown = crawled.stats["memory_at_end"] - crawled.stats["memory_at_start"]
    assert grown < 40_000_000
    assert limited.responses == []
    assert outcomes(limited, 1) == ["IgnoreRequest"]


@pytest.mark.parametrize("listened", [False, True])
def test_a_hundred_thousand_chunks_of_a_byte(crawl: RunCrawl, listened: bool) -> None:
    chunks = b"1\r\nx\r\n" * 100_000
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    with RawOrigin(answer) as origin:
        crawled = crawl(origin.url, scenario=Scenario(listen=listened))
    assert outcomes(crawled, 1) == []
    assert crawled.responses[0]["body"] == "x" * 100_000


GARBAGE = {
    "bytes": b"\xff" * 500,
    "zeros": b"\0" * 500,
    "another protocol": b"220 ready for mail\r\n",
    "almost HTTP": b"HTTP/9.9 abc\r\n\r\n",
    "a status out of range": b"HTTP/1.1 7 x\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nx",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
    "length beyond measure": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    "length of 5,000 digits": b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nx" % (b"9" * 5000),
    "a chunk beyond measure": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"fffffffffffffffff\r\nx",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz\r\n",
    "an unknown transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: rot13\r\n\r\nx",
    "NUL in a header": b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 1\r\n\r\nx",
    "an upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nwhatever",
    "nothing": b"",
}


@pytest.mark.parametrize("listened", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_for_an_answer(crawl: RunCrawl, answer: bytes, listened: bool) -> None:
    with RawOrigin(answer) as origin, TlsOrigin() as other:
        crawled = crawl(
            origin.url,
            other.url,
            RETRY_ENABLED=False,
            DOWNLOAD_TIMEOUT=5,
            CURL_SAFE_WORKERS=1,
            HTTPERROR_ALLOW_ALL=True,
            scenario=Scenario(listen=listened),
        )
    outcomes(crawled, 2)
    assert 1 in [r["number"] for r in crawled.responses]
    assert "Traceback" not in crawled.log


class GarbageInTls(TlsOrigin):
    """Bytes that are no TLS record, in the middle of an answer."""

    async def serve(self, sock: socket.socket, number: int) -> None:
        stream = TlsStream(sock, certs().server_context(), await self.read_hello(sock))
        await stream.handshake()
        await stream.read()
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
        await stream.flush()
        await asyncio.get_running_loop().sock_sendall(sock, b"\x17\x03\x03\x00\x20" + b"\xee" * 64)


def test_a_record_of_garbage(crawl: RunCrawl) -> None:
    with GarbageInTls() as origin:
        crawled = crawl(origin.url, RETRY_TIMES=1)
        assert origin.accepted == 2
    (kind,) = outcomes(crawled, 1)
    assert kind in ("DownloadFailedError", "ResponseDataLossError")
    assert crawled.stat("handshake/failure_count") == 0


class ResetsAt(Origin):
    """Resets each connection one byte later than the one before, of its part of the handshake
    and of its answer, counted together."""

    def __init__(self) -> None:
        super().__init__()
        self._context = certs().server_context()
        self._context.num_tickets = 0
        self.length = threading.Event()

    async def serve(self, sock: socket.socket, number: int) -> None:
        left = number
        stream = _Counted(sock, self._context, await self.read_hello(sock), left)
        try:
            await stream.handshake()
            await stream.read()
            stream.write(OK)
            await stream.flush()
        except _SpentError:
            reset_on_close(sock)
            return
        # All of it has gone out before the bytes were spent.
        self.length.set()
        await PlainStream.close(stream)


class _SpentError(Exception):
    pass


class _Counted(TlsStream):
    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, first: bytes, left: int
    ) -> None:
        super().__init__(sock, context, first)
        self._left = left

    def _take(self) -> bytes:
        taken = super()._take()
        if taken and len(taken) >= self._left:
            self.sock.setblocking(True)
            self.sock.sendall(taken[: self._left])
            self.sock.setblocking(False)
            raise _SpentError
        self._left -= len(taken)
        return taken


def test_a_reset_at_every_byte_of_a_handshake_and_an_answer(crawl: RunCrawl) -> None:
    with ResetsAt() as origin:
        crawled = crawl(
            *urls(origin, 1800),
            CURL_SAFE_IMPERSONATE="chrome120",
            RETRY_ENABLED=False,
            # It would leave the origin alone after the first ten.
            CURL_SAFE_ADAPTIVE=False,
            LOG_LEVEL="INFO",
            CONCURRENT_REQUESTS=32,
            CONCURRENT_REQUESTS_PER_DOMAIN=32,
        )
        # So there was a reset at each byte before.
        assert origin.length.is_set()
        types = Counter(outcomes(crawled, 1800))
        # Some that came to an end may be those that libcurl 8.23 takes to be still warm.
        assert origin.accepted + types.pop("ConnectionDiedError", 0) >= 1800
    assert set(types) <= {"HandshakeError", "DownloadFailedError", "ResponseDataLossError"}
    assert {e["kind"] for e in crawled.errors if "kind" in e} <= {"syscall", "protocol"}
    assert all(r["body"] == "ok" for r in crawled.responses)
    assert crawled.stat("handshake/failure_count/syscall") > 500


def test_a_held_connection_holds_up_nobody(crawl: RunCrawl) -> None:
    """One worker, and an origin that answers nothing, beside one that does."""
    with RawOrigin(lambda head: [HOLD]) as held, TlsOrigin() as origin:
        crawled = crawl(
            *({"url": url, "meta": {"download_timeout": 3}} for url in urls(held, 8)),
            *urls(origin, 8, 100),
            CURL_SAFE_WORKERS=1,
            RETRY_ENABLED=False,
        )
    assert outcomes(crawled, 100) == ["DownloadTimeoutError"] * 8

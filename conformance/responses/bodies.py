"""Bodies of HTTP/1.1: how their length is told, chunks, and each way in which they end."""

from __future__ import annotations

from collections.abc import Iterator

from testkit.origins.raw import CUT, RESET, Piece

from .case import PAUSE, Case, Transport

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

LENGTHS = {
    "twice the same": b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    "two that differ": b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    "a list of the same": b"Content-Length: 2, 2\r\n\r\nok",
    "a list that differs": b"Content-Length: 2, 3\r\n\r\nok",
    "with a sign": b"Content-Length: +2\r\n\r\nok",
    "negative": b"Content-Length: -2\r\n\r\nok",
    "hexadecimal": b"Content-Length: 0x2\r\n\r\nok",
    "with a fraction": b"Content-Length: 2.0\r\n\r\nok",
    "with leading zeros": b"Content-Length: 0002\r\n\r\nok",
    "with blanks around": b"Content-Length:   2  \r\n\r\nok",
    "with text after": b"Content-Length: 2 bytes\r\n\r\nok",
    "text": b"Content-Length: two\r\n\r\nok",
    "empty": b"Content-Length:\r\n\r\nok",
    "beyond 64 bits": b"Content-Length: 99999999999999999999\r\n\r\nok",
    "of 5,000 digits": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nok",
    "shorter than the body": b"Content-Length: 1\r\n\r\nok",
    "0 and a body": b"Content-Length: 0\r\n\r\nok",
    "none and no body": b"\r\n",
    "beside chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "beside chunks, after them": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    "two that differ, beside chunks": b"Content-Length: 5\r\nContent-Length: 6\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
}

CODINGS = {
    "Chunked": b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "twice": b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n2\r\nok\r\n0\r\n\r\n",
    "identity": b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
    "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "unknown": b"Transfer-Encoding: rot13\r\n\r\nok",
    "unknown with a length": b"Transfer-Encoding: rot13\r\nContent-Length: 2\r\n\r\nok",
    "empty": b"Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nok",
    "with a parameter": b"Transfer-Encoding: chunked;q=1\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "with a letter before": b"Transfer-Encoding: xchunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "announced and not used": b"Transfer-Encoding: chunked\r\n\r\nok",
}

CHUNKS = {
    "digits in upper case": b"A\r\n0123456789\r\n0\r\n\r\n",
    "leading zeros": b"0002\r\nok\r\n000\r\n\r\n",
    "forty leading zeros": b"0" * 40 + b"2\r\nok\r\n0\r\n\r\n",
    "an extension": b"2;a=b\r\nok\r\n0;c\r\n\r\n",
    "an extension of 10,000 bytes": b"2;" + b"a" * 10_000 + b"\r\nok\r\n0\r\n\r\n",
    "a blank after the size": b"2 \r\nok\r\n0\r\n\r\n",
    "a blank before the size": b" 2\r\nok\r\n0\r\n\r\n",
    "sizes ended by line feeds": b"2\nok\n0\n\n",
    "no line end after the data": b"2\r\nok0\r\n\r\n",
    "data longer than its size": b"2\r\nokay\r\n0\r\n\r\n",
    "data shorter than its size": b"9\r\nok\r\n0\r\n\r\n",
    "a negative size": b"-2\r\nok\r\n0\r\n\r\n",
    "a size with a prefix": b"0x2\r\nok\r\n0\r\n\r\n",
    "an empty size": b"\r\nok\r\n0\r\n\r\n",
    "a size that is no number": b"2\r\nok\r\nzzz\r\nok\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"2\r\nok\r\nfffffffffffffffff\r\nx",
    "trailers": b"2\r\nok\r\n0\r\nX: 1\r\nY: 2\r\n\r\n",
    "a trailer without a colon": b"2\r\nok\r\n0\r\nno colon\r\n\r\n",
    "no line end after the last chunk": b"2\r\nok\r\n0\r\n",
    "the last size without a line end": b"2\r\nok\r\n0",
    "more after the last chunk": b"2\r\nok\r\n0\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    "many of a byte": b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n",
}

STATUSES = {
    "100, then 200": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "103 three times, then 200": b"HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\n" * 3
    + OK + b"Content-Length: 2\r\n\r\nok",
    "102 with a length, then 200": b"HTTP/1.1 102 x\r\nContent-Length: 5\r\n\r\n"
    + OK + b"Content-Length: 2\r\n\r\nok",
    "199, then 200": b"HTTP/1.1 199 x\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok",
    "101 nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nwhatever",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok",
    "204 in chunks": b"HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "205 with a body": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 2\r\n\r\nok",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
    "304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok",
    "407 without a proxy": b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "401 with NTLM": b"HTTP/1.1 401 x\r\nWWW-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nok",
    "417": b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nok",
    "302 with a Location that is no URL": b"HTTP/1.1 302 x\r\nLocation: http://[bad\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "302 with a scheme that is none": b"HTTP/1.1 302 x\r\nLocation: foo:bar\r\n"
    b"Content-Length: 2\r\n\r\nok",
    "HTTP/1.0 in chunks": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n\r\nok",
    "two answers": (OK + b"Content-Length: 2\r\n\r\nok") * 2,
}  # fmt: skip

TO_HEAD = {
    "a length": OK + b"Content-Length: 100\r\n\r\n",
    "a length and a body": OK + b"Content-Length: 2\r\n\r\nok",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "no length": OK + b"\r\n",
}

FRAMINGS: dict[str, list[bytes]] = {
    "a body by length": [OK + b"Content-Length: 100\r\n\r\nsome"],
    "a body by length that has not begun": [OK + b"Content-Length: 100\r\n\r\n"],
    "a chunk": [CHUNKED + b"9\r\nsome"],
    "chunks between two": [CHUNKED + b"4\r\nsome\r\n"],
    "chunks before the last line": [CHUNKED + b"4\r\nsome\r\n0\r\n"],
    "a body without a length": [OK + b"\r\nsome"],
    "a body without a length that has not begun": [OK + b"\r\n"],
}

ENDS: dict[tuple[str, Transport], list[Piece]] = {
    ("closed", "TCP"): [],
    ("reset", "TCP"): [PAUSE, RESET],
    ("closed", "TLS"): [],
    ("closed without close_notify", "TLS"): [CUT],
    ("reset", "TLS"): [PAUSE, RESET],
}


def cases() -> Iterator[Case]:
    for name, rest in LENGTHS.items():
        yield Case(f"Content-Length: {name}", "TCP", [OK + rest])
    for name, rest in CODINGS.items():
        yield Case(f"Transfer-Encoding: {name}", "TCP", [OK + rest])
    for name, chunks in CHUNKS.items():
        yield Case(f"chunks: {name}", "TLS", [CHUNKED + chunks])
    for name in ("a size that is no number", "data longer than its size"):
        yield Case(f"chunks: {name}", "TCP", [CHUNKED + CHUNKS[name]], keep=True)
    for name, answer in STATUSES.items():
        yield Case(f"status: {name}", "TCP", [answer])
    for name, answer in TO_HEAD.items():
        yield Case(f"to HEAD: {name}", "TLS", [answer], method="HEAD")
    for keep in (False, True):
        for (how, transport), end in ENDS.items():
            for framing, pieces in FRAMINGS.items():
                yield Case(f"{how} in {framing}", transport, [*pieces, *end], keep=keep)

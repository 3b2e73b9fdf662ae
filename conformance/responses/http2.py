"""HTTP/2: heads, frames, and each way in which a stream ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from h2.errors import ErrorCodes
from hpack import Encoder, NeverIndexedHeaderTuple
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from testkit.origins.scripted_http2 import CLOSE, CUT, RESET, Piece, data, headers

from .case import PAUSE, Case

Frames = Callable[[int], Sequence[Piece]]

DATA, HEADERS, PUSH_PROMISE, UNKNOWN = 0, 1, 5, 0xEE
END_STREAM, END_HEADERS, PADDED = 1, 4, 8


def raw_frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    start = len(payload).to_bytes(3, "big") + bytes([kind, flags])
    return start + stream.to_bytes(4, "big") + payload


def block(*fields: tuple[bytes, bytes]) -> bytes:
    encoded: bytes = Encoder().encode([NeverIndexedHeaderTuple(*field) for field in fields])
    return encoded


# Without Huffman's code, with which hpack takes seconds for it.
LONG_BLOCK: bytes = Encoder().encode(
    [(b":status", b"200"), NeverIndexedHeaderTuple(b"a", b"x" * 60_000)], huffman=False
)


def listed(stream: int, *fields: tuple[bytes, bytes], end: bool = False) -> Frame:
    """Make HEADERS of exactly these fields."""
    frame = HeadersFrame(stream, block(*fields), flags=["END_HEADERS"])
    if end:
        frame.flags.add("END_STREAM")
    return frame


def rst(stream: int, code: ErrorCodes) -> Frame:
    return RstStreamFrame(stream, error_code=code)


def goaway(last: int, code: ErrorCodes = ErrorCodes.NO_ERROR) -> Frame:
    return GoAwayFrame(0, last_stream_id=last, error_code=code)


def with_field(name: bytes, value: bytes) -> Frames:
    return lambda s: [headers(s, (name, value)), data(s, b"ok", end=True)]


def with_status(value: bytes) -> Frames:
    return lambda s: [listed(s, (b":status", value)), data(s, b"ok", end=True)]


HEADS: dict[str, Frames] = {
    "a name in upper case": with_field(b"X-A", b"1"),
    "connection": with_field(b"connection", b"close"),
    "keep-alive": with_field(b"keep-alive", b"timeout=5"),
    "transfer-encoding": with_field(b"transfer-encoding", b"chunked"),
    "proxy-connection": with_field(b"proxy-connection", b"close"),
    "upgrade": with_field(b"upgrade", b"h2c"),
    "te": with_field(b"te", b"trailers"),
    "an empty name": with_field(b"", b"1"),
    "an empty value": with_field(b"a", b""),
    "a blank in the name": with_field(b"x y", b"1"),
    "a colon in the name": with_field(b"x:y", b"1"),
    "blanks around the value": with_field(b"a", b" 1 "),
    "a NUL in the value": with_field(b"a", b"a\0b"),
    "CR and LF in the value": with_field(b"a", b"1\r\nc: 3"),
    "a value in UTF-8": with_field(b"a", "Größe".encode()),
    "a value in latin-1": with_field(b"a", b"Gr\xf6\xdfe"),
    "a value of 60,000 bytes": lambda s: [
        HeadersFrame(s, LONG_BLOCK[:16_000]),
        ContinuationFrame(s, LONG_BLOCK[16_000:32_000]),
        ContinuationFrame(s, LONG_BLOCK[32_000:48_000]),
        ContinuationFrame(s, LONG_BLOCK[48_000:], flags=["END_HEADERS"]),
        data(s, b"ok", end=True),
    ],
    "an unknown pseudo-header": with_field(b":what", b"1"),
    "the pseudo-header of a request": with_field(b":path", b"/"),
    "the status after a header": lambda s: [
        listed(s, (b"a", b"1"), (b":status", b"200")), data(s, b"ok", end=True),
    ],
    "two of :status": lambda s: [
        listed(s, (b":status", b"200"), (b":status", b"404")), data(s, b"ok", end=True),
    ],
    "no status": lambda s: [listed(s, (b"a", b"1")), data(s, b"ok", end=True)],
    "no header at all": lambda s: [raw_frame(HEADERS, s, b"", END_HEADERS | END_STREAM)],
    "status abc": with_status(b"abc"),
    "an empty status": with_status(b""),
    "status 99": with_status(b"99"),
    "status 2000": with_status(b"2000"),
    "status 999": with_status(b"999"),
    "status 101": with_status(b"101"),
    "a content-length that is no number": with_field(b"content-length", b"two"),
    "a negative content-length": with_field(b"content-length", b"-2"),
    "two content-lengths that differ": lambda s: [
        headers(s, (b"content-length", b"2"), (b"content-length", b"3")), data(s, b"ok", end=True),
    ],
    "two content-lengths that are the same": lambda s: [
        headers(s, (b"content-length", b"2"), (b"content-length", b"2")), data(s, b"ok", end=True),
    ],
    "several cookies": lambda s: [
        headers(s, (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")), data(s, b"ok", end=True),
    ],
    "103, then 200": lambda s: [
        headers(s, (b"link", b"x"), status=103), headers(s), data(s, b"ok", end=True),
    ],
    "103 that ends the stream": lambda s: [headers(s, status=103, end=True)],
    "204 with a body": lambda s: [headers(s, status=204), data(s, b"ok", end=True)],
    "304 with a length": lambda s: [
        headers(s, (b"content-length", b"2"), status=304, end=True),
    ],
    "headers that cannot be unpacked": lambda s: [raw_frame(HEADERS, s, b"\xff" * 4, END_HEADERS)],
    "headers in two frames": lambda s: [
        HeadersFrame(s, block((b":status", b"200"))),
        ContinuationFrame(s, block((b"a", b"1")), flags=["END_HEADERS"]),
        data(s, b"ok", end=True),
    ],
    "headers and no body": lambda s: [headers(s, end=True)],
    "trailers": lambda s: [
        headers(s), data(s, b"ok"), listed(s, (b"x", b"1"), end=True),
    ],
    "trailers with a status": lambda s: [
        headers(s), data(s, b"ok"), listed(s, (b":status", b"404"), end=True),
    ],
    "trailers that do not end the stream": lambda s: [
        headers(s), data(s, b"ok"), listed(s, (b"x", b"1")), data(s, b"", end=True),
    ],
}  # fmt: skip

HANGS_SCRAPY = {
    "a value in latin-1",
    "a value of 60,000 bytes",
    "status abc",
    "an empty status",
}

FRAMES: dict[str, Frames] = {
    "data ahead of the headers": lambda s: [data(s, b"ok", end=True)],
    "data after the end": lambda s: [headers(s), data(s, b"ok", end=True), data(s, b"more")],
    "data for another stream": lambda s: [data(s + 2, b"ok"), headers(s), data(s, b"ok", end=True)],
    "empty data frames": lambda s: [
        headers(s), data(s, b""), data(s, b"ok"), data(s, b""), data(s, b"", end=True),
    ],
    "padding": lambda s: [
        headers(s), raw_frame(DATA, s, b"\5ok" + bytes(5), PADDED | END_STREAM),
    ],
    "padding longer than its frame": lambda s: [
        headers(s), raw_frame(DATA, s, b"\x09ok", PADDED | END_STREAM),
    ],
    "an unknown frame": lambda s: [
        raw_frame(UNKNOWN, s, b"what"), headers(s), data(s, b"ok", end=True),
    ],
    "a ping": lambda s: [PingFrame(0, b"are you?"), headers(s), data(s, b"ok", end=True)],
    "a priority": lambda s: [PriorityFrame(s), headers(s), data(s, b"ok", end=True)],
    "settings in the body": lambda s: [
        headers(s), SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 9}),
        data(s, b"ok", end=True),
    ],
    "settings of a wrong size": lambda s: [headers(s), raw_frame(4, 0, b"abc")],
    "a window update of 0": lambda s: [
        headers(s), raw_frame(8, s, bytes(4)), data(s, b"ok", end=True),
    ],
    "a window that overflows": lambda s: [
        headers(s), WindowUpdateFrame(0, window_increment=2**31 - 1), data(s, b"ok", end=True),
    ],
    "a frame larger than allowed": lambda s: [headers(s), raw_frame(DATA, s, b"x" * 20_000)],
    "a pushed stream": lambda s: [raw_frame(PUSH_PROMISE, s, b"\0\0\0\2\x82", END_HEADERS)],
    "a continuation of nothing": lambda s: [raw_frame(9, s, b"", END_HEADERS)],
    "bytes that are no frame": lambda s: [b"\xff" * 200],
    "HTTP/1.1 instead": lambda s: [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    "refused": lambda s: [rst(s, ErrorCodes.REFUSED_STREAM)],
    "HTTP/1.1 is required": lambda s: [rst(s, ErrorCodes.HTTP_1_1_REQUIRED)],
    "told to go away at once": lambda s: [goaway(0), CLOSE],
    "told to go away in the headers": lambda s: [
        goaway(s), headers(s), data(s, b"ok", end=True),
    ],
    "told to go away for an error": lambda s: [goaway(s, ErrorCodes.ENHANCE_YOUR_CALM), CLOSE],
}  # fmt: skip

LENGTHS: dict[str, Callable[[int], Frame]] = {
    "a body without a length": headers,
    "a body by length": lambda s: headers(s, (b"content-length", b"100")),
}

ENDS: dict[str, Frames] = {
    "reset stream": lambda s: [PAUSE, rst(s, ErrorCodes.INTERNAL_ERROR)],
    "stream reset without an error": lambda s: [PAUSE, rst(s, ErrorCodes.NO_ERROR)],
    "cancelled stream": lambda s: [PAUSE, rst(s, ErrorCodes.CANCEL)],
    "told to go away": lambda s: [PAUSE, goaway(s, ErrorCodes.PROTOCOL_ERROR), CLOSE],
    "told to go away without an error": lambda s: [PAUSE, goaway(s), CLOSE],
    "closed": lambda s: [PAUSE, CLOSE],
    "closed without close_notify": lambda s: [PAUSE, CUT],
    "reset": lambda s: [PAUSE, RESET],
}


def _frames(length: Callable[[int], Frame], end: Frames, body: bytes) -> Frames:
    return lambda s: [length(s), *([data(s, body)] if body else []), *end(s)]


def _then_closed(frames: Frames) -> Frames:
    """Close the connection after a while, for whoever waits for more."""
    return lambda s: [*frames(s), 5 * PAUSE, CLOSE]


def cases() -> Iterator[Case]:
    for name, frames in HEADS.items():
        hangs = name in HANGS_SCRAPY
        yield Case(f"head: {name}", "HTTP/2", frames=_then_closed(frames), hangs_scrapy=hangs)
    for name, frames in FRAMES.items():
        yield Case(f"frames: {name}", "HTTP/2", frames=_then_closed(frames))
    yield Case("to HEAD: a length", "HTTP/2", method="HEAD", frames=lambda s: [
        headers(s, (b"content-length", b"100"), end=True),
    ])  # fmt: skip
    yield Case("to HEAD: a body", "HTTP/2", method="HEAD", frames=lambda s: [
        headers(s), data(s, b"ok", end=True),
    ])  # fmt: skip
    for how, end in ENDS.items():
        yield Case(f"{how} before the headers", "HTTP/2", frames=end)
    for keep in (False, True):
        for name, length in LENGTHS.items():
            for how, end in ENDS.items():
                frames = _frames(length, end, b"some")
                yield Case(f"{how} in {name}", "HTTP/2", frames=frames, keep=keep)
        for name, said in (("longer", b"2"), ("shorter", b"100")):

            def frames_of(stream: int, said: bytes = said) -> list[Frame]:
                return [headers(stream, (b"content-length", said)), data(stream, b"some", end=True)]

            yield Case(f"a body {name} than its length", "HTTP/2", keep=keep, frames=frames_of)
        yield Case(
            "reset stream in a body that has not begun", "HTTP/2", keep=keep,
            frames=_frames(headers, ENDS["reset stream"], b""),
        )  # fmt: skip

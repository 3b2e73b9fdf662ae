"""Parsers for the first bytes of a client: the TLS ClientHello and the HTTP/2 opening."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from scrapy_curl_safe.commands.show.client_hello import (
    PADDING,
    PRE_SHARED_KEY,
    ClientHello,
    client_hello_size,
    is_grease,
    parse_client_hello,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = [
    "PADDING",
    "PRE_SHARED_KEY",
    "ClientHello",
    "client_hello_size",
    "is_grease",
    "parse_client_hello",
]

H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER = 9


@dataclass(frozen=True)
class H2Opening:
    """The first frames of an HTTP/2 client.

    Attributes:
        headers: of the first request, without the pseudo-headers.
    """

    settings: tuple[tuple[int, int], ...]
    window_update: int | None
    pseudo_headers: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]


def ja3(
    hello: ClientHello, *, sort_extensions: bool = False, leave_out: Collection[int] = ()
) -> str:
    """Return the JA3 string without GREASE.

    The extensions can be sorted, for browsers that permute them. `leave_out` names extensions that
    vary between connections, such as PADDING and PRE_SHARED_KEY.
    """
    extensions: Sequence[int] = [kind for kind in hello.extensions if kind not in leave_out]
    if sort_extensions:
        extensions = sorted(extensions)
    lists = (hello.ciphers, extensions, hello.groups, hello.point_formats)
    joined = ("-".join(str(value) for value in values if not is_grease(value)) for values in lists)
    return ",".join((str(hello.legacy_version), *joined))


def h2_opening_size(raw: bytes) -> int | None:
    """Return the number of bytes up to the end of the first header block; None while some are
    missing."""
    at = len(H2_PREFACE)
    while len(raw) >= at + FRAME_HEADER:
        frame, length = Frame.parse_frame_header(memoryview(raw[at : at + FRAME_HEADER]))
        at += FRAME_HEADER + length
        if len(raw) < at:
            return None
        if isinstance(frame, (HeadersFrame, ContinuationFrame)) and "END_HEADERS" in frame.flags:
            return at
    return None


def parse_h2_opening(raw: bytes) -> H2Opening:
    size = h2_opening_size(raw)
    if size is None or not raw.startswith(H2_PREFACE):
        raise ValueError("not a whole HTTP/2 opening")
    settings: tuple[tuple[int, int], ...] = ()
    window_update: int | None = None
    block = b""
    at = len(H2_PREFACE)
    while at < size:
        frame, length = Frame.parse_frame_header(memoryview(raw[at : at + FRAME_HEADER]))
        at += FRAME_HEADER
        payload = raw[at : at + length]
        at += length
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            # hyperframe keeps settings in a dict, which hides repeated identifiers.
            settings += tuple(struct.iter_unpack("!HL", payload))
            continue
        frame.parse_body(memoryview(payload))
        if isinstance(frame, WindowUpdateFrame) and frame.stream_id == 0:
            window_update = frame.window_increment
        elif isinstance(frame, (HeadersFrame, ContinuationFrame)):
            block += frame.data
    decoded = [(_text(name), _text(value)) for name, value in Decoder().decode(block, raw=True)]
    return H2Opening(
        settings=settings,
        window_update=window_update,
        pseudo_headers=tuple(name for name, _ in decoded if name.startswith(":")),
        headers=tuple(field for field in decoded if not field[0].startswith(":")),
    )


def _text(value: bytes | str) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value

"""Parsers of what a client sends first: the TLS ClientHello and the HTTP/2 opening."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpack import Decoder
from hyperframe.frame import (
    ContinuationFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

HANDSHAKE_RECORD = 22
CLIENT_HELLO = 1
H2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_HEADER = 9

SERVER_NAME = 0
SUPPORTED_GROUPS = 10
POINT_FORMATS = 11
SIGNATURE_ALGORITHMS = 13
ALPN = 16
PADDING = 21
PRE_SHARED_KEY = 41
SUPPORTED_VERSIONS = 43
KEY_SHARE = 51


@dataclass(frozen=True)
class ClientHello:
    """The fields of a ClientHello in the order sent, GREASE values included.

    Attributes:
        data: of the extensions.
    """

    legacy_version: int
    session_id: bytes
    ciphers: tuple[int, ...]
    extensions: tuple[int, ...]
    groups: tuple[int, ...]
    point_formats: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    supported_versions: tuple[int, ...]
    key_shares: tuple[int, ...]
    sni: str | None
    alpn: tuple[str, ...]
    has_psk: bool
    data: dict[int, bytes] = field(default_factory=dict, compare=False)


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


class Reader:
    """Takes numbers, bytes and vectors from the beginning of a message of TLS."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) < size:
            raise ValueError("the message is cut short")
        self._at += size
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, prefix: int) -> Reader:
        return Reader(self.take(self.number(prefix)))

    def numbers(self, size: int) -> tuple[int, ...]:
        found = []
        while self:
            found.append(self.number(size))
        return tuple(found)


def client_hello_size(raw: bytes) -> int | None:
    """Return how many bytes the ClientHello's records have; None while some are missing."""
    message = b""
    at = 0
    while len(raw) >= at + 5:
        if raw[at] != HANDSHAKE_RECORD:
            raise ValueError("not a TLS handshake record")
        length = int.from_bytes(raw[at + 3 : at + 5], "big")
        if len(raw) < at + 5 + length:
            return None
        message += raw[at + 5 : at + 5 + length]
        at += 5 + length
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return at
    if len(raw) > at and raw[at] != HANDSHAKE_RECORD:
        raise ValueError("not a TLS handshake record")
    return None


def _client_hello_message(raw: bytes) -> Reader:
    size = client_hello_size(raw)
    if size is None:
        raise ValueError("the message is cut short")
    records = Reader(raw[:size])
    message = b""
    while records:
        records.take(3)
        message += records.take(records.number(2))
    reader = Reader(message)
    if reader.number(1) != CLIENT_HELLO:
        raise ValueError("not a ClientHello")
    return reader.vector(3)


def parse_client_hello(raw: bytes) -> ClientHello:
    body = _client_hello_message(raw)
    legacy_version = body.number(2)
    body.take(32)
    session_id = body.take(body.number(1))
    ciphers = body.vector(2).numbers(2)
    body.vector(1)
    extensions: dict[int, bytes] = {}
    if body:
        listed = body.vector(2)
        while listed:
            kind = listed.number(2)
            extensions[kind] = listed.take(listed.number(2))

    def numbers(kind: int, prefix: int, size: int) -> tuple[int, ...]:
        data = extensions.get(kind)
        return () if data is None else Reader(data).vector(prefix).numbers(size)

    return ClientHello(
        legacy_version=legacy_version,
        session_id=session_id,
        ciphers=ciphers,
        extensions=tuple(extensions),
        groups=numbers(SUPPORTED_GROUPS, 2, 2),
        point_formats=numbers(POINT_FORMATS, 1, 1),
        signature_algorithms=numbers(SIGNATURE_ALGORITHMS, 2, 2),
        supported_versions=numbers(SUPPORTED_VERSIONS, 1, 2),
        key_shares=tuple(group for group, _ in key_shares(extensions.get(KEY_SHARE))),
        sni=_server_name(extensions.get(SERVER_NAME)),
        alpn=protocols(extensions.get(ALPN)),
        has_psk=PRE_SHARED_KEY in extensions,
        data=extensions,
    )


def key_shares(data: bytes | None) -> tuple[tuple[int, int], ...]:
    """Return the groups of an extension's key shares, each with the size of its key."""
    if data is None:
        return ()
    shares = Reader(data).vector(2)
    found = []
    while shares:
        group = shares.number(2)
        size = shares.number(2)
        shares.take(size)
        found.append((group, size))
    return tuple(found)


def _server_name(data: bytes | None) -> str | None:
    if data is None:
        return None
    names = Reader(data).vector(2)
    names.take(1)
    return names.take(names.number(2)).decode("ascii")


def protocols(data: bytes | None) -> tuple[str, ...]:
    """Return the protocols that an extension like ALPN lists."""
    if data is None:
        return ()
    listed = Reader(data).vector(2)
    names = []
    while listed:
        names.append(listed.take(listed.number(1)).decode("ascii"))
    return tuple(names)


def is_grease(value: int) -> bool:
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def ja3(
    hello: ClientHello, *, sort_extensions: bool = False, leave_out: Collection[int] = ()
) -> str:
    """Return the JA3 string without GREASE.

    Sort the extensions for browsers that permute them. `leave_out` names extensions that
    come and go between connections, such as PADDING and PRE_SHARED_KEY.
    """
    extensions: Sequence[int] = [kind for kind in hello.extensions if kind not in leave_out]
    if sort_extensions:
        extensions = sorted(extensions)
    lists = (hello.ciphers, extensions, hello.groups, hello.point_formats)
    joined = ("-".join(str(value) for value in values if not is_grease(value)) for values in lists)
    return ",".join((str(hello.legacy_version), *joined))


def h2_opening_size(raw: bytes) -> int | None:
    """Return how many bytes there are up to the end of the first header block; None while some are
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

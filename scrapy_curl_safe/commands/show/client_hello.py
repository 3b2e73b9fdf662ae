"""Parses a TLS ClientHello, and computes its JA4. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

_HANDSHAKE_RECORD = 22
_CLIENT_HELLO = 1

SERVER_NAME = 0
SUPPORTED_GROUPS = 10
POINT_FORMATS = 11
SIGNATURE_ALGORITHMS = 13
ALPN = 16
PADDING = 21
PRE_SHARED_KEY = 41
SUPPORTED_VERSIONS = 43
KEY_SHARE = 51

_VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}


@dataclass(frozen=True)
class ClientHello:
    """The fields of a ClientHello in the order sent, including GREASE values.

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


class Reader:
    """Reads numbers, bytes and vectors from the beginning of a TLS message."""

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
        if raw[at] != _HANDSHAKE_RECORD:
            raise ValueError("not a TLS handshake record")
        length = int.from_bytes(raw[at + 3 : at + 5], "big")
        if len(raw) < at + 5 + length:
            return None
        message += raw[at + 5 : at + 5 + length]
        at += 5 + length
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return at
    if len(raw) > at and raw[at] != _HANDSHAKE_RECORD:
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
    if reader.number(1) != _CLIENT_HELLO:
        raise ValueError("not a ClientHello")
    return reader.vector(3)


def parse_client_hello(raw: bytes) -> ClientHello:
    """Parse the records of a ClientHello.

    Raises:
        ValueError: they do not contain one.
    """
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
    """Tell whether a value is one of the reserved, meaningless ones (RFC 8701)."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF


def ja4(hello: ClientHello) -> str:
    """Return the JA4 of a connection over TCP."""
    versions = _real(hello.supported_versions) or [hello.legacy_version]
    ciphers, extensions = _real(hello.ciphers), _real(hello.extensions)
    first = hello.alpn[0] if hello.alpn else "00"
    name = "d" if SERVER_NAME in extensions else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
    hashed = sorted(_hex(set(extensions) - {SERVER_NAME, ALPN}))
    signatures = ",".join(_hex(_real(hello.signature_algorithms)))
    return "_".join(
        (
            f"t{_VERSIONS[max(versions)]}{name}{counts}{first[0]}{first[-1]}",
            _short_hash(",".join(sorted(_hex(ciphers)))),
            _short_hash(",".join(hashed) + (f"_{signatures}" if signatures else "")),
        )
    )


def _real(values: Iterable[int]) -> list[int]:
    return [value for value in values if not is_grease(value)]


def _hex(values: Iterable[int]) -> list[str]:
    return [f"{value:04x}" for value in values]


def _short_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]

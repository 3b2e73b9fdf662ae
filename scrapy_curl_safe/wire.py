"""What the crawler and a worker say to each other, and how it is framed.

Nothing here does I/O, and nothing here knows Scrapy or curl: bytes in, messages
out; messages in, bytes out. A frame is

    length of the header (4 bytes), length of the body (4 bytes), header, body

The header is one message as MessagePack, checked against its type on arrival. The
body is raw: pages are never encoded, and no message can make the other side run code.
"""

from __future__ import annotations

import struct
from typing import Any, Generic, TypeVar

import msgspec

__all__ = [
    "MAX_BODY",
    "MAX_HEADER",
    "Cancel",
    "Cancelled",
    "Chunk",
    "Decoder",
    "Done",
    "Failed",
    "Fetch",
    "FromWorker",
    "Head",
    "Hello",
    "Outcome",
    "Place",
    "Profile",
    "Pulse",
    "Ready",
    "Refused",
    "Taken",
    "ToWorker",
    "TooLarge",
    "Transfer",
    "Warned",
    "WireError",
    "decode_profile",
    "encode",
    "encode_profile",
    "from_worker_decoder",
    "to_worker_decoder",
]

MAX_HEADER = 16 * 1024 * 1024
MAX_BODY = 2**32 - 1

_PREFIX = struct.Struct(">II")
_T = TypeVar("_T")


class WireError(Exception):
    """The bytes are not what the other side may send."""


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """All that two requests must share to share connections and TLS tickets.

    A worker keeps one curl session for each profile, so nothing that tells one
    visitor from another can cross between them.
    """

    impersonate: str | None = None
    fingerprint: dict[str, Any] | None = None
    ja3: str | None = None
    akamai: str | None = None
    extra_fp: dict[str, Any] | None = None
    http_version: str | None = None
    default_headers: bool = True
    verify: bool = False
    tls_min: str | None = None
    tls_max: str | None = None
    interface: str | None = None
    local_port: int = 0
    proxy: str | None = None
    proxy_user: bytes | None = None
    proxy_password: bytes | None = None
    proxy_headers: list[bytes] = []
    #: Whether a connection serves one request and leaves nothing behind: it is closed at once,
    #: and no later handshake resumes its TLS session.
    once: bool = False


class Transfer(msgspec.Struct, array_like=True):
    """How one transfer went on the network. Times are seconds from its start."""

    #: TCP connections opened for it: 0 on a warm one, 2 if the first one died.
    connects: int = 0
    #: None where this transfer opened no connection, or where its handshake failed.
    connected_at: float | None = None
    #: None where this transfer completed no TLS handshake.
    handshake_at: float | None = None
    first_byte_at: float | None = None
    ended_at: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    #: Whether the TLS handshake resumed a session.
    resumed: bool = False


class Hello(msgspec.Struct, array_like=True, tag=0):
    """The crawler's first word: how to work, and which browsers it must be able to be."""

    pulse_interval: float
    max_sessions: int
    #: Idle connections that one session keeps.
    max_connections: int
    #: MB above which it gives back what it can spare; 0 for no bound.
    max_memory: int
    #: Encoded, each with the setting that asks for it; the first is what most requests use.
    profiles: list[tuple[str, bytes]]


class Fetch(msgspec.Struct, array_like=True, tag=1):
    """Download this. The frame's body is the request's body."""

    id: int
    method: str
    url: str
    #: A value of None keeps libcurl from sending that header of its own accord.
    headers: list[tuple[bytes, bytes | None]]
    #: An encoded Profile. It is the key of the session, decoded only when that is new.
    profile: bytes
    #: Seconds for the whole download, 0 for no bound.
    timeout: float
    #: Bytes; 0 for no bound.
    maxsize: int
    warnsize: int
    #: Whether a body that ended early is a response (with the flag "dataloss") or a failure.
    keep_partial: bool
    #: Whether to send the headers and the body as they come.
    stream: bool
    #: Whether to tell the TLS version and cipher.
    tell_tls: bool
    #: Whether it has a connection of its own, which is closed after it.
    fresh: bool


class Cancel(msgspec.Struct, array_like=True, tag=2):
    """Nobody waits for this download any more. One that has ended already is not there."""

    id: int


class Taken(msgspec.Struct, array_like=True, tag=3):
    """The crawler has the oldest body that lies in the shared memory; its place is free."""


class Ready(msgspec.Struct, array_like=True, tag=0):
    """The worker has tried the Hello's profiles and takes requests."""

    pid: int
    curl: str
    #: How many descriptors it may have open.
    max_descriptors: int
    #: Which of the profiles cannot be had, and why: an unknown target, for example.
    problem: str | None


class Pulse(msgspec.Struct, array_like=True, tag=1):
    """A sign of life."""

    #: Resident memory in MB.
    memory: int
    #: Open ones.
    descriptors: int
    in_flight: int
    #: Whether the system looks names up in another way than when the worker started. It may
    #: have no right to read how.
    is_stale: bool


class Head(msgspec.Struct, array_like=True, tag=2):
    """Status and headers of a response, ahead of its body."""

    id: int
    status: int
    protocol: str
    headers: list[tuple[bytes, bytes]]
    ip: str
    #: Of the origin, as DER; None on a plain connection.
    certificate: bytes | None = None
    #: TLS version and cipher, where they were asked for and this transfer shook hands.
    tls: str | None = None
    #: How it went so far, where the head goes ahead of the body.
    transfer: Transfer | None = None


class Chunk(msgspec.Struct, array_like=True, tag=3):
    """A piece of a streamed body: the frame's body."""

    id: int


class Place(msgspec.Struct, array_like=True):
    """A part of the memory that a worker shares with its crawler, in bytes."""

    at: int
    size: int


class Done(msgspec.Struct, array_like=True, tag=4):
    """The response is complete. The frame's body is its body, unless it was streamed, or lies
    in the shared memory.
    """

    id: int
    transfer: Transfer
    #: None where it went ahead by itself.
    head: Head | None
    dataloss: bool
    #: Of the body in the shared memory. What is there is the crawler's until it says Taken.
    place: Place | None = None


class Failed(msgspec.Struct, array_like=True, tag=5):
    """libcurl gave up: its error code and text."""

    id: int
    transfer: Transfer
    code: int
    detail: str
    #: Whether a TLS handshake with the origin was due: it could be reached, by a proxy's
    #: word if there is one, and no handshake was completed.
    in_handshake: bool = False


class Refused(msgspec.Struct, array_like=True, tag=6):
    """The request cannot be sent as it stands; not a byte of it was."""

    id: int
    detail: str


class Warned(msgspec.Struct, array_like=True, tag=7):
    """The body passes the request's warnsize (by its Content-Length if ``expected``)."""

    id: int
    size: int
    expected: bool


class TooLarge(msgspec.Struct, array_like=True, tag=8):
    """The body passes the request's maxsize; the transfer was cut off."""

    id: int
    transfer: Transfer
    size: int
    expected: bool


class Cancelled(msgspec.Struct, array_like=True, tag=9):
    """The download ended as a Cancel asked."""

    id: int


ToWorker = Hello | Fetch | Cancel | Taken
FromWorker = Ready | Pulse | Head | Chunk | Done | Failed | Refused | Warned | TooLarge | Cancelled
#: Exactly one of these ends each Fetch, and nothing about it comes after.
Outcome = Done | Failed | Refused | TooLarge | Cancelled

_encoder = msgspec.msgpack.Encoder()
_profile_decoder = msgspec.msgpack.Decoder(Profile)


def encode(message: ToWorker | FromWorker, body_length: int = 0) -> bytes:
    """All of a frame but its body, which the caller sends after it.

    Raises:
        WireError: the header or the body is longer than a frame can hold.
    """
    header = _encoder.encode(message)
    if len(header) > MAX_HEADER or body_length > MAX_BODY:
        raise WireError(f"a frame of {len(header)} + {body_length} bytes is too large")
    return _PREFIX.pack(len(header), body_length) + header


def encode_profile(profile: Profile) -> bytes:
    return _encoder.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """
    Raises:
        WireError: it is not an encoded Profile.
    """
    try:
        return _profile_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise WireError(f"not a profile: {error}") from error


class Decoder(Generic[_T]):
    """Bytes of one direction in, whole frames out, however the bytes were split.

    It holds at most one frame, and grows with what arrived, never with what a prefix
    promised. After a WireError it is of no more use.
    """

    def __init__(
        self,
        messages: msgspec.msgpack.Decoder[_T],
        *,
        max_header: int = MAX_HEADER,
        max_body: int = MAX_BODY,
    ) -> None:
        self._messages = messages
        self._max_header = max_header
        self._max_body = max_body
        # The unfinished part: first of a prefix and header ...
        self._start = bytearray()
        self._start_needs = 0
        # ... then of a body.
        self._message: _T | None = None
        self._body: list[bytes] = []
        self._body_needs = 0

    def feed(self, data: bytes) -> list[tuple[_T, bytes]]:
        """The frames that these bytes complete, each as its message and its body.

        Raises:
            WireError: a frame that the other side may not send.
        """
        if self._start:
            self._start += data
            if len(self._start) < self._start_needs:
                return []
            data = bytes(self._start)
            self._start.clear()
        frames: list[tuple[_T, bytes]] = []
        at = 0
        while True:
            if self._message is None:
                header_at = at + _PREFIX.size
                if header_at > len(data):
                    self._keep(data, at, _PREFIX.size)
                    return frames
                header_length, body_length = _PREFIX.unpack_from(data, at)
                if header_length > self._max_header or body_length > self._max_body:
                    raise WireError(f"a frame of {header_length} + {body_length} bytes")
                body_at = header_at + header_length
                if body_at > len(data):
                    self._keep(data, at, _PREFIX.size + header_length)
                    return frames
                self._message = self._decode(memoryview(data)[header_at:body_at])
                self._body_needs = body_length
                at = body_at
            piece = data[at : at + self._body_needs]
            at += len(piece)
            self._body_needs -= len(piece)
            if self._body_needs:
                if piece:
                    self._body.append(piece)
                return frames
            if self._body:
                self._body.append(piece)
                piece = b"".join(self._body)
                self._body.clear()
            frames.append((self._message, piece))
            self._message = None

    def _keep(self, data: bytes, at: int, needs: int) -> None:
        self._start += memoryview(data)[at:]
        self._start_needs = needs

    def _decode(self, header: memoryview) -> _T:
        try:
            return self._messages.decode(header)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise WireError(f"not a message: {error}") from error


def to_worker_decoder() -> Decoder[ToWorker]:
    return Decoder(msgspec.msgpack.Decoder(ToWorker))


def from_worker_decoder(*, max_body: int = MAX_BODY) -> Decoder[FromWorker]:
    return Decoder(msgspec.msgpack.Decoder(FromWorker), max_body=max_body)

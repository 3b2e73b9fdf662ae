"""The messages that the crawler and a worker exchange.

Each message is a typed MessagePack array (https://msgpack.org) in the header of a frame (see
`framing`), followed by an optional raw body. The receiver checks the type of every message, and no
message can make it run code.

    crawler -> worker    Hello, then Fetch, Cancel, SliceReleased
    worker -> crawler    Ready, then Heartbeat, and for each Fetch: ResponseHead, Chunk, SizeWarning
                         (each optional) and exactly one Outcome
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from .._version import __version__
from .body_files import FileOrder, WrittenFile
from .failures import FailureKind

CHANGED_ON_DISK = "scrapy_curl_safe was changed on disk while the crawl ran"

HeaderPairs = list[tuple[bytes, bytes | None]]


class ProtocolError(Exception):
    """A message or frame that the protocol does not allow, received or about to be sent."""


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything that two requests must have in common to share connections and TLS tickets.

    A worker keeps one curl session per profile, so that visitors share nothing that identifies
    them.
    """

    impersonate: str | None = None
    #: Whether an alias may stand for an older target, since the newest one's own headers, or its
    #: HTTP/3, are no browser's.
    substitute: bool = False
    #: A fingerprint's fields. If `impersonate` names a browser, they are those of the user's own
    #: file for that name, which stands back where curl_cffi has a target of that name.
    fingerprint: dict[str, Any] | None = None
    ja3: str | None = None
    akamai: str | None = None
    perk: str | None = None
    extra_fp: dict[str, Any] | None = None
    http_version: str | None = None
    default_headers: bool = True
    verify: bool = False
    tls_min: str | None = None
    tls_max: str | None = None
    tls_ciphers: str | None = None
    interface: str | None = None
    local_port: int = 0
    proxy: str | None = None
    proxy_user: bytes | None = None
    proxy_password: bytes | None = None
    proxy_headers: list[tuple[bytes, bytes]] = []
    #: The session that the requests belong to; None without sessions.
    visitor: str | None = None
    #: True closes each connection after one request and never resumes a TLS session.
    once: bool = False


class BrowserHead(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """The head of a browser's request, without the parts that differ from request to request."""

    #: A value of None keeps libcurl from sending that header by itself.
    fields: HeaderPairs
    #: Names in lower case, in the order in which all headers go out, including libcurl's own.
    order: list[bytes]
    #: Weight of the HTTP/2 stream, 1 to 256; None for the target's own.
    weight: int | None = None
    #: The exclusive flag of the HTTP/2 priority.
    exclusive: bool = False
    #: Lower-case names, each with the name of the header whose line it shares to hide it from
    #: libcurl, which would keep some headers from HTTP/1.1 and send others everywhere.
    riders: list[tuple[bytes, bytes]] = []
    #: Whether the origin is known to speak HTTP/2 or HTTP/3, over which Connection is not sent.
    is_http2: bool = False


class TransferStats(msgspec.Struct, array_like=True, kw_only=True):
    """Network statistics of one transfer, as curl_easy_getinfo(3) reports them.

    Times are seconds since the transfer began.
    """

    #: TCP connections that the transfer opened: 0 if it reused one, 2 if the first one died.
    connects: int = 0
    #: None if the transfer opened no connection.
    connected_at: float | None = None
    #: None if the transfer completed no TLS handshake.
    handshake_at: float | None = None
    first_byte_at: float | None = None
    ended_at: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0
    #: Whether the TLS handshake resumed a session.
    resumed: bool = False
    #: How often libcurl sent the request again because a connection died before the answer began.
    resends: int = 0

    @property
    def handshake_time(self) -> float | None:
        """Seconds from the TCP connection to the end of the TLS handshake; None without either."""
        if self.handshake_at is None or self.connected_at is None:
            return None
        return self.handshake_at - self.connected_at


# From the crawler


class Hello(msgspec.Struct, array_like=True, tag=0, kw_only=True):
    """The crawler's first message: how the worker runs, and what it must be able to impersonate."""

    #: Version of this package; another one may have another protocol.
    version: str = __version__
    #: Encoded profiles, each with the setting that asks for it; most requests use the first one.
    profiles: list[tuple[str, bytes]]
    heartbeat_interval_seconds: float = 1.0
    max_sessions: int = 8
    max_in_flight: int = 64
    #: Idle connections that a session keeps (CURLMOPT_MAXCONNECTS). All sessions together keep no
    #: more than twice as many.
    max_idle: int = 64
    #: Resident memory above which the worker returns spare memory to the system; 0 for no bound.
    max_memory_mb: int = 0
    #: Content encodings of bodies that the worker decodes.
    encodings: list[bytes] = []


class Fetch(msgspec.Struct, array_like=True, tag=1, kw_only=True):
    """A request to download. The frame's body is the request's body."""

    url: str
    #: An encoded Profile: the key of the worker's session.
    profile: bytes
    #: Set by the connection that sends the message.
    id: int = 0
    method: str = "GET"
    #: A value of None keeps libcurl from sending that header by itself.
    headers: HeaderPairs = []
    #: An encoded BrowserHead, which is sent instead of `headers`. Not part of the profile, so that
    #: requests of all kinds share connections.
    browser_head: bytes | None = None
    #: Values of Cookie and Referer to send with it.
    cookie: bytes | None = None
    referer: bytes | None = None
    #: For the whole download; 0 for no bound.
    timeout_seconds: float = 0.0
    #: Body size at which the download is cut off; 0 for no bound.
    maxsize_bytes: int = 0
    #: Body size at which the worker sends a SizeWarning; 0 for never.
    warnsize_bytes: int = 0
    #: Whether a body that ends early is a response with data loss, not a failure.
    keep_partial: bool = False
    #: Whether the worker sends head and body as they arrive, not all at the end.
    stream: bool = False
    #: Whether the worker reports TLS version and cipher.
    report_tls: bool = False
    #: Whether the request gets a new connection, which is closed afterwards.
    fresh_connection: bool = False
    #: Whether the response's body is the head that libcurl would send, and nothing is sent.
    echo: bool = False
    #: The body of a response with a status of 2xx goes to the file whose descriptor comes with the
    #: frame; `stream` is set, too.
    file: FileOrder | None = None


class Cancel(msgspec.Struct, array_like=True, tag=2):
    """Nobody waits for this download any more. The worker ignores an unknown id."""

    id: int


class SliceReleased(msgspec.Struct, array_like=True, tag=3):
    """The crawler has copied the oldest body in shared memory, so its slot is free again."""


# From a worker


class ResolvedBrowser(msgspec.Struct, frozen=True, array_like=True):
    """A browser's name and the target that it stands for."""

    name: str
    target: str


class Ready(msgspec.Struct, array_like=True, tag=0, kw_only=True):
    """The worker has tried the profiles of the Hello and takes requests."""

    #: Version of this package in the worker.
    version: str = __version__
    #: Versions of libcurl and its libraries, as curl_version(3) gives them.
    curl: str
    max_descriptors: int
    #: What the system refused to the worker: errnos by facility name.
    refusals: dict[str, int] = {}
    #: What curl_cffi lacks: by name, what a crawl is like without it.
    missing: dict[str, str] = {}
    #: Why one of the profiles cannot be used; None if all can.
    problem: str | None = None
    #: Version of curl_cffi.
    curl_cffi: str = ""
    #: curl_cffi's targets, each with its operating system; empty where curl_cffi does not tell it.
    targets: dict[str, str] = {}
    #: The profiles' browsers, but for fingerprints, in order.
    browsers: list[ResolvedBrowser] = []


class Heartbeat(msgspec.Struct, array_like=True, tag=1, kw_only=True):
    """A sign that the worker's loop runs, and what the worker uses."""

    #: Resident memory; 0 if unknown.
    memory_mb: int = 0
    #: Open descriptors; 0 if unknown.
    descriptors: int = 0
    #: Whether the system's resolver configuration has changed since the worker started. A
    #: sandboxed worker may be unable to read the new one.
    resolver_changed: bool = False


class ResponseHead(msgspec.Struct, array_like=True, tag=2, kw_only=True):
    """Status and headers of a response."""

    id: int
    status: int
    protocol: str
    headers: list[tuple[bytes, bytes]]
    ip: str = ""
    #: The origin's certificate as DER; None on a plain connection.
    certificate: bytes | None = None
    #: TLS version and cipher, if the Fetch asked for them and this transfer made a handshake.
    tls: str | None = None
    #: Statistics so far, if the head is sent before the body.
    stats: TransferStats | None = None


class Chunk(msgspec.Struct, array_like=True, tag=3):
    """A piece of a streamed body: the frame's body."""

    id: int


class BodyFlag(str, enum.Enum):
    """The flags of a response's body, as Scrapy names them."""

    #: Only the end of the connection marked its end.
    PARTIAL = "partial"
    #: It ended before its announced end.
    DATALOSS = "dataloss"


class SharedSlice(msgspec.Struct, array_like=True):
    """A range of the memory that a worker shares with the crawler."""

    offset: int
    size: int


class Completed(msgspec.Struct, array_like=True, tag=4, kw_only=True):
    """The response is complete.

    The frame's body is the response's body, unless that was streamed, or is in shared memory or in
    a file.
    """

    id: int
    stats: TransferStats
    #: None if it was sent before, in a message of its own.
    head: ResponseHead | None = None
    #: Why the body may be incomplete; None if it is complete.
    flag: BodyFlag | None = None
    #: Where the body is in shared memory. The range is the crawler's until SliceReleased.
    shared: SharedSlice | None = None
    #: If the body is decoded, as the Hello asks: what the origin sent, or where that is in shared
    #: memory.
    encoded: bytes | SharedSlice | None = None
    #: If the body would exceed the request's maxsize once decoded, and so is not: how much had been
    #: decoded when that was seen.
    excess_bytes: int = 0
    #: The body, if it is in a file.
    file: WrittenFile | None = None


class Failed(msgspec.Struct, array_like=True, tag=5, kw_only=True):
    """The transfer failed."""

    id: int
    stats: TransferStats
    kind: FailureKind
    #: libcurl's error code; 0 if libcurl did not report the failure.
    code: int = 0
    #: The message of libcurl, or else of the worker.
    detail: str = ""


class InvalidRequest(msgspec.Struct, array_like=True, tag=6, kw_only=True):
    """The request cannot be sent as it is; not a byte of it was sent."""

    id: int
    detail: str


class SizeWarning(msgspec.Struct, array_like=True, tag=7, kw_only=True):
    """The body exceeds the request's warnsize (by its Content-Length if ``expected``)."""

    id: int
    size: int
    limit: int
    expected: bool


class TooLarge(msgspec.Struct, array_like=True, tag=8, kw_only=True):
    """The body exceeds the request's maxsize; the worker cut the transfer off."""

    id: int
    stats: TransferStats
    size: int
    limit: int
    expected: bool


class Cancelled(msgspec.Struct, array_like=True, tag=9):
    """The download ended because of a Cancel."""

    id: int


ToWorker = Hello | Fetch | Cancel | SliceReleased
FromWorker = (
    Ready
    | Heartbeat
    | ResponseHead
    | Chunk
    | Completed
    | Failed
    | InvalidRequest
    | SizeWarning
    | TooLarge
    | Cancelled
)
#: Exactly one of these ends each Fetch; no message about that Fetch follows.
Outcome = Completed | Failed | InvalidRequest | TooLarge | Cancelled

_encoder = msgspec.msgpack.Encoder()
_profile_decoder = msgspec.msgpack.Decoder(Profile)
_head_decoder = msgspec.msgpack.Decoder(BrowserHead)


def encode_profile(profile: Profile) -> bytes:
    return _encoder.encode(profile)


def decode_profile(data: bytes) -> Profile:
    """Decode what `encode_profile` returned.

    Raises:
        ProtocolError: the bytes are not an encoded Profile.
    """
    try:
        return _profile_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not a profile: {error}") from error


def encode_browser_head(head: BrowserHead) -> bytes:
    return _encoder.encode(head)


def decode_browser_head(data: bytes) -> BrowserHead:
    """Decode what `encode_browser_head` returned.

    Raises:
        ProtocolError: the bytes are not an encoded BrowserHead.
    """
    try:
        return _head_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"not a browser's head: {error}") from error


def version_problem(*, worker: str, crawler: str) -> str | None:
    """Say why a worker with another version of this package is useless; None if it has the same."""
    if worker == crawler:
        return None
    return f"{CHANGED_ON_DISK}: its workers have version {worker}, the crawler has {crawler}"

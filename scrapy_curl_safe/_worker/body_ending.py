"""Decides what the end of a body means: the whole body, a part of it, or a failure. Pure.

A body's `Framing` is one of five ways to mark its end. Together with libcurl's code for the end of
a transfer whose head has arrived, it decides:

    code        NONE      CLOSE     LENGTH, CHUNKED, STREAM
    none        COMPLETE  PARTIAL   COMPLETE, or DATALOSS if fewer bytes came than were announced
    of a loss   COMPLETE  PARTIAL   DATALOSS
    any other   FAILED    FAILED    FAILED

Codes of a loss say that the peer closed or reset the connection or the stream, or broke the
framing. In each case, what came before that is available. A close without TLS's close_notify is a
loss like any other.

The rules are those of Scrapy's HTTP/1.1 handler: a body that only the end of the connection
delimits is flagged "partial", however that end came, since nothing shows whether it is whole (RFC
9112, section 8). Any other body that ends early is data lost, which DOWNLOAD_FAIL_ON_DATALOSS turns
into a failure or into a flag.
"""

from __future__ import annotations

import enum

from .._ipc.failures import CurlCode
from .response_head import ParsedHead


class Framing(enum.Enum):
    """The mark of a body's end (RFC 9112, section 6.3; RFC 9113, section 8.1)."""

    #: There is no body: the status or the method allows none.
    NONE = enum.auto()
    #: Content-Length.
    LENGTH = enum.auto()
    #: The chunked transfer coding.
    CHUNKED = enum.auto()
    #: The end of the connection.
    CLOSE = enum.auto()
    #: The end of the stream, in HTTP/2 and HTTP/3.
    STREAM = enum.auto()


class Ending(enum.Enum):
    """The meaning of a body's end."""

    COMPLETE = enum.auto()
    PARTIAL = enum.auto()
    DATALOSS = enum.auto()
    FAILED = enum.auto()


# Until Python 3.12 a member takes as long to look up in its class as to call a function.
_NONE, _LENGTH, _CHUNKED, _CLOSE, _STREAM = Framing
_COMPLETE, _PARTIAL, _DATALOSS, _FAILED = Ending

_HTTP1_LOSSES = frozenset(
    {CurlCode.PARTIAL_FILE, CurlCode.GOT_NOTHING, CurlCode.SEND_ERROR, CurlCode.RECV_ERROR}
)
_STREAM_LOSSES = _HTTP1_LOSSES | {
    CurlCode.HTTP2,
    CurlCode.HTTP2_STREAM,
    CurlCode.HTTP3,
    CurlCode.QUIC_CONNECT_ERROR,
}
_LOSSES = {
    _NONE: _HTTP1_LOSSES | {CurlCode.HTTP2_STREAM},
    _LENGTH: _HTTP1_LOSSES,
    _CHUNKED: _HTTP1_LOSSES | {CurlCode.WEIRD_SERVER_REPLY},  # in the trailers
    _CLOSE: _HTTP1_LOSSES,
    _STREAM: _STREAM_LOSSES,
}


def framing_of(head: ParsedHead, method: str) -> Framing:
    """Find the mark of the end of a response's body."""
    if method == "HEAD" or head.status in (204, 304):
        return _NONE
    if head.protocol.startswith(("HTTP/2", "HTTP/3")):
        return _STREAM
    if head.is_chunked:
        return _CHUNKED
    return _CLOSE if head.content_length is None else _LENGTH


def ending_of(code: int, framing: Framing, received: int, announced: int) -> Ending:
    """Decide what the end of a transfer means, once its head has arrived.

    Args:
        code: libcurl's error code; 0 for none.
        framing: of the body.
        received: bytes of the body.
        announced: Content-Length, in bytes; 0 for none.
    """
    if code and code not in _LOSSES[framing]:
        return _FAILED
    if framing is _NONE:
        return _COMPLETE
    if framing is _CLOSE:
        return _PARTIAL
    if code or (framing is not _CHUNKED and received < announced):
        return _DATALOSS
    return _COMPLETE

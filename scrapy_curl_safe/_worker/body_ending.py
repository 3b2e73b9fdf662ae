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
    Framing.NONE: _HTTP1_LOSSES | {CurlCode.HTTP2_STREAM},
    Framing.LENGTH: _HTTP1_LOSSES,
    Framing.CHUNKED: _HTTP1_LOSSES | {CurlCode.WEIRD_SERVER_REPLY},  # in the trailers
    Framing.CLOSE: _HTTP1_LOSSES,
    Framing.STREAM: _STREAM_LOSSES,
}


def framing_of(head: ParsedHead, method: str) -> Framing:
    """Find the mark of the end of a response's body."""
    if method == "HEAD" or head.status in (204, 304):
        return Framing.NONE
    if head.protocol.startswith(("HTTP/2", "HTTP/3")):
        return Framing.STREAM
    if head.is_chunked:
        return Framing.CHUNKED
    return Framing.CLOSE if head.content_length is None else Framing.LENGTH


def ending_of(code: int, framing: Framing, received: int, announced: int) -> Ending:
    """Decide what the end of a transfer means, once its head has arrived.

    Args:
        code: libcurl's error code; 0 for none.
        framing: of the body.
        received: bytes of the body.
        announced: Content-Length, in bytes; 0 for none.
    """
    if code and code not in _LOSSES[framing]:
        return Ending.FAILED
    if framing is Framing.NONE:
        return Ending.COMPLETE
    if framing is Framing.CLOSE:
        return Ending.PARTIAL
    if code or (framing is not Framing.CHUNKED and received < announced):
        return Ending.DATALOSS
    return Ending.COMPLETE

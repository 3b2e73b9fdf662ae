"""Selects the headers of a request that are sent beside the browser's. Pure."""

from __future__ import annotations

from typing import Any

from scrapy import Request

from .._ipc.messages import HeaderPairs
from .scrapy_api import (
    DEFAULT_HEADERS,
    OFFERED_ENCODINGS,
    SUPPORTED_ENCODINGS,
    has_header,
    header_items,
)

# Scrapy's defaults, which no browser sends.
_GIVE_WAY = {name: [value] for name, value in DEFAULT_HEADERS.items()}
# If it decodes all that a browser may ask for, Scrapy's own list gives way to the browser's.
if {b"gzip", b"deflate", b"br", b"zstd"} <= SUPPORTED_ENCODINGS:
    _GIVE_WAY[b"accept-encoding"] = [OFFERED_ENCODINGS]


def request_headers(
    request: Request, options: dict[str, Any], *, like_browser: bool
) -> HeaderPairs:
    """Return the headers to send, in order; None as a value keeps a header from being sent.

    A Content-Length that is not the body's is left out, as browsers leave out each that a script
    sets (https://fetch.spec.whatwg.org/#forbidden-request-header): the origin would take what is
    missing of the body from the next request on the connection, or what is left for that request.

    Args:
        like_browser: whether the browser's own headers are sent, too, so that those of the request
            only add to them or replace them.
    """
    length = b"%d" % len(request.body)
    if "raw_headers" in options:
        return [
            (name, value)
            for name, value in options["raw_headers"]
            if name.lower() != b"content-length" or value == length
        ]
    headers: HeaderPairs = []
    for name, values in header_items(request.headers):
        lower = name.lower()
        if like_browser and _GIVE_WAY.get(lower) == values:
            continue
        if lower == b"proxy-authorization":
            continue
        if lower == b"content-length" and [value.strip() for value in values] != [length]:
            continue
        if values:
            headers += [(name, value) for value in values]
        else:
            headers.append((name, None))
    if like_browser and not has_header(request.headers, b"Accept-Encoding"):
        # HttpCompressionMiddleware is off: nobody would decode what the browser asks for.
        headers.append((b"Accept-Encoding", None))
    return headers

"""The parts of a request that say which browser it comes from. Pure."""

from __future__ import annotations

from scrapy import Request

from .scrapy_api import DEFAULT_HEADERS

#: Keys of `meta["curl_safe"]` with which a request says itself what it looks like.
IDENTITY_KEYS = (
    "impersonate",
    "ja3",
    "akamai",
    "perk",
    "extra_fp",
    "raw_headers",
    "default_headers",
)


def drop_identity(request: Request) -> bytes | None:
    """Remove the headers that name a browser, since the request gets one; return the name of one
    that somebody has set."""
    somebodys = None
    for name in [name for name in request.headers if _names_browser(name)]:
        if request.headers.getlist(name) != [DEFAULT_HEADERS.get(name.lower())]:
            somebodys = name
        del request.headers[name]
    return somebodys


def _names_browser(header: bytes) -> bool:
    lower = header.lower()
    return lower == b"user-agent" or lower.startswith(b"sec-ch-ua")

"""The head of a request as a browser would send it, encoded for the worker. Pure.

The part that many requests share is computed and encoded once: everything except the URL's path,
the cookies, and a Referer with a path.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from .._ipc.messages import BrowserHead, encode_browser_head
from .browser.headers import BrowserHeaders, browser_headers, http1_fields
from .browser.own_headers import HeaderConflict, find_conflict
from .browser.referrer import Trim
from .browser.request import BrowserRequest, facts_of
from .browser.target import Family, Target

#: Headers that a user set, in order; None as a value keeps one from being sent.
OwnHeaders = tuple[tuple[bytes, "bytes | None"], ...]

# Firefox also sends Priority over HTTP/1.1, and TE only over HTTP/2 and HTTP/3; libcurl does the
# reverse. It judges a line by its first name, so these headers share the line of another.
# (curl_cffi 0.17 lets Priority pass if a line begins with Firefox's User-Agent.)
_RIDERS_OF_HTTP1: dict[Family, list[tuple[bytes, bytes]]] = {
    "gecko": [(b"priority", b"user-agent")]
}
_RIDERS_OF_HTTP2: dict[Family, list[tuple[bytes, bytes]]] = {
    "gecko": [(b"te", b"priority"), (b"user-agent", b"accept")]
}


class EncodedHead(NamedTuple):
    """The head of requests that differ only in paths and cookies.

    Attributes:
        message: an encoded `BrowserHead` for the worker.
        referer: the value of Referer, unless it depends on a path; None without a Referer.
        shows_initiator: whether Referer has the initiator's whole URL.
        has_all_cookies: whether the request carries all cookies of the URL. (Within its site, a
            script can choose; where the user has logged in, it sends them.)
        conflict: a header of the user's that contradicts the browser; None if none does.
    """

    message: bytes
    referer: bytes | None
    shows_initiator: bool
    has_all_cookies: bool
    conflict: HeaderConflict | None


@lru_cache(2048)
def encoded_head(
    target: Target, request: BrowserRequest, own: OwnHeaders, version: int | None
) -> EncodedHead:
    """Return the head of a request.

    Args:
        request: the request, its URLs without their paths, which matter only to Referer.
        own: the user's headers, except Cookie and Referer, which are not part of the head.
        version: as `VisitedOrigins.version` returns it.

    Raises:
        ValueError: see `browser_headers`.
    """
    headers = browser_headers(request, target, own)
    is_http1 = version == 1
    facts = facts_of(request)
    message = BrowserHead(
        fields=[
            *_fields(headers, is_http1),
            *((name, None) for name, value in own if value is None),
        ],
        order=list(headers.order),
        weight=headers.weight,
        exclusive=headers.exclusive,
        riders=(_RIDERS_OF_HTTP1 if is_http1 else _RIDERS_OF_HTTP2).get(headers.family, []),
        is_http2=version == 2,
    )
    return EncodedHead(
        encode_browser_head(message),
        dict(headers.fields).get(b"Referer"),
        facts.referer is Trim.FULL,
        not facts.is_third_party,
        find_conflict(target, own),
    )


def _fields(headers: BrowserHeaders, is_http1: bool) -> list[tuple[bytes, bytes]]:
    fields = http1_fields(headers) if is_http1 else headers.fields
    return [field for field in fields if field[0] not in (b"Referer", b"Cookie")]

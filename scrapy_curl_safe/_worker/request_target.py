"""The request target: the part of a URL that goes out as it is (RFC 9112, section 3.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from .._ipc.http_syntax import HeadPart, check_head_part
from .._ipc.messages import HeaderPairs

_SCHEME = re.compile(rb"https?:", re.IGNORECASE)
# Without a fragment, and without what a head must not contain (`HeadPart.TARGET`).
_URL = re.compile(
    rb"((https?)://(?:[^/?#\x00-\x20\x7f]*@)?([^/?#\x00-\x20\x7f]*))([^#\x00-\x20\x7f]*)(?:#|\Z)",
    re.IGNORECASE,
)


class UnsupportedSchemeError(ValueError):
    """Names a URL that is neither http nor https."""


class RequestTarget(NamedTuple):
    """A URL in the form that libcurl is given.

    Attributes:
        server: a URL with scheme, credentials, host and port only.
        target: what libcurl sends as the request target. (libcurl could take it from the URL, but
            since 8.20 it changes the case of percent-encoded octets.)
        authority: host and port as the URL has them, without credentials.
        is_absolute: whether the target includes scheme and authority.
    """

    server: bytes
    target: bytes
    authority: bytes
    is_absolute: bool


def request_target(url: str, *, http_proxy: bool) -> RequestTarget:
    """Split a URL.

    Args:
        http_proxy: whether the request goes through an HTTP proxy. The proxy makes a tunnel for
            https; for http it gets the whole URL, without credentials (RFC 9110, section 4.2.4).

    Raises:
        HttpSyntaxError: the URL has whitespace or control characters.
        UnsupportedSchemeError: the URL is neither http nor https.
        ValueError: the URL has no host.
    """
    encoded = url.encode()
    match = _URL.match(encoded)
    if match is None:
        sent = encoded.partition(b"#")[0]
        check_head_part(HeadPart.TARGET, sent)
        if _SCHEME.match(sent) is None:
            raise UnsupportedSchemeError(f"no http or https URL: {url!r}")
        raise ValueError(f"a URL without a host: {url!r}")
    server, scheme, authority, path = match.groups()
    if path[:1] != b"/":
        path = b"/" + path
    if http_proxy and scheme.lower() == b"http":
        return RequestTarget(server, scheme + b"://" + authority + path, authority, True)
    return RequestTarget(server, path, authority, False)


def with_host(headers: HeaderPairs, host: bytes | None) -> HeaderPairs:
    """Add a Host to headers that have none.

    Args:
        host: its value; None to leave it to libcurl.
    """
    if host is None or any(name.lower() == b"host" for name, _ in headers):
        return headers
    return [*headers, (b"Host", host)]

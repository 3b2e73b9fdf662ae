"""The request target: what of a URL goes out octet for octet (RFC 9112, section 3.2). Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from .._ipc.http_syntax import HeadPart, check_head_part

_URL = re.compile(rb"((https?)://(?:[^/?]*@)?([^/?]*))(.*)", re.IGNORECASE)


class RequestTarget(NamedTuple):
    """A URL in the form in which libcurl takes it.

    Attributes:
        server: a URL with scheme, credentials, host and port alone.
        target: what libcurl sends as the request target. (It would take it from the URL, but
            libcurl 8.20 and later change the case of percent-encoded octets.)
        authority: host and port as the URL has them, without credentials.
        is_absolute: whether the target has scheme and authority, too.
    """

    server: bytes
    target: bytes
    authority: bytes
    is_absolute: bool


def request_target(url: str, *, http_proxy: bool) -> RequestTarget:
    """Split a URL.

    Args:
        http_proxy: whether the request goes by an HTTP proxy. It makes a tunnel for https, and else
            is told the whole URL, without credentials (RFC 9110, section 4.2.4).

    Raises:
        HttpSyntaxError: the URL has whitespace or control characters.
        ValueError: the URL is none that can be downloaded.
    """
    sent = url.encode().partition(b"#")[0]
    check_head_part(HeadPart.TARGET, sent)
    match = _URL.match(sent)
    if match is None:
        raise ValueError(f"no http or https URL: {url!r}")
    server, scheme, authority, path = match.groups()
    if path[:1] != b"/":
        path = b"/" + path
    if http_proxy and scheme.lower() == b"http":
        return RequestTarget(server, scheme + b"://" + authority + path, authority, True)
    return RequestTarget(server, path, authority, False)

"""The URL of a proxy: what it consists of, and what of it may be shown. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")

_SCHEME = re.compile(r"\w+://")
# A name or an address, and a port.
_LOCATION = re.compile(r"(?:\[[\w:.%~-]+\]|[^\s:/?#@\[\]]+)(?::(\d{1,5}))?")
_LARGEST_PORT = 65_535
_MALFORMED = (
    "has a URL that is malformed, and not shown, since it may hold a password: it takes "
    "SCHEME://USER:PASSWORD@HOST:PORT, with @, :, / and # in the user and the password "
    "percent-encoded (and not HOST:PORT:USER:PASSWORD)"
)


class ProxyUrl(NamedTuple):
    """A proxy.

    Attributes:
        url: its URL without user and password.
        credentials: user and password with a colon between them, decoded; None for none.
    """

    url: str
    credentials: bytes | None


@lru_cache(4096)
def parse_proxy(text: str) -> ProxyUrl:
    """Take the URL of a proxy apart. The scheme is http unless it has one.

    Raises:
        ValueError: there is no such proxy; the text follows "the proxy", and has nothing that could
            be a password.
    """
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"http://{text.removeprefix('//')}")
    except ValueError:  # brackets without an address in them
        raise ValueError(_MALFORMED) from None
    userinfo, at, location = parts.netloc.rpartition("@")
    match = _LOCATION.fullmatch(location)
    if match is None or int(match[1] or 1) not in range(1, _LARGEST_PORT + 1):
        raise ValueError(_MALFORMED)
    url = parts._replace(netloc=location).geturl()
    # A slash or the like that begins the path may be one of the password.
    if "@" in url:
        raise ValueError(_MALFORMED)
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f"{url} has the scheme {parts.scheme}: it takes one of {', '.join(_SCHEMES)}"
        )
    if not at:
        return ProxyUrl(url, None)
    user, _, password = userinfo.partition(":")
    return ProxyUrl(url, unquote_to_bytes(user) + b":" + unquote_to_bytes(password))


def without_credentials(proxy: str) -> str:
    """Return the URL of a proxy as it may be shown."""
    try:
        return parse_proxy(proxy).url
    except ValueError:
        return "a malformed proxy URL"

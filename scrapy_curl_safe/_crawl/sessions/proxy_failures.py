"""Why requests through proxies failed, for the stats and the log. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
)

from ...exceptions import HandshakeError, OriginUnavailableError, ProxyAuthenticationError
from .health import Proxy

_MOST_SHOWN = 5
# Kinds of failed handshakes that may be the proxy's doing.
_BY_THE_PROXY = ("syscall", "protocol")
_TUNNEL_STATUS = re.compile(r"CONNECT tunnel failed, response (\d{3})")
_NO_TLS = "the TLS handshake with the proxy failed"


class ProxyFailure(NamedTuple):
    """The failure of a request by its proxy.

    Attributes:
        cause: as a stat names it.
        words: as the log does.
    """

    cause: str
    words: str


BAD_CREDENTIALS = ProxyFailure("407", "407: wrong or missing user or password")
_BROKEN_HANDSHAKE = ProxyFailure("handshake", "broken TLS handshake")
# An exception may be two of these, of which the first counts.
_FAILURES: tuple[tuple[type[Exception], ProxyFailure], ...] = (
    (OriginUnavailableError, ProxyFailure("unavailable", "handshakes keep failing")),
    (ProxyAuthenticationError, BAD_CREDENTIALS),
    (DownloadTimeoutError, ProxyFailure("timeout", "timeout")),
    (HandshakeError, _BROKEN_HANDSHAKE),
    (CannotResolveHostError, ProxyFailure("refused", "host not found")),
    (DownloadConnectionRefusedError, ProxyFailure("refused", "refused")),
)


def failure_of(exception: Exception) -> ProxyFailure | None:
    """Return why a proxy is to rest; None if the exception says nothing about it."""
    for error, failure in _FAILURES:
        if not isinstance(exception, error):
            continue
        if isinstance(exception, DownloadConnectionRefusedError):
            return failure._replace(words=_refusal(str(exception)))
        if failure is _BROKEN_HANDSHAKE and getattr(exception, "kind", "") not in _BY_THE_PROXY:
            return None
        return failure
    return None


def _refusal(text: str) -> str:
    status = _TUNNEL_STATUS.search(text)
    if status is not None:
        return f"answered CONNECT with {status[1]}"
    return _NO_TLS if _NO_TLS in text else "refused"


def all_rest(proxies: Sequence[Proxy], seconds: float) -> str:
    """Return what the log says when all proxies rest.

    Args:
        seconds: until one of them is tried.
    """
    shown = ", ".join(f"{proxy.label} ({proxy.last_failure})" for proxy in proxies[:_MOST_SHOWN])
    more = len(proxies) - _MOST_SHOWN
    if more > 0:
        shown += f" and {more} more"
    if len(proxies) == 1:
        rest, it, one = "The only proxy of CURL_SAFE_SESSIONS rests", "it", "it"
    else:
        rest, it, one = f"All {len(proxies)} proxies of CURL_SAFE_SESSIONS rest", "them", "one"
    return (
        f"{rest}, since requests through {it} failed: {shown}. {one.capitalize()} is tried in "
        f"{seconds:.0f} s; requests wait until {one} works, for an hour at most, and then fail "
        "with NoSessionError"
    )

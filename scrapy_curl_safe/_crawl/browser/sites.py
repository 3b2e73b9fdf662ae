"""Origins, sites, and which of them a browser trusts.

Sources: RFC 6454 (origin), HTML Standard "same site" (schemeful), Secure Contexts 3.1 (potentially
trustworthy), the public suffix list (https://publicsuffix.org) with its private section, as
Chromium and Firefox use it.
"""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from tldextract import TLDExtract

_DEFAULT_PORTS = {"http": 80, "https": 443}


class WebOrigin(NamedTuple):
    """The origin of a URL with a host. Two are equal by the rules of RFC 6454, section 5."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Serialize it as the Origin header does: without a default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS.get(self.scheme) else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def is_trustworthy(self) -> bool:
        """True if the origin is potentially trustworthy: encrypted, or on this machine."""
        return self.scheme == "https" or _is_loopback(self.host)


class Relation(IntEnum):
    """The relation of two origins, from closest to farthest."""

    SAME_ORIGIN = 0
    SAME_SITE = 1
    CROSS_SITE = 2


def web_origin(url: str) -> WebOrigin | None:
    """Return the origin of a URL; None for one that has no host, such as `about:blank`.

    Raises:
        ValueError: the URL has no valid port.
    """
    parts = urlsplit(url)
    return _origin(parts.scheme, parts.netloc)


@lru_cache(4096)
def _origin(scheme: str, netloc: str) -> WebOrigin | None:
    parts = SplitResult(scheme, netloc, "", "", "")
    if not parts.hostname:
        return None
    return WebOrigin(scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(scheme, 0))


@lru_cache(4096)
def relation(one: WebOrigin, other: WebOrigin) -> Relation:
    """Relate two origins. http and https are different sites."""
    if one == other:
        return Relation.SAME_ORIGIN
    if one.scheme == other.scheme and same_domain(one.host, other.host):
        return Relation.SAME_SITE
    return Relation.CROSS_SITE


def same_domain(host: str, other: str) -> bool:
    """Tell whether two hosts belong to one registrable domain, whatever the scheme."""
    if host == other:
        return True
    domain = registrable_domain(host)
    return domain is not None and domain == registrable_domain(other)


@lru_cache(4096)
def registrable_domain(host: str) -> str | None:
    """Return the public suffix and the label before it; None if there is no such domain.

    An IP address, a single label and a public suffix have none. A top-level domain that is not on
    the list is a public suffix (the list's default rule, `*`).
    """
    host = host.rstrip(".")
    if "." not in host or _is_address(host):
        return None
    suffix = _extract()(host).suffix or host.rpartition(".")[2]
    above = host[: -len(suffix)].rstrip(".")
    return f"{above.rpartition('.')[2]}.{suffix}" if above else None


@lru_cache(1)
def _extract() -> TLDExtract:
    """Read the list that tldextract includes, and never a newer one from the network."""
    return TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(4096)
def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback

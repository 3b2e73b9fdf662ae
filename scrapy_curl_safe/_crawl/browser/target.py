"""What the impersonated browser contributes: values, and which headers it knows at all.

They are learned from the headers of one page as the target sends it. What such a page says about
its own context (Sec-Fetch-*, Cache-Control, Priority) is not used: some targets of curl_cffi have
recorded a reload or a fetch().
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Family = Literal["chromium", "gecko", "webkit"]

_VERSION: dict[Family, re.Pattern[str]] = {
    "chromium": re.compile(r"Chrom(?:e|ium)/(\d+)"),
    "gecko": re.compile(r"Firefox/(\d+)"),
    "webkit": re.compile(r"Version/(\d+)"),
}
_FAMILY_MARKS: tuple[tuple[str, Family], ...] = (
    ("Firefox/", "gecko"),
    ("Chrome/", "chromium"),
    ("Chromium/", "chromium"),
)

# The versions from which on a browser sends Priority. libcurl keeps it from HTTP/1.1, over which
# targets are learned.
_PRIORITY_SINCE: dict[Family, int] = {"chromium": 124, "gecko": 128, "webkit": 18}
# The versions from which on a browser sends Sec-Fetch-Storage-Access.
_STORAGE_ACCESS_SINCE: dict[Family, int] = {"chromium": 133, "gecko": 153}


@dataclass(frozen=True, eq=False)
class Target:
    """A browser, as far as its headers show it. Hashable by identity: there are few.

    Attributes:
        major: its version; 0 if the User-Agent does not tell.
        values: lower-case name and value of each header that is the same in all contexts.
        order: lower-case names of the page's headers, in order.
    """

    family: Family
    major: int
    values: tuple[tuple[str, str], ...]
    order: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """Return the value of one of `values`."""
        return dict(self.values).get(name)

    @property
    def has_fetch_metadata(self) -> bool:
        """Whether it sends Sec-Fetch-* headers; Safari does since 16.4."""
        return any(name.startswith("sec-fetch-") for name in self.order)

    @property
    def has_priority(self) -> bool:
        """Whether it sends RFC 9218's Priority."""
        return "priority" in self.order

    @property
    def has_storage_access(self) -> bool:
        """Whether it sends Sec-Fetch-Storage-Access."""
        since = _STORAGE_ACCESS_SINCE.get(self.family)
        return since is not None and self.major >= since


# Headers that say something about one request, and not about the browser.
_OF_CONTEXT = frozenset(
    {
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "http2-settings",
        "origin",
        "pragma",
        "priority",
        "referer",
        "te",
        "upgrade",
        "upgrade-insecure-requests",
    }
)


def learn_target(headers: Iterable[tuple[str, str]]) -> Target:
    """Learn a target from the headers of a page that it sent over HTTPS or to this machine, by
    whatever version of HTTP."""
    pairs = [(name.lower(), value) for name, value in headers]
    user_agent = dict(pairs).get("user-agent", "")
    family: Family = "webkit"
    for mark, marked in _FAMILY_MARKS:
        if mark in user_agent:
            family = marked
            break
    version = _VERSION[family].search(user_agent)
    major = int(version[1]) if version else 0
    order = [name for name, _ in pairs]
    if major >= _PRIORITY_SINCE[family] and "priority" not in order:
        # Of Safari, this is its place; the other families have tables.
        at = order.index("accept-encoding") if "accept-encoding" in order else len(order)
        order.insert(at, "priority")
    return Target(
        family=family,
        major=major,
        values=tuple(
            (name, value)
            for name, value in pairs
            if name not in _OF_CONTEXT and not name.startswith("sec-fetch-")
        ),
        order=tuple(order),
    )

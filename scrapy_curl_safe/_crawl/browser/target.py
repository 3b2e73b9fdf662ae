"""The impersonated browser's part of the headers: which ones it sends, and their values.

It is learned from the target's own request for a page. What this request says about its context
(Sec-Fetch-*, Cache-Control, Priority) is not used: for some targets, curl_cffi recorded a reload or
a fetch().
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

# The first versions that send Priority. libcurl does not send it over HTTP/1.1, over which targets
# are learned.
_PRIORITY_SINCE: dict[Family, int] = {"chromium": 124, "gecko": 128, "webkit": 18}
# The first versions that send Sec-Fetch-Storage-Access.
_STORAGE_ACCESS_SINCE: dict[Family, int] = {"chromium": 133, "gecko": 153}


@dataclass(frozen=True, eq=False)
class Target:
    """A browser, as far as its headers show it. Hashable by identity: there are few.

    Attributes:
        major: its major version; 0 if the User-Agent does not name it.
        values: lower-case name and value of each header that is the same in all contexts.
        order: lower-case names of the headers of its request for a page, in order.
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
        """True if it sends Sec-Fetch-* headers, as Safari does since 16.4."""
        return any(name.startswith("sec-fetch-") for name in self.order)

    @property
    def has_priority(self) -> bool:
        """True if it sends RFC 9218's Priority."""
        return "priority" in self.order

    @property
    def has_storage_access(self) -> bool:
        """True if it sends Sec-Fetch-Storage-Access."""
        since = _STORAGE_ACCESS_SINCE.get(self.family)
        return since is not None and self.major >= since


# Headers that belong to one request, not to the browser.
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
    """Learn a target from the headers of its request for a page, sent over HTTPS or to this machine
    in any version of HTTP."""
    pairs = [(name.lower(), value) for name, value in headers]
    user_agent = dict(pairs).get("user-agent", "")
    # curl_cffi's chrome131_android has "?0" with the User-Agent of a phone.
    mobile = "?1" if "Mobile" in user_agent else "?0"
    pairs = [(name, mobile if name == "sec-ch-ua-mobile" else value) for name, value in pairs]
    family: Family = "webkit"
    for mark, marked in _FAMILY_MARKS:
        if mark in user_agent:
            family = marked
            break
    version = _VERSION[family].search(user_agent)
    major = int(version[1]) if version else 0
    order = [name for name, _ in pairs]
    if major >= _PRIORITY_SINCE[family] and "priority" not in order:
        # This is its place in Safari; the other families have tables.
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

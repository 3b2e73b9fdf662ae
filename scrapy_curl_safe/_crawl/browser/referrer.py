"""The Referer header: Referrer Policy, section 8.3 "Determine request's Referrer"
(https://w3c.github.io/webappsec-referrer-policy/)."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from urllib.parse import urlsplit

from .sites import WebOrigin, web_origin

#: Used where neither a page nor an element says otherwise; all browsers agree on it since 2020.
DEFAULT_POLICY = "strict-origin-when-cross-origin"

POLICIES = frozenset(
    {
        "no-referrer",
        "no-referrer-when-downgrade",
        "same-origin",
        "origin",
        "strict-origin",
        "origin-when-cross-origin",
        "strict-origin-when-cross-origin",
        "unsafe-url",
    }
)

_NEVER_TRIMMED = ("unsafe-url", "no-referrer-when-downgrade")
_ONLY_ACROSS_ORIGINS = ("origin-when-cross-origin", "strict-origin-when-cross-origin")
_NEVER_ON_DOWNGRADE = (
    "no-referrer-when-downgrade",
    "strict-origin",
    "strict-origin-when-cross-origin",
)
# Longer URLs are trimmed to the origin (Fetch Standard, "determine request's referrer", step 6).
_MAX_LENGTH = 4096


class Trim(IntEnum):
    """The part of the page's URL that is sent, from most to least."""

    FULL = 0
    ORIGIN = 1
    NOTHING = 2


def parse_policy(header: str | None) -> str | None:
    """Return the policy that a Referrer-Policy header sets: its last token that is a policy.

    Args:
        header: the field's value, or several joined by commas; None if there is none.
    """
    if not header:
        return None
    tokens = [token.strip().lower() for token in header.split(",")]
    return next((token for token in reversed(tokens) if token in POLICIES), None)


def trim(policy: str, page: WebOrigin, target: WebOrigin) -> Trim:
    """Tell how much of a page's URL a target gets to see.

    Args:
        policy: one of `POLICIES`.
    """
    same = page == target
    if policy == "no-referrer" or (policy == "same-origin" and not same):
        return Trim.NOTHING
    is_downgrade = page.is_trustworthy and not target.is_trustworthy
    if policy in _NEVER_ON_DOWNGRADE and is_downgrade:
        return Trim.NOTHING
    if policy in _NEVER_TRIMMED:
        return Trim.FULL
    keeps_path = same and (policy == "same-origin" or policy in _ONLY_ACROSS_ORIGINS)
    return Trim.FULL if keeps_path else Trim.ORIGIN


def trim_over_redirects(
    policy: str, page: WebOrigin, hops: Iterable[tuple[WebOrigin, str | None]]
) -> Trim:
    """Follow the Referer through redirects: what one hop has trimmed stays trimmed.

    Args:
        policy: of the page.
        hops: each target in the order of the requests, with the policy of the response that
            redirected to it (None where that had none).
    """
    most = Trim.FULL
    for target, changed in hops:
        policy = changed or policy
        most = max(most, trim(policy, page, target))
    return most


def referer(page: str, trimmed: Trim) -> str | None:
    """Return the value of the Referer header; None if there is none.

    Args:
        page: URL of the page that asks.
    """
    if trimmed is Trim.FULL:
        full = page if _is_bare(page) else _stripped(page)
        if len(full) <= _MAX_LENGTH:
            return full
    origin = web_origin(page)
    return None if trimmed is Trim.NOTHING or origin is None else f"{origin}/"


def _is_bare(url: str) -> bool:
    """Tell quickly that a URL has nothing to strip; False if that takes a closer look."""
    path = url.find("/", 8)
    return path > 0 and "#" not in url and "@" not in url and "?" not in url[:path]


def _stripped(url: str) -> str:
    """Remove user, password and fragment."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=netloc, path=parts.path or "/", fragment="").geturl()

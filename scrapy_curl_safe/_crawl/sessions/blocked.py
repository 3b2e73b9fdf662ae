"""The policy that tells whether an origin has refused a session. Pure."""

from __future__ import annotations

import re

from scrapy.http import Response

from ...exceptions import HandshakeError, ProxyAuthenticationError
from ..scrapy_api import has_header

_STATUSES = frozenset({401, 403, 407, 429})
# Pages with a challenge are small; larger ones may embed its script for other ends.
_MOST_BYTES = 20_000

# Headers that only a challenge has, each with its value.
_HEADERS = (
    (b"Cf-Mitigated", re.compile(rb"challenge", re.IGNORECASE)),
    (b"Cf-Chl-Bypass", re.compile(rb"1")),
    (b"Server-Timing", re.compile(rb"\bchlray\b")),
    (b"X-Amzn-Waf-Action", re.compile(rb"challenge|captcha", re.IGNORECASE)),
)
# What the pages themselves consist of. A search for each takes less time than one expression.
_MARKERS = (
    b"window._cf_chl_opt",
    b"<title>Just a moment...</title>",
    b"_Incapsula_Resource?",
    b".captcha-delivery.com/",
    b"px-captcha",
    b"/_sec/cp_challenge/",
    b"window.gokuProps",
    b"/errors/validateCaptcha",
    b"sucuri_cloudproxy_js",
    b"<title>DDoS-Guard</title>",
)


class BlockedPolicy:
    """Tells blocks from other outcomes.

    `CURL_SAFE_SESSIONS["blocked"]` names another class, with a method of this name.
    """

    def reason(self, outcome: Response | Exception) -> str | None:
        """Return why a response, or the exception of a download, is a block; None if it is none.

        Reasons are short words: they become part of a stat's key.
        """
        if isinstance(outcome, Exception):
            if isinstance(outcome, HandshakeError) and outcome.kind == "alert":
                return "handshake"
            return "407" if isinstance(outcome, ProxyAuthenticationError) else None
        if outcome.status in _STATUSES:
            return str(outcome.status)
        headers = outcome.headers
        for name, pattern in _HEADERS:
            if has_header(headers, name) and pattern.search(headers.get(name) or b""):
                return "challenge"
        body = outcome.body
        if len(body) <= _MOST_BYTES:
            for marker in _MARKERS:
                if marker in body:
                    return "challenge"
        return None

"""Decides which cookies a request carries, and in which form.

Sources: RFC 6265bis, section 5.2 (same-site and cross-site requests) and 5.8.3 (retrieval);
RFC 9113, section 8.2.3 (crumbs).
"""

from __future__ import annotations

from http.cookiejar import Cookie

from .request import BrowserRequest, facts_of

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


def sends_cookie(request: BrowserRequest, same_site: str | None, secure: bool) -> bool:
    """Tell whether a browser attaches a cookie of the target, by its SameSite and the context.

    Chromium and Firefox send no third-party cookies with subresources and frames, not even those
    with SameSite=None (recordings: `sec-fetch-storage-access: none`).

    Args:
        same_site: the cookie's attribute, in upper or lower case; None if it has none, which counts
            as Lax.
        secure: the cookie's attribute; SameSite=None counts only with it.
    """
    facts = facts_of(request)
    if not facts.has_credentials:
        return False
    if not facts.is_third_party:
        return True
    if request.kind != "page":
        return False
    rule = (same_site or "lax").lower()
    return (rule == "none" and secure) or (rule == "lax" and request.method in _SAFE)


def same_site_of(cookie: Cookie) -> str | None:
    """Return the value of a cookie's SameSite, as its origin wrote it; None if it has none."""
    for name in ("SameSite", "samesite", "Samesite", "SAMESITE"):
        if cookie.has_nonstandard_attr(name):
            return cookie.get_nonstandard_attr(name)
    return None


def is_http_only(cookie: Cookie) -> bool:
    """Tell whether a cookie is hidden from the scripts of a page."""
    names = ("HttpOnly", "httponly", "Httponly", "HTTPOnly", "HTTPONLY")
    return any(map(cookie.has_nonstandard_attr, names))


def crumbs(cookies: str) -> list[str]:
    """Split a Cookie header into the fields that HTTP/2 and HTTP/3 carry."""
    return [crumb for part in cookies.split(";") if (crumb := part.strip())]

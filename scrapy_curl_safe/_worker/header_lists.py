"""The lists for CURLOPT_HTTPHEADER. Requests with the same headers share one: libcurl keeps no
copy."""

from __future__ import annotations

from typing import Any

from curl_cffi import ffi, lib

from .._ipc.messages import HeaderPairs, Profile
from .browser import browser_headers

# libcurl would add these of its own accord; a request has them only if somebody set them.
_NEVER_ADDED = (b"Expect", b"Content-Type")
# ... and this one, where no browser brings its own.
_ADDED_WITHOUT_BROWSER = (b"Accept",)

# Lists that are kept for the next request: most have the same headers as the one before.
_MOST = 16


class BadHeaderError(Exception):
    """Headers that cannot be sent, and why."""


class HeaderLists:
    """Those of one session.

    Args:
        profile: of all its requests.
    """

    def __init__(self, profile: Profile) -> None:
        self._of_browser = browser_headers(profile)
        self._unwanted: tuple[bytes, ...] = _NEVER_ADDED
        if profile.impersonate is None or not profile.default_headers:
            self._unwanted += _ADDED_WITHOUT_BROWSER
        self._known: dict[tuple[object, ...], Any] = {}

    def of(self, headers: HeaderPairs) -> Any:
        """A curl_slist, there as long as somebody has what this returns.

        Raises:
            BadHeaderError: RFC 9110, section 5.5, forbids it.
            MemoryError: there is none left.
        """
        key = tuple(headers)
        known = self._known.get(key)
        if known is None:
            if len(self._known) == _MOST:
                self._known.clear()
            known = self._known[key] = _slist(self._lines(headers))
        return known

    def _lines(self, headers: HeaderPairs) -> list[bytes]:
        """In libcurl's words: "Name:" removes, "Name;" sends an empty value."""
        _check(headers)
        given = {name.lower() for name, _ in headers}
        lines = [
            name + b":" if value is None else name + b": " + value if value else name + b";"
            for name, value in headers
        ]
        lines += [
            name + b": " + value for name, value in self._of_browser if name.lower() not in given
        ]
        return lines + [name + b":" for name in self._unwanted if name.lower() not in given]


def _check(headers: HeaderPairs) -> None:
    for name, value in headers:
        if not name or any(c in name + (value or b"") for c in b"\r\n\0") or b":" in name:
            raise BadHeaderError(f"header {name!r} has an invalid name or value: {value!r}")


def _slist(lines: list[bytes]) -> Any:
    first = ffi.NULL
    for line in lines:
        longer = lib.curl_slist_append(first, line)
        if longer == ffi.NULL:
            lib.curl_slist_free_all(first)
            raise MemoryError
        first = longer
    return ffi.gc(first, lib.curl_slist_free_all)

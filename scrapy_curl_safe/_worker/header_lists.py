"""Lists of header lines for CURLOPT_HTTPHEADER. Requests with the same headers share a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._ipc.http_syntax import HeadPart, HttpSyntaxError, check_head_part
from .._ipc.messages import HeaderPairs, Profile
from .slist import make_slist

# libcurl would add these to some requests by itself. Only the crawler decides on them.
_SUPPRESSED = (b"Expect", b"Content-Type")
# A browser brings its own Accept; without one libcurl would add "*/*".
_SUPPRESSED_WITHOUT_BROWSER = (b"Accept",)

# Most requests have the same headers as the one before.
_MAX_LISTS = 16


class HeaderLists:
    """The header lists of one session.

    Args:
        profile: the profile of all its requests.
        for_http3: whether they are for HTTP/3, for which a fingerprint may have other headers.

    Raises:
        HttpSyntaxError: the profile's fingerprint has a header that cannot be sent.
    """

    def __init__(self, profile: Profile, *, for_http3: bool = False) -> None:
        suppressed: tuple[bytes, ...] = _SUPPRESSED
        if profile.impersonate is None or not profile.default_headers:
            suppressed += _SUPPRESSED_WITHOUT_BROWSER
        # By name in lower case: the lines that a request has unless it brings its own.
        self._default_lines = [
            (name.lower(), header_line(name, value))
            for name, value in [
                *_fingerprint_headers(profile, "http3_headers" if for_http3 else "headers"),
                *((name, None) for name in suppressed),
            ]
        ]
        self._lists: dict[tuple[object, ...], Any] = {}

    def get(self, headers: HeaderPairs) -> Any:
        """Return a curl_slist, which exists as long as the returned object is referenced.

        Raises:
            HttpSyntaxError: one of the headers cannot be sent.
            MemoryError: no memory is left.
        """
        key = tuple(headers)
        header_list = self._lists.get(key)
        if header_list is None:
            if len(self._lists) == _MAX_LISTS:
                self._lists.clear()
            header_list = self._lists[key] = self.make(headers)
        return header_list

    def make(self, headers: HeaderPairs, riders: Sequence[tuple[bytes, bytes]] = ()) -> Any:
        """Return a new curl_slist.

        Args:
            riders: see `BrowserHead`; without a line to share, a header keeps its own.

        Raises:
            HttpSyntaxError: one of the headers cannot be sent.
            MemoryError: no memory is left.
        """
        lines = [(name.lower(), header_line(name, value)) for name, value in headers]
        given = {name for name, _ in lines}
        # Without a value, a line is not sent as it is.
        with_value = {name.lower() for name, value in headers if value and value.strip()}
        for rider, carrier in riders:
            if with_value >= {rider, carrier}:
                lines = _share_line(lines, rider, carrier)
        lines += [(name, line) for name, line in self._default_lines if name not in given]
        return make_slist([line for _, line in lines])


def _share_line(
    lines: list[tuple[bytes, bytes]], rider: bytes, carrier: bytes
) -> list[tuple[bytes, bytes]]:
    """Move the lines of one header to the end of the first one of another."""
    riding = [line for name, line in lines if name == rider]
    left = [(name, line) for name, line in lines if name != rider]
    at = next(index for index, (name, _) in enumerate(left) if name == carrier)
    # Each line was checked, so it contains no other line break.
    left[at] = (carrier, b"\r\n".join([left[at][1], *riding]))
    return left


def _fingerprint_headers(profile: Profile, field: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a fingerprint that is a dict; libcurl adds those of a target itself."""
    if profile.fingerprint is None or not profile.default_headers:
        return []
    headers: dict[str, str] = profile.fingerprint.get(field) or {}
    try:
        return [
            (name.encode(), value.encode())
            for name, value in headers.items()
            # An empty Host stands for the request's own.
            if value or name.lower() != "host"
        ]
    except AttributeError as error:
        raise HttpSyntaxError(f"the fingerprint's headers are not text: {error}") from error


def header_line(name: bytes, value: bytes | None) -> bytes:
    """Return the line that CURLOPT_HTTPHEADER and CURLOPT_PROXYHEADER take for a header.

    "Name:" keeps libcurl from sending the header, "Name;" sends it with an empty value. libcurl
    takes a blank value for a missing one.

    Raises:
        HttpSyntaxError: the header cannot be sent.
    """
    check_head_part(HeadPart.FIELD_NAME, name, of=f"header {name!r}")
    if value is None:
        return name + b":"
    check_head_part(HeadPart.FIELD_VALUE, value, of=f"header {name!r}")
    return name + b": " + value if value.strip() else name + b";"

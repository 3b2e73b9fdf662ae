"""Parses the status and headers of a response as libcurl passes it on. Pure.

libcurl has already refused what it does not take for HTTP. What it lets through although RFC 9112
forbids it is treated here as browsers treat it:

    status of more than three digits     taken as the number that is written there
    whitespace other than one blank      accepted before the status (section 4)
    whitespace before a header's colon   removed (section 5.1). But libcurl does not recognize a
                                         Transfer-Encoding with it, so the body is not what the
                                         origin meant: the head is invalid
    a name that is not a token           the line is skipped
    no colon or no name                  the line is skipped
    folded lines                         joined by one blank (section 5.2)
    whitespace before the first header   the line is skipped (section 2.2)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"(\S+)[ \t]+(\d{3,9})(?!\d)")
# A line that begins with whitespace continues the one before (RFC 9112, section 5.2). libcurl 8.21
# joins them, 8.15 passes them on as they came.
_FOLD = re.compile(rb"\r?\n[ \t]+")
# The characters of a name (RFC 9110, section 5.6.2).
_TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_MAX_NAMES = 1024

# More than any limit on a body's size. Python refuses to parse numbers of thousands of digits.
_HUGE_BYTES = 2**63 - 1


class InvalidHeadError(Exception):
    """Says why the head of a response cannot be used."""


class ParsedHead(NamedTuple):
    """The status and headers of a response.

    Attributes:
        protocol: as in the status line, such as "HTTP/1.1" or "HTTP/2".
        status: the status code.
        headers: names and values, in order.
        end: where the body begins in the response.
    """

    protocol: str
    status: int
    headers: list[tuple[bytes, bytes]]
    end: int

    @property
    def content_length(self) -> int | None:
        """The value of Content-Length, in bytes; None if there is no valid one."""
        for value in field_values(self.headers, b"content-length"):
            # "2, 2" is as good as "2" (RFC 9110, section 8.6): libcurl has compared them.
            digits = value.partition(b",")[0].rstrip()
            if digits.isdigit():
                return int(digits) if len(digits) < 19 else _HUGE_BYTES
        return None

    @property
    def is_chunked(self) -> bool:
        """True if the body has the chunked transfer coding."""
        values = field_values(self.headers, b"transfer-encoding")
        return any(b"chunked" in value.lower() for value in values)


def field_values(headers: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return the values of a header.

    Args:
        name: in lower case.
    """
    # Lengths are quicker to compare than names.
    return [value for found, value in headers if len(found) == len(name) and found.lower() == name]


def parse_head(response: bytes | bytearray | memoryview) -> ParsedHead | None:
    """Parse the final head at the start of a response.

    Skip the heads of interim responses before it (RFC 9110, section 15.2).

    Returns:
        None if the final head is not complete.

    Raises:
        InvalidHeadError: the response cannot be used.
    """
    start = 0
    while (match := _END.search(response, start)) is not None:
        head = bytes(response[start : match.start()])
        if head.find(b"\n ") >= 0 or head.find(b"\n\t") >= 0:  # quicker than `in`
            head = _FOLD.sub(b" ", head)
        first, *lines = head.split(b"\n")
        status_line = _STATUS_LINE.match(first)
        if status_line is None:
            raise InvalidHeadError(f"no status in {first[:100]!r}")
        status = int(status_line[2])
        if status >= 200 or status == 101:
            protocol = status_line[1].decode("latin-1")
            return ParsedHead(protocol, status, _headers(lines), match.end())
        start = match.end()
    return None


def _headers(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not _is_token(name):
            name = name.rstrip(b" \t")
            if not _is_token(name):
                continue
            if name.lower() == b"transfer-encoding":
                raise InvalidHeadError("whitespace before the colon of Transfer-Encoding")
        if colon and name:
            headers.append((name, value.strip()))
    return headers


@lru_cache(_MAX_NAMES)  # responses have the same names again and again
def _is_token(name: bytes) -> bool:
    return not name.translate(None, _TOKEN)

"""Parses status and headers out of a response as libcurl passes it on. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_END = re.compile(rb"\n\r?\n")
# A line that begins with whitespace continues the one before (RFC 9112, section 5.2). libcurl 8.21
# joins them, 8.15 passes them on as they came.
_FOLD = re.compile(rb"\r?\n[ \t]+")

# More than any limit of a body's size. Python refuses to read numbers of thousands of digits.
_HUGE_BYTES = 2**63 - 1


class ParsedHead(NamedTuple):
    """Status and headers of a response.

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
    def content_length(self) -> int:
        """The value of Content-Length, in bytes; 0 without a valid one."""
        for name, value in self.headers:
            if name.lower() == b"content-length" and value.isdigit():
                return int(value) if len(value) < 19 else _HUGE_BYTES
        return 0


def parse_head(response: bytes | bytearray | memoryview) -> ParsedHead | None:
    """Parse the final head at the start of a response.

    Heads of interim responses (RFC 9110, section 15.2) before it are skipped, and so are header
    lines without a colon.

    Returns:
        None if the final head is not complete.
    """
    start = 0
    while (match := _END.search(response, start)) is not None:
        head = bytes(response[start : match.start()])
        if b"\n " in head or b"\n\t" in head:
            head = _FOLD.sub(b" ", head)
        status_line, *lines = head.split(b"\n")
        protocol, _, rest = status_line.partition(b" ")
        if not rest[:3].isdigit():
            return None
        status = int(rest[:3])
        if status >= 200 or status == 101:
            headers = []
            for line in lines:
                name, colon, value = line.partition(b":")
                if colon:
                    headers.append((name, value.strip()))
            return ParsedHead(protocol.decode("latin-1"), status, headers, match.end())
        start = match.end()
    return None

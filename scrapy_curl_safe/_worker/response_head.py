"""Status and headers out of what libcurl hands on as it came. Pure."""

from __future__ import annotations

from typing import NamedTuple

_Buffer = bytes | bytearray | memoryview

# Nearly every head is shorter; it is copied out of a response that may be large.
_USUAL = 4096


class ParsedHead(NamedTuple):
    protocol: str
    status: int
    headers: list[tuple[bytes, bytes]]
    #: Where the body begins.
    end: int

    @property
    def content_length(self) -> int:
        """0 where it is not told, or makes no sense."""
        for name, value in self.headers:
            if name.lower() == b"content-length" and value.isdigit():
                # More digits than a message holds, or Python reads, are more than any limit.
                return int(value) if len(value) < 19 else 2**63 - 1
        return 0


def parse_head(response: _Buffer) -> ParsedHead | None:
    """The final head at the start of a response, behind those of interim responses (RFC 9110,
    section 15.2). None if it is not complete. A line without a colon is skipped.
    """
    head = _parse(bytes(response[:_USUAL]))
    if head is None and len(response) > _USUAL:
        head = _parse(bytes(response))
    return head


def _parse(data: bytes) -> ParsedHead | None:
    status_line = b""
    headers: list[tuple[bytes, bytes]] = []
    at = 0
    while end := data.find(b"\n", at) + 1:
        line = data[at:end]
        at = end
        name, colon, value = line.partition(b":")
        if line.startswith(b"HTTP/"):
            status_line, headers = line, []
        elif colon:
            headers.append((name, value.strip()))
        elif line in (b"\r\n", b"\n"):
            protocol, _, rest = status_line.partition(b" ")
            if not rest[:3].isdigit():
                return None
            status = int(rest[:3])
            if status >= 200 or status == 101:
                return ParsedHead(protocol.decode("latin-1"), status, headers, end)
    return None

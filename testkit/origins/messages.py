from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SeenRequest:
    """A request as the origin received it.

    Attributes:
        headers: as received; with HTTP/2 and 3 they include the pseudo-headers.
        connection: number of the connection, counted from 0.
        weight: of the HTTP/2 stream, 1 to 256; None without an HTTP/2 priority.
        exclusive: that priority's exclusive flag.
    """

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    connection: int
    http_version: str
    weight: int | None = None
    exclusive: bool | None = None

    def header(self, name: str) -> bytes | None:
        """Return the value of the first header of a name, in any case; None if there is none."""
        wanted = name.lower().encode()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


@dataclass(frozen=True)
class Reply:
    """An answer of the origin.

    Attributes:
        last: whether the connection ends after it.
    """

    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""
    last: bool = False

    @property
    def may_have_body(self) -> bool:
        return self.status not in (204, 304)


App = Callable[[SeenRequest], Reply]


def default_app(request: SeenRequest) -> Reply:
    path = html.escape(request.path)
    body = f"<html><head><title>{path}</title></head><body><p>{path}</p></body></html>"
    return Reply(headers=[(b"Content-Type", b"text/html")], body=body.encode())

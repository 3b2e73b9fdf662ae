"""A response as an origin sends it, byte for byte or frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from testkit.origins.loop import Origin
from testkit.origins.raw import Piece, RawOrigin
from testkit.origins.scripted_http2 import Piece as Http2Piece
from testkit.origins.scripted_http2 import ScriptedHttp2

Transport = Literal["TCP", "TLS", "HTTP/2"]

#: Seconds between the last bytes and a reset, so that the client has read them.
PAUSE = 0.1


@dataclass(frozen=True, eq=False)
class Case:
    """A response that is malformed or unusual.

    Attributes:
        name: says what is wrong or unusual.
        transport: over which it comes.
        pieces: of HTTP/1.1, as `RawOrigin` takes them.
        frames: of HTTP/2, made of the stream's number, as `ScriptedHttp2` takes them.
        method: of the request.
        keep: whether the request has `download_fail_on_dataloss` = False.
        hangs_scrapy: whether a crawl with Scrapy's handler does not end.
    """

    name: str
    transport: Transport
    pieces: Sequence[Piece] = ()
    frames: Callable[[int], Sequence[Http2Piece]] = field(default=lambda stream: ())
    method: str = "GET"
    keep: bool = False
    hangs_scrapy: bool = False

    @property
    def title(self) -> str:
        kept = ", data loss allowed" if self.keep else ""
        return f"{self.transport}: {self.name}{kept}"

    def origin(self) -> Origin:
        if self.transport == "HTTP/2":
            return ScriptedHttp2(lambda stream, request: self.frames(stream))
        return RawOrigin(lambda head: self.pieces, tls=self.transport == "TLS")

    def request(self, url: str) -> dict[str, Any]:
        """Return the arguments of the Request."""
        meta = {"download_fail_on_dataloss": False} if self.keep else {}
        return {"url": url, "method": self.method, "meta": meta}

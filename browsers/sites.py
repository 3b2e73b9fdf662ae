"""The origins where the situations take place, and the requests that these received."""

from __future__ import annotations

import asyncio
import socket
import threading
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from types import TracebackType
from urllib.parse import urlsplit

from browsers import pages
from browsers.situations import COOKIES, CREDENTIALS, GALLERY, HUB, REDIRECTS, Situation
from testkit.origins.certs import certs
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.tls import TlsOrigin

NAMES = ("www.site-a.test", "api.site-a.test", "www.site-b.test")
#: The ports of the sites: HTTP/2, HTTP/1.1, plain http, and plain http that redirects to the first.
HTTPS, HTTP1, PLAIN, OLD = 443, 9443, 9080, 80

_DISTANCE_SECONDS = 0.1

_HTML = (b"Content-Type", b"text/html; charset=utf-8")
_KEPT = (
    (b"ETag", b'"v1"'),
    (b"Last-Modified", b"Mon, 02 Nov 2026 10:00:00 GMT"),
    # Scrapy's cache does not revalidate what has "no-cache".
    (b"Cache-Control", b"max-age=0"),
)
_NOT_KEPT = ((b"Cache-Control", b"no-store"),)
_OPEN_TO_ALL = (
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Access-Control-Allow-Headers", b"content-type"),
)
_FILES = {
    ".json": (b"application/json", b"{}"),
    ".png": (
        b"image/png",
        b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YAAAAASUVORK5CYII="
        ),
    ),
    ".js": (b"text/javascript", b""),
    ".css": (b"text/css", b""),
}
# The other site's image needs a new connection each time the gallery is loaded.
_LAST = ("/l-close", "/g-img-cross.png")
_BASIC = b"Basic " + b64encode(":".join(CREDENTIALS).encode())


@dataclass(frozen=True)
class Arrival:
    """A request that one of the sites received.

    Attributes:
        number: of the request, in order of arrival. The title of the page shows it.
        hello: the ClientHello of its connection; empty over plain http.
    """

    number: int
    scheme: str
    request: SeenRequest
    hello: bytes

    @property
    def host(self) -> str:
        name = ":authority" if self.request.http_version == "2" else "host"
        return (self.request.header(name) or b"").decode("latin-1")

    @property
    def root(self) -> str:
        return f"{self.scheme}://{self.host}"

    @property
    def url(self) -> str:
        return self.root + self.request.path


class _Distant(TlsOrigin):
    """An origin that seems some way off: a connection takes a while. Meanwhile browsers lay out the
    page, on which priorities depend."""

    async def serve(self, sock: socket.socket, number: int) -> None:
        await asyncio.sleep(_DISTANCE_SECONDS)
        await super().serve(sock, number)


class Sites:
    """All of the origins, as a context manager.

    Attributes:
        staged: the situations that the hub leads to.
    """

    def __init__(self) -> None:
        tls = partial(certs().server_context, names=NAMES)
        self._origins = {
            HTTPS: _Distant(
                partial(self._answer, HTTPS), port=HTTPS, context=tls(alpn=("h2", "http/1.1"))
            ),
            HTTP1: _Distant(partial(self._answer, HTTP1), port=HTTP1, context=tls()),
            PLAIN: _Distant(partial(self._answer, PLAIN), port=PLAIN, tls=False),
            OLD: _Distant(partial(self._answer, OLD), port=OLD, tls=False),
        }
        self.staged: Sequence[Situation] = ()
        self._arrivals: list[Arrival] = []
        # Each origin has a thread.
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Sites:
        for origin in self._origins.values():
            self._stack.enter_context(origin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def arrivals(self) -> list[Arrival]:
        return list(self._arrivals)

    @property
    def first_opening(self) -> bytes:
        """The first HTTP/2 connection's bytes, from the preface to the first headers."""
        return self._origins[HTTPS].h2_openings[0]

    def _answer(self, port: int, request: SeenRequest) -> Reply:
        origin = self._origins[port]
        hello = origin.hello_of(request) if origin.scheme == "https" else b""
        with self._lock:
            arrival = Arrival(len(self._arrivals), origin.scheme, request, hello)
            self._arrivals.append(arrival)
        return self._reply(arrival)

    def _reply(self, arrival: Arrival) -> Reply:
        request, path = arrival.request, urlsplit(arrival.request.path).path
        if path in REDIRECTS:
            return Reply(302, [(b"Location", REDIRECTS[path].encode())])
        if path.startswith("/auth/") and request.header("Authorization") != _BASIC:
            return Reply(401, [(b"WWW-Authenticate", b'Basic realm="site"'), _HTML])
        if path == "/i-page":
            if request.header("If-None-Match"):
                return Reply(304, _KEPT)
            return Reply(headers=[_HTML, *_KEPT], body=pages.plain(arrival.number))
        kind, body = _FILES.get(PurePosixPath(path).suffix, (None, b""))
        if kind is None:
            return self._page(arrival)
        headers = [(b"Content-Type", kind), *_OPEN_TO_ALL, *_NOT_KEPT]
        return Reply(headers=headers, body=body, last=path in _LAST)

    def _page(self, arrival: Arrival) -> Reply:
        headers, path = [_HTML, *_NOT_KEPT], arrival.request.path
        if path == HUB:
            headers += [(b"Set-Cookie", b"%s; Path=/d-cookies" % each) for each in COOKIES]
            return Reply(headers=headers, body=pages.hub(arrival.number, self.staged))
        if path == GALLERY:
            return Reply(headers=headers, body=pages.gallery(arrival.number, arrival.root))
        return Reply(headers=headers, body=pages.plain(arrival.number), last=path in _LAST)

"""Origins with any name, and their requests in the terms of `contradictions`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from scrapy_curl_safe._crawl.browser.contradictions import Sent

from .messages import App, SeenRequest
from .proxies import PortProxy
from .tls import TlsOrigin


class Site(NamedTuple):
    """Origins that can have any name, since a proxy leads to them.

    Attributes:
        h2: on port 443.
        h1: on port 9443, with HTTP/1.1 over TLS.
        plain: on ports 80 and 9080.
    """

    h2: TlsOrigin
    h1: TlsOrigin
    plain: TlsOrigin
    proxy: PortProxy

    @property
    def requests(self) -> list[SeenRequest]:
        return [*self.h2.requests, *self.h1.requests, *self.plain.requests]

    def last(self, url: str, method: str = "GET") -> SeenRequest:
        """Return the last request to a URL."""
        return [
            each for each in self.requests if (each.method, self.url_of(each)) == (method, url)
        ][-1]

    def url_of(self, seen: SeenRequest) -> str:
        host = (seen.header(":authority") or seen.header("host") or b"").decode()
        return f"{'http' if seen in self.plain.requests else 'https'}://{host}{seen.path}"

    def sent(self, seen: SeenRequest) -> Sent:
        return as_sent(seen, self.url_of(seen))


def as_sent(seen: SeenRequest, url: str) -> Sent:
    return Sent(
        "h2" if seen.http_version == "2" else "http/1.1",
        seen.method,
        url,
        tuple((name.decode(), value.decode("latin-1")) for name, value in fields_of(seen)),
        seen.weight,
        seen.exclusive,
    )


def fields_of(seen: SeenRequest) -> list[tuple[bytes, bytes]]:
    """Return the headers without HTTP/2's pseudo-headers."""
    return [pair for pair in seen.headers if not pair[0].startswith(b":")]


@contextmanager
def make_site(app: App) -> Iterator[Site]:
    with (
        TlsOrigin(app, alpn=("h2", "http/1.1")) as h2,
        TlsOrigin(app) as h1,
        TlsOrigin(app, tls=False) as plain,
        PortProxy({443: h2.port, 9443: h1.port, 80: plain.port, 9080: plain.port}) as proxy,
    ):
        yield Site(h2, h1, plain, proxy)

"""An origin that tells visitors apart, and proxies with an address of their own to visit it by."""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any, NamedTuple

from .background import StreamServer
from .hello import ja3, parse_client_hello
from .messages import App, default_app
from .proxies import copy_stream
from .tls import Reply, SeenRequest, TlsOrigin

# Differs between handshakes of one browser: its padding, and a ticket of an earlier one.
_CHANGING = (21, 41)


class Visit(NamedTuple):
    """The marks of a visitor that an origin sees.

    Attributes:
        cookie: empty if none was sent.
    """

    cookie: str
    address: str
    fingerprint: str


class VisitorsOrigin(TlsOrigin):
    """Gives a cookie to each visitor who has none, and refuses one who has had enough pages.

    Args:
        pages: that a visitor gets.
        app: makes the replies; by default their body is the visitor's cookie.

    Attributes:
        visits: of each request, in order.
        blocked: number of refused requests.
    """

    def __init__(self, pages: int | None = None, app: App = default_app, **options: Any) -> None:
        super().__init__(self._visit, **options)
        self._reply = app
        self._pages = pages
        self._given: Counter[Visit] = Counter()
        self._cookies = 0
        self.visits: list[Visit] = []
        self.blocked = 0

    def visit_of(self, seen: SeenRequest) -> Visit:
        sent = re.search(rb"visitor=(\w+)", seen.header("Cookie") or b"")
        hello = parse_client_hello(self.hello_of(seen))
        fingerprint = ja3(hello, sort_extensions=True, leave_out=_CHANGING)
        return Visit(sent[1].decode() if sent else "", self.peers[seen.connection], fingerprint)

    def mixed_up(self) -> dict[str, set[Visit]]:
        """Return the cookies that came from two addresses or browsers, with these."""
        by_cookie = defaultdict(set)
        for visit in (*self.visits, *self._given):
            by_cookie[visit.cookie].add(visit)
        by_cookie.pop("", None)
        return {cookie: visits for cookie, visits in by_cookie.items() if len(visits) > 1}

    def _visit(self, seen: SeenRequest) -> Reply:
        visit = self.visit_of(seen)
        self.visits.append(visit)
        headers = []
        if not visit.cookie:
            self._cookies += 1
            visit = visit._replace(cookie=f"v{self._cookies}")
            headers = [(b"Set-Cookie", f"visitor={visit.cookie}; Path=/".encode())]
        if self._pages is not None and self._given[visit] >= self._pages:
            self.blocked += 1
            return Reply(status=403, headers=headers)
        self._given[visit] += 1
        if self._reply is default_app:
            return Reply(body=visit.cookie.encode(), headers=headers)
        reply = self._reply(seen)
        return replace(reply, headers=[*reply.headers, *headers])


class AddressProxy(StreamServer):
    """An HTTP proxy for tunnels, whose connections come from an address of 127.0.0.0/8.

    Args:
        number: of the address, from 2 to 254.
        status: of its answer to CONNECT; only 200 makes a tunnel, and 0 closes the connection.
        delay: seconds before it passes anything on.
    """

    def __init__(self, number: int, *, status: int = 200, delay: float = 0.0) -> None:
        super().__init__()
        self.address = f"127.0.0.{number}"
        self.tunnels = 0
        self._status = status
        self._delay = delay

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await reader.readuntil(b"\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            return
        self.tunnels += 1
        await asyncio.sleep(self._delay)
        if self._status != 200:
            if self._status:
                writer.write(f"HTTP/1.1 {self._status} No\r\nContent-Length: 0\r\n\r\n".encode())
            writer.close()
            return
        host, _, port = asked.split()[1].decode().rpartition(":")
        origin = await asyncio.open_connection(host, int(port), local_addr=(self.address, 0))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(
            copy_stream(reader, origin[1], bytearray()), copy_stream(origin[0], writer, bytearray())
        )

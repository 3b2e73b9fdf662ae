"""Origins that each fail in one known way, as context managers."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from hyperframe.frame import GoAwayFrame, SettingsFrame

from .certs import LOOPBACK_NAMES, certs
from .hello import h2_opening_size
from .loop import Origin, reset_on_close
from .streams import CHUNK
from .tls import TlsOrigin

if TYPE_CHECKING:
    from .streams import TlsStream

Behaviour = Callable[[socket.socket], Awaitable[None]]

HANDSHAKE_FAILURE = 40
FATAL = 2
FILLERS = 8
PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n"
    b"Connection: close\r\n\r\nBad Request\n"
)


class _AfterHello(Origin):
    """Reads the ClientHello, behaves as instructed, then closes."""

    def __init__(self, behaviour: Behaviour, *, host: str = "127.0.0.1") -> None:
        super().__init__(host=host)
        self._behaviour = behaviour

    async def serve(self, sock: socket.socket, number: int) -> None:
        await self.read_hello(sock)
        await self._behaviour(sock)


class _ClosesOnAccept(Origin):
    async def serve(self, sock: socket.socket, number: int) -> None:
        return


def close_on_accept() -> Origin:
    """Closes each connection at once, without reading the ClientHello, so the client sees the end
    of the stream or a reset."""
    return _ClosesOnAccept()


def close_after_hello() -> Origin:
    async def close(sock: socket.socket) -> None:
        return

    return _AfterHello(close)


def reset_after_hello() -> Origin:
    async def reset(sock: socket.socket) -> None:
        reset_on_close(sock)

    return _AfterHello(reset)


def silent_after_hello() -> Origin:
    """Keeps each connection open until the client leaves or the origin stops."""

    async def wait(sock: socket.socket) -> None:
        while await asyncio.get_running_loop().sock_recv(sock, CHUNK):
            pass

    return _AfterHello(wait)


def sends_alert(description: int = HANDSHAKE_FAILURE) -> Origin:
    return _answers(bytes((0x15, 3, 3, 0, 2, FATAL, description)))


def speaks_plain_http() -> Origin:
    return _answers(PLAIN_ANSWER)


def garbage_after_hello(seed: int = 0, size: int = 512) -> Origin:
    # The high bit of the first byte is set, so no seed makes a known record type.
    return _answers(b"\xff" + random.Random(seed).randbytes(size))


def _answers(data: bytes) -> Origin:
    async def answer(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, data)

    return _AfterHello(answer)


def refused_certificate(*, expired: bool = False, host: str | None = None) -> TlsOrigin:
    """Presents a certificate that is expired, for another host, or of an unknown authority."""
    trusted = expired or host is not None
    names = LOOPBACK_NAMES if host is None else (host,)
    return TlsOrigin(context=certs().server_context(trusted=trusted, expired=expired, names=names))


class _H2Dies(TlsOrigin):
    def __init__(self, how: str, connections: int | None) -> None:
        super().__init__(alpn=("h2",))
        if how not in ("goaway", "reset"):
            raise ValueError("how must be goaway or reset")
        self._goaway = how == "goaway"
        self._connections = connections
        self._died = 0

    @property
    def died(self) -> int:
        """Connections that ended with their request unanswered."""
        return self._died

    async def serve_h2(self, stream: TlsStream, number: int) -> None:
        if self._connections is not None and number >= self._connections:
            await super().serve_h2(stream, number)
            return
        opening = b""
        while (size := h2_opening_size(opening)) is None:
            data = await stream.read()
            if not data:
                return
            opening += data
        self._h2_openings.append(opening[:size])
        self._died += 1
        if not self._goaway:
            reset_on_close(stream.sock)
            return
        stream.write(SettingsFrame(0).serialize() + GoAwayFrame(0, last_stream_id=0).serialize())
        await stream.close()


def h2_dies_with_request(how: str = "goaway", *, connections: int | None = None) -> _H2Dies:
    """Ends the first `connections` connections (None: all) when the request has arrived.

    After a GOAWAY that counts no stream as seen, libcurl tries again on a new connection, six times
    in all if it may. It reports a reset at once.
    """
    return _H2Dies(how, connections)


class StalledOrigin:
    """A listening socket whose backlog is full, so that no connection completes."""

    accepted = 0

    def __init__(self) -> None:
        self.port = 0
        self._sockets: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def __enter__(self) -> StalledOrigin:
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._sockets.append(listener)
        self.port = listener.getsockname()[1]
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._sockets.append(filler)
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._sockets:
            sock.close()


def stalls_on_connect() -> StalledOrigin:
    return StalledOrigin()

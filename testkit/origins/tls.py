from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .certs import certs
from .http1 import Http1Connection
from .http2 import Http2Connection
from .loop import Origin, reset_on_close
from .messages import App, Reply, SeenRequest, default_app
from .streams import PlainStream, TlsStream

if TYPE_CHECKING:
    import socket
    import ssl

__all__ = ["Drop", "Reply", "SeenRequest", "TlsOrigin", "default_app"]

Drop = float | Sequence[bool] | Callable[[int], bool]
HOWS = ("close", "reset", "mix", "accept")


class TlsOrigin(Origin):
    """An HTTP origin that can drop TLS handshakes.

    `drop` is the share to drop, or tells for each connection in turn whether to drop it (none past
    the end), or a function of the connection number, which counts from 0.
    """

    def __init__(
        self,
        app: App = default_app,
        *,
        drop: Drop = 0.0,
        how: str = "close",
        seed: int = 0,
        requests_per_connection: int | None = None,
        alpn: Sequence[str] = ("http/1.1",),
        tls: bool = True,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        delay: float = 0.0,
    ) -> None:
        super().__init__(host=host, scheme="https" if tls else "http", port=port)
        if how not in HOWS:
            raise ValueError(f"how must be one of {HOWS}")
        if requests_per_connection is not None and requests_per_connection < 1:
            raise ValueError("requests_per_connection must be positive")
        self._app = app
        self._drop = drop
        self._how = how
        self._random = random.Random(seed)
        self._limit = requests_per_connection
        self._delay = delay
        self._in_service = 0
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = context or certs().server_context(alpn=alpn)
        self._dropped = 0
        self._handshakes = 0
        self._resumed = 0
        self._requests: list[SeenRequest] = []
        self._h2_openings: list[bytes] = []
        self._hello_by_connection: dict[int, bytes] = {}

    @property
    def dropped(self) -> int:
        """Connections dropped on purpose."""
        return self._dropped

    @property
    def handshakes(self) -> int:
        """TLS handshakes completed."""
        return self._handshakes

    @property
    def resumed(self) -> int:
        """TLS handshakes that resumed a session."""
        return self._resumed

    @property
    def in_service(self) -> int:
        """Requests that have not been answered yet."""
        return self._in_service

    @property
    def requests(self) -> list[SeenRequest]:
        return list(self._requests)

    def hello_of(self, request: SeenRequest) -> bytes:
        """Return the ClientHello of the connection that brought a request."""
        return self._hello_by_connection[request.connection]

    @property
    def h2_openings(self) -> list[bytes]:
        """For each HTTP/2 connection, the client's bytes from the preface to the first headers."""
        return list(self._h2_openings)

    async def serve(self, sock: socket.socket, number: int) -> None:
        # Decided at once, so that the drops follow the order of the connections.
        dropping = self._drops(number)
        if dropping and self._how == "accept":
            self._dropped += 1
            return
        if self._context is None:
            stream = PlainStream(sock, await self._loop.sock_recv(sock, 65536))
        else:
            self._hello_by_connection[number] = await self.read_hello(sock)
            stream = TlsStream(sock, self._context, self._hello_by_connection[number])
        if dropping:
            if self._how == "reset" or (self._how == "mix" and self._dropped % 2):
                reset_on_close(sock)
            self._dropped += 1
            return
        if isinstance(stream, TlsStream):
            await stream.handshake()
            self._handshakes += 1
            self._resumed += bool(stream.tls.session_reused)
            if stream.tls.selected_alpn_protocol() == "h2":
                await self.serve_h2(stream, number)
                return
        await Http1Connection(stream, number, self._answer, self._limit).serve()

    async def serve_h2(self, stream: TlsStream, number: int) -> None:
        opened = self._h2_openings.append
        await Http2Connection(stream, number, self._answer, self._limit, opened).serve()

    def _drops(self, number: int) -> bool:
        if callable(self._drop):
            return self._drop(number)
        if isinstance(self._drop, Sequence):
            return number < len(self._drop) and self._drop[number]
        return self._random.random() < self._drop

    async def _answer(self, request: SeenRequest) -> Reply:
        self._requests.append(request)
        self._in_service += 1
        try:
            if self._delay:
                await asyncio.sleep(self._delay)
            return self._app(request)
        finally:
            self._in_service -= 1

"""An HTTP/1.1 origin that answers with exactly the bytes that a test specifies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from testkit.waiting import until

from .certs import certs
from .loop import Origin, reset_on_close
from .streams import PlainStream, TlsStream

if TYPE_CHECKING:
    import socket

HOLD = "hold"  # keep the connection open until the client leaves
RESET = "reset"
CUT = "cut"  # close the connection without TLS's close_notify

Piece = bytes | float | str | Callable[[], object]
Script = Callable[[bytes], Iterable[Piece]]


class RawOrigin(Origin):
    """Sends what `script` returns for a request's head (the body is not read), then closes.

    A piece is bytes to send, seconds to wait, a condition to wait for, HOLD, RESET or CUT.
    """

    def __init__(self, script: Script | bytes, *, tls: bool = True) -> None:
        super().__init__(scheme="https" if tls else "http")
        self._script: Script = script if callable(script) else lambda head: [script]
        self._context = certs().server_context() if tls else None
        self._heads: list[bytes] = []
        self._sent = 0
        self._abandoned = 0

    @property
    def heads(self) -> list[bytes]:
        """The requests, each up to the end of its headers."""
        return list(self._heads)

    @property
    def sent(self) -> int:
        """Bytes of answers that the socket has taken."""
        return self._sent

    @property
    def abandoned(self) -> int:
        """Clients that left before the end of their answer."""
        return self._abandoned

    async def serve(self, sock: socket.socket, number: int) -> None:
        if self._context is None:
            stream = PlainStream(sock)
        else:
            stream = TlsStream(sock, self._context, await self.read_hello(sock))
            await stream.handshake()
        head = b""
        while b"\r\n\r\n" not in head:
            data = await stream.read()
            if not data:
                return
            head += data
        self._heads.append(head)
        try:
            for piece in self._script(head):
                if piece == HOLD:
                    while await stream.read():
                        pass
                    raise ConnectionError
                if piece in (RESET, CUT):
                    await _end(stream, piece)
                    return
                if isinstance(piece, bytes):
                    stream.write(piece)
                    await stream.flush()
                    self._sent += len(piece)
                elif isinstance(piece, float):
                    await asyncio.sleep(piece)
                elif callable(piece):
                    await until(piece)
        except OSError:
            self._abandoned += 1
            return
        await stream.close()


async def _end(stream: PlainStream, how: Piece) -> None:
    if how == RESET:
        reset_on_close(stream.sock)
    else:
        await PlainStream.close(stream)

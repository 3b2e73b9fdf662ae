"""Byte streams over a non-blocking socket whose first bytes have already been read."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CHUNK = 65536
DRAIN_SECONDS = 5.0


class PlainStream:
    def __init__(self, sock: socket.socket, first: bytes = b"") -> None:
        self.sock = sock
        self._first = first
        self._pending = bytearray()
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()

    async def read(self) -> bytes:
        """Return the next bytes; b"" at the end."""
        if self._first:
            first, self._first = self._first, b""
            return first
        return await self._loop.sock_recv(self.sock, CHUNK)

    def write(self, data: bytes) -> None:
        self._pending += data

    def _take(self) -> bytes:
        taken = bytes(self._pending)
        self._pending.clear()
        return taken

    async def flush(self) -> None:
        async with self._sending:
            while data := self._take():
                await self._loop.sock_sendall(self.sock, data)

    async def close(self) -> None:
        """Let the client read everything, then close: closing on unread bytes would send RST."""
        await self.flush()
        with contextlib.suppress(asyncio.TimeoutError, OSError):
            self.sock.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(self._drain(), DRAIN_SECONDS)

    async def _drain(self) -> None:
        while await self._loop.sock_recv(self.sock, CHUNK):
            pass


class TlsStream(PlainStream):
    def __init__(self, sock: socket.socket, context: ssl.SSLContext, first: bytes) -> None:
        super().__init__(sock)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._incoming.write(first)
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def handshake(self) -> None:
        await self._drive(self.tls.do_handshake)

    async def read(self) -> bytes:
        try:
            return await self._drive(lambda: self.tls.read(CHUNK))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def write(self, data: bytes) -> None:
        if data:
            self.tls.write(data)

    def _take(self) -> bytes:
        return self._outgoing.read()

    async def close(self) -> None:
        # unwrap queues close_notify; the client's own is not awaited.
        with contextlib.suppress(ssl.SSLError):
            self.tls.unwrap()
        await super().close()

    async def _drive(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self._loop.sock_recv(self.sock, CHUNK)
                if data:
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            finally:
                await self.flush()

"""A SOCKS5 proxy for which every name and address is this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from .background import StreamServer

_VERSION = 5
_IPV4, _NAME = 1, 3
_CONNECT, _RESOLVE = 1, 0xF0  # the latter is Tor's
_REFUSED = 7
_CHUNK = 65536


class SocksProxy(StreamServer):
    """A proxy as a context manager (RFC 1928). It connects to 127.0.0.1, whatever the request.

    Like Tor, it also looks names up: each has the address `resolved`.

    Attributes:
        connected: the hosts that clients asked to connect to, in order.
        looked_up: the names that clients asked for, in order.
    """

    resolved = "203.0.113.7"

    def __init__(self) -> None:
        super().__init__()
        self.connected: list[str] = []
        self.looked_up: list[str] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, methods = await reader.readexactly(2)
        await reader.readexactly(methods)
        writer.write(bytes([_VERSION, 0]))
        _, command, _, kind = await reader.readexactly(4)
        if kind == _IPV4:
            host = socket.inet_ntoa(await reader.readexactly(4))
        else:
            (length,) = await reader.readexactly(1)
            host = (await reader.readexactly(length)).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        if command == _RESOLVE:
            self.looked_up.append(host)
            writer.write(_reply(0, self.resolved))
            return
        if command != _CONNECT or kind not in (_IPV4, _NAME):
            writer.write(_reply(_REFUSED, "0.0.0.0"))
            return
        self.connected.append(host)
        upstream = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_reply(0, "0.0.0.0"))
        await asyncio.gather(_copy(reader, upstream[1]), _copy(upstream[0], writer))


def _reply(status: int, address: str) -> bytes:
    return bytes([_VERSION, status, 0, _IPV4]) + socket.inet_aton(address) + bytes(2)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()

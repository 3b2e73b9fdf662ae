"""A name server (RFC 1035) that knows some names and records all queries."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Collection
from typing import cast

from .background import BackgroundServer

_PORT = 53
_HEADER_BYTES = 12
_A = 1
_ANSWER, _NO_SUCH_NAME = 0x8180, 0x8183
_POINTER_TO_NAME = 0xC00C
_TTL_SECONDS = 60


class NameServer(BackgroundServer):
    """A server on port 53 of 127.0.0.1, as a context manager.

    Args:
        names: the names whose address is 127.0.0.1; others do not exist.

    Attributes:
        asked: the names of the queries, in order.
    """

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._names = names
        self.asked: list[str] = []

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Protocol(self._names, self.asked), ("127.0.0.1", _PORT)
        )
        self.ready.set()
        await self.stop.wait()
        transport.close()


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, names: Collection[str], asked: list[str]) -> None:
        self._names = names
        self._asked = asked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels = []
        position = _HEADER_BYTES
        while length := data[position]:
            labels.append(data[position + 1 : position + 1 + length].decode())
            position += 1 + length
        question = data[_HEADER_BYTES : position + 5]
        name = ".".join(labels).lower()
        self._asked.append(name)
        is_known = name in self._names
        answers = b""
        if is_known and question[-4:-2] == struct.pack("!H", _A):
            answers = struct.pack("!HHHIH", _POINTER_TO_NAME, _A, 1, _TTL_SECONDS, 4)
            answers += socket.inet_aton("127.0.0.1")
        flags = _ANSWER if is_known else _NO_SUCH_NAME
        header = data[:2] + struct.pack("!HHHHH", flags, 1, bool(answers), 0, 0)
        self._transport.sendto(header + question + answers, addr)

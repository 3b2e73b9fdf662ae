"""A real proxy (pproxy: HTTP, SOCKS4 and SOCKS5 on one port) behind a tap that records bytes."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pproxy

from .background import BackgroundServer, StreamServer
from .certs import certs

CHUNK = 65536


class Proxy(BackgroundServer):
    """A proxy as a context manager; `received` is every byte that clients sent to it.

    With a user and a password it asks for them (and refuses SOCKS4, which has none). With `tls`
    clients reach it through TLS. A proxy that stalls never answers.
    """

    def __init__(
        self,
        user: str | None = None,
        password: str = "",
        *,
        tls: bool = False,
        stalls: bool = False,
    ) -> None:
        super().__init__()
        self._context = certs().server_context() if tls else None
        self._stalls = stalls
        credentials = f"#{user}:{password}" if user is not None else ""
        self._listen = f"http+socks4+socks5://127.0.0.1:0{credentials}"
        self._received: list[bytearray] = []

    @property
    def location(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._received)

    @property
    def received(self) -> bytes:
        return b"\n".join(bytes(data) for data in self._received)

    async def run(self) -> None:
        proxy: Any = await pproxy.Server(self._listen).start_server(
            # A negative time keeps it from trusting an address that knew the password before.
            {"rserver": [], "verbose": lambda text: None, "authtime": -1}
        )
        self._behind = proxy.sockets[0].getsockname()[1]
        tap = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, family=socket.AF_INET, ssl=self._context
        )
        self.port = tap.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stop.wait()
        tap.close()
        proxy.close()
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = bytearray()
        self._received.append(received)
        if self._stalls:
            while data := await reader.read(CHUNK):
                received += data
            return
        to_proxy = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(
            copy_stream(reader, to_proxy[1], received),
            copy_stream(to_proxy[0], writer, bytearray()),
        )


class PortProxy(StreamServer):
    """A SOCKS5 proxy that maps every host to this machine, so that origins can have any name.

    Args:
        ports: the actual port by the port that a client asks for.
    """

    def __init__(self, ports: dict[int, int]) -> None:
        super().__init__()
        self._ports = ports

    @property
    def url(self) -> str:
        return f"socks5h://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # RFC 1928: greeting, and a request for a domain name (type 3).
        _, count = await reader.readexactly(2)
        await reader.readexactly(count)
        writer.write(b"\x05\x00")
        *_, kind, length = await reader.readexactly(5)
        assert kind == 3
        asked = await reader.readexactly(length + 2)
        port = self._ports[int.from_bytes(asked[-2:], "big")]
        origin = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await asyncio.gather(
            copy_stream(reader, origin[1], bytearray()), copy_stream(origin[0], writer, bytearray())
        )


async def copy_stream(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            seen += data
            writer.write(data)
            await writer.drain()
    writer.close()

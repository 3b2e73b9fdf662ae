"""An HTTP proxy that tunnels for any user, for the benchmarks. Prints its port as a line of JSON,
and exits when stdin ends."""

from __future__ import annotations

import asyncio
import json
import sys

_ANSWER = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Tunnel(asyncio.Protocol):
    """One end of a connection; what it receives goes to its peer."""

    peer: asyncio.Transport | None = None
    _transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.peer is not None
        self.peer.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self.peer.close()


class _Client(_Tunnel):
    def __init__(self) -> None:
        self._head = b""
        self._task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.write(data)
            return
        self._head += data
        if self._task is None and b"\r\n\r\n" in self._head:
            target = self._head.split(b" ", 2)[1].decode()
            self._task = asyncio.ensure_future(self._connect(*target.rsplit(":", 1)))

    async def _connect(self, host: str, port: str) -> None:
        origin = _Tunnel()
        origin.peer = self._transport
        try:
            peer, _ = await asyncio.get_running_loop().create_connection(
                lambda: origin, host, int(port)
            )
        except OSError:
            self._transport.close()
            return
        self.peer = peer
        self._transport.write(_ANSWER)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Client, "127.0.0.1", 0, backlog=4096)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()


if __name__ == "__main__":
    asyncio.run(main())

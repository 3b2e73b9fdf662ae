"""An origin that drops a share of its TLS handshakes, and those that take too long.

It listens on 127.0.0.1, serves one request per connection, and prints its port as a line of JSON.
When stdin ends it prints its counts as another, and exits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import random
import socket
import ssl
import struct
import sys
import time
from collections import Counter
from typing import Any, NoReturn

import trustme

TLS_RECORD_HEADER = 5
RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
PAGE_SIZE = 1024


class Origin:
    """Drops handshakes by connection number, so that a seed gives all clients the same drops."""

    def __init__(self, drop: float, seed: int, handshake_timeout: float, delay: float) -> None:
        self.counts: Counter[str] = Counter()
        self._drop = drop
        self._handshake_timeout = handshake_timeout
        self._delay = delay
        self._random = random.Random(seed)
        self._resets = itertools.cycle((False, True))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.set_alpn_protocols(["http/1.1"])
        trustme.CA().issue_cert("127.0.0.1").configure_cert(self._tls)

    async def serve(self, listener: socket.socket) -> NoReturn:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        while True:
            connection, _ = await loop.sock_accept(listener)
            dropped = self._random.random() < self._drop
            handle = self._drop_handshake if dropped else self._serve_page
            task = loop.create_task(handle(connection))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _drop_handshake(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError):
            # Read the whole ClientHello: a close with unread data would also be a reset.
            header = await _read(connection, TLS_RECORD_HEADER)
            await _read(connection, int.from_bytes(header[3:], "big"))
            reset = next(self._resets)
            if reset:
                connection.setsockopt(*RESET_ON_CLOSE)
            self.counts["reset" if reset else "closed"] += 1

    async def _serve_page(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: _Page(self.counts, self._delay),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_timeout,
            )


class _Page(asyncio.Protocol):
    """Answers with a page that begins with the request's path."""

    def __init__(self, counts: Counter[str], delay: float) -> None:
        self._counts = counts
        self._delay = delay
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._counts["handshakes"] += 1

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        self._counts["served"] += 1
        self._counts["chrome"] += b" Chrome/" in self._head
        asyncio.get_running_loop().call_later(self._delay, self._answer)

    def _answer(self) -> None:
        path = self._head.split(b" ", 2)[1]
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (PAGE_SIZE, path.ljust(PAGE_SIZE))
        )
        self._transport.close()


async def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = await asyncio.get_running_loop().sock_recv(connection, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


async def _run(origin: Origin) -> None:
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        listener.setblocking(False)
        server = loop.create_task(origin.serve(listener))
        _print({"port": listener.getsockname()[1]})
        started = time.process_time()
        stdin = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
        end = loop.create_task(stdin.read())
        await asyncio.wait((server, end), return_when=asyncio.FIRST_COMPLETED)
        if server.done():
            server.result()
        server.cancel()
    _print({**origin.counts, "cpu_seconds": time.process_time() - started})


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--drop", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--handshake-timeout", type=float, default=60.0, help="seconds")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    asyncio.run(_run(Origin(options.drop, options.seed, options.handshake_timeout, options.delay)))


if __name__ == "__main__":
    main()

"""A TLS origin on 127.0.0.1 that serves documentation and drops a share of the handshakes.

    python -m docs_example.origin [--drop 0.2] [--requests-per-connection 4] [--port 0]

The first line on stdout is JSON with the URL and the number of pages. When stdin closes, or
on SIGTERM, it prints its counts as one more line of JSON and exits.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import socket
import struct
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from .certificate import server_context
from .pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
ROBOTS_TXT = b"User-agent: *\nAllow: /\n"
TLS_RECORD_HEADER = 5
RESET_ON_CLOSE = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Origin:
    """Serves the pages, one task for each connection.

    Args:
        drop: the share of the handshakes to drop once the ClientHello has been read; in turn
            by closing the connection and by resetting it.
        requests_per_connection: the connection closes after this many.
    """

    def __init__(
        self, pages: Pages, drop: float, requests_per_connection: int, seed: int | None = None
    ) -> None:
        self._pages = pages
        self._drop = drop
        self._requests_per_connection = requests_per_connection
        self._random = random.Random(seed)
        self._ways_to_drop = itertools.cycle(("close", "reset"))
        self._tls = server_context()
        self._renderer = ThreadPoolExecutor(max_workers=1)
        self._bodies: dict[str, asyncio.Future[bytes]] = {}
        self._connections = 0
        self._handshakes: Counter[str] = Counter()
        self._served = 0
        self._page_hits: Counter[str] = Counter()

    def counts(self) -> dict[str, Any]:
        """What happened so far. `handshakes` are the completed ones; `handshakes_failed` are
        those that the client gave up, so that with the dropped ones, `connections` results."""
        return {
            "pages": len(self._pages),
            "served": self._served,
            "page_hits": {
                "total": self._page_hits.total(),
                "distinct": len(self._page_hits),
                "max": max(self._page_hits.values(), default=0),
            },
            "connections": self._connections,
            "handshakes": self._handshakes["completed"],
            "handshakes_dropped": {way: self._handshakes[way] for way in ("close", "reset")},
            "handshakes_failed": self._handshakes["failed"],
        }

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                connection, _ = await loop.sock_accept(listener)
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections += 1
                task = loop.create_task(self._serve_connection(connection))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._renderer.shutdown(cancel_futures=True)

    async def _serve_connection(self, connection: socket.socket) -> None:
        outcome = "failed"
        with connection:
            try:
                await _hello_arrival(connection)
                if self._random.random() < self._drop:
                    await _read_hello(connection)
                    outcome = next(self._ways_to_drop)
                    if outcome == "reset":
                        connection.setsockopt(*RESET_ON_CLOSE)
                    return
                reader, writer = await self._handshake(connection)
                outcome = "completed"
            except (OSError, EOFError):
                return
            finally:
                self._handshakes[outcome] += 1
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            await self._serve_requests(reader, writer)

    async def _handshake(
        self, connection: socket.socket
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        # A duplicate, as the transport closes its socket in its own time.
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol, connection.dup(), ssl=self._tls
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _serve_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            for left in reversed(range(self._requests_per_connection)):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].decode("latin-1").partition("?")[0]
                status, content_type, body = await self._answer(path)
                writer.write(_response_head(status, content_type, len(body), last=not left))
                writer.write(body)
                await writer.drain()
                self._served += 1
                if status is HTTPStatus.OK and path in self._pages:
                    self._page_hits[path] += 1
            writer.close()
            await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        if path in self._pages:
            return HTTPStatus.OK, HTML, await self._body(path)
        if path == "/robots.txt":
            return HTTPStatus.OK, TEXT, ROBOTS_TXT
        return HTTPStatus.NOT_FOUND, TEXT, b"No such page\n"

    async def _body(self, path: str) -> bytes:
        """Rendered once, in a thread, so that handshakes do not wait for it."""
        if path not in self._bodies:
            loop = asyncio.get_running_loop()
            self._bodies[path] = loop.run_in_executor(self._renderer, self._pages.render, path)
        # Shielded, as a client that goes away must not cancel it for the others.
        return await asyncio.shield(self._bodies[path])


async def _hello_arrival(connection: socket.socket) -> None:
    """Wait until the client sent something, and leave it in the socket."""
    loop = asyncio.get_running_loop()
    arrival: asyncio.Future[None] = loop.create_future()

    def arrived() -> None:
        loop.remove_reader(connection)
        arrival.set_result(None)

    loop.add_reader(connection, arrived)
    try:
        await arrival
    finally:
        loop.remove_reader(connection)
    if not connection.recv(1, socket.MSG_PEEK):
        raise EOFError("The client closed the connection")


async def _read_hello(connection: socket.socket) -> None:
    """Read the first TLS record. Closing a socket that holds unread data would reset it."""
    header = await _read(connection, TLS_RECORD_HEADER)
    await _read(connection, int.from_bytes(header[3:], "big"))


async def _read(connection: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < size:
        chunk = await loop.sock_recv(connection, size - len(data))
        if not chunk:
            raise EOFError("The client closed the connection")
        data += chunk
    return data


def _response_head(status: HTTPStatus, content_type: str, length: int, *, last: bool) -> bytes:
    return (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {length}\r\n"
        f"Connection: {'close' if last else 'keep-alive'}\r\n\r\n"
    ).encode("ascii")


def _call_at_end_of_stdin(callback: Callable[[], object]) -> None:
    """Whoever started this process holds the other end of stdin: it closes however they die."""

    def read() -> None:
        # Not `sys.stdin`: the interpreter cannot exit on SIGTERM while a thread reads from it.
        while os.read(0, 1024):
            pass
        callback()

    threading.Thread(target=read, daemon=True).start()


async def _run(options: argparse.Namespace, output: int) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    pages = Pages()
    origin = Origin(pages, options.drop, options.requests_per_connection, options.seed)
    with socket.create_server(("127.0.0.1", options.port), backlog=1024) as listener:
        listener.setblocking(False)
        server = loop.create_task(origin.serve(listener))
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/"
        _print_json(output, {"url": url, "pages": len(pages)})
        _call_at_end_of_stdin(lambda: loop.call_soon_threadsafe(stop.set))
        await stop.wait()
        server.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await server
    _print_json(output, origin.counts())


def _print_json(output: int, value: dict[str, Any]) -> None:
    # The reader may be gone, which is no reason to fail.
    with contextlib.suppress(BrokenPipeError):
        os.write(output, json.dumps(value).encode() + b"\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m docs_example.origin")
    parser.add_argument("--drop", type=float, default=0.2, help="share of handshakes to drop")
    parser.add_argument("--requests-per-connection", type=int, default=4)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, help="makes the drops the same in each run")
    return parser.parse_args()


def main() -> None:
    """Run until stdin closes."""
    options = _options()
    # An imported module that prints must not be mistaken for this process.
    output = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # The rendering thread would otherwise hold up each turn of the event loop for 5 ms.
    sys.setswitchinterval(0.0005)
    asyncio.run(_run(options, output))


if __name__ == "__main__":
    main()

"""A listening loopback socket served by an asyncio loop in its own thread."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, TypeVar

from .hello import client_hello_size

if TYPE_CHECKING:
    from types import TracebackType

AnyOrigin = TypeVar("AnyOrigin", bound="Origin")

LOOPBACK = ("127.0.0.1", "::1")
CHUNK = 65536
BACKLOG = 4096
JOIN_SECONDS = 30.0


class Origin:
    """A server whose subclasses implement `serve`, which is called for each connection.

    Only the loop's thread writes the counters; any thread may read them.

    Args:
        port: to listen on; 0 for one that is free.
    """

    def __init__(self, *, host: str = "127.0.0.1", scheme: str = "https", port: int = 0) -> None:
        if host not in LOOPBACK:
            raise ValueError(f"not a loopback address: {host}")
        self.host = host
        self.scheme = scheme
        self.port = port
        self._accepted = 0
        self._peers: list[tuple[str, int]] = []
        self._hellos: list[bytes] = []
        self._errors: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._stop: asyncio.Event

    async def serve(self, sock: socket.socket, number: int) -> None:
        raise NotImplementedError

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def accepted(self) -> int:
        return self._accepted

    @property
    def peers(self) -> list[str]:
        """The addresses of the clients, in the order of their connections."""
        return [host for host, _ in self._peers]

    @property
    def peer_ports(self) -> list[int]:
        """The ports of the clients, in the order of their connections."""
        return [port for _, port in self._peers]

    @property
    def hellos(self) -> list[bytes]:
        return list(self._hellos)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def __enter__(self: AnyOrigin) -> AnyOrigin:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.socket(family)
        if self.port:
            # An origin that had it before may have left connections in TIME_WAIT.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError:
            listener.close()
            raise
        self.port = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(
            target=self._run, args=(listener,), name=f"origin-{self.port}", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if self._errors and error is None:
            raise RuntimeError("the origin failed") from self._errors[0]

    def close(self) -> None:
        """Close every socket and join the thread; a second call does nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(JOIN_SECONDS)
        if self._thread.is_alive():
            raise RuntimeError("the origin did not stop")

    def _run(self, listener: socket.socket) -> None:
        try:
            self._loop.run_until_complete(self._main(listener))
        finally:
            listener.close()
            self._loop.close()

    async def _main(self, listener: socket.socket) -> None:
        accepting = asyncio.ensure_future(self._accept(listener))
        await self._stop.wait()
        accepting.cancel()
        # The accept task holds the connection tasks and ends them when it is cancelled.
        await asyncio.wait({accepting})

    async def _accept(self, listener: socket.socket) -> None:
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                sock, peer = await self._loop.sock_accept(listener)
                self._peers.append(peer[:2])
                number = self._accepted
                self._accepted += 1
                self._open.add(sock)
                task = asyncio.ensure_future(self._connection(sock, number))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        except OSError as error:
            self._errors.append(error)
        finally:
            running = list(tasks)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            # A task that is cancelled before its first step leaves its socket open.
            while self._open:
                self._open.pop().close()

    async def _connection(self, sock: socket.socket, number: int) -> None:
        try:
            # Clients that leave are part of the tests, not a failure of the origin.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await self.serve(sock, number)
        except Exception as error:
            self._errors.append(error)
        finally:
            self._open.discard(sock)
            sock.close()

    async def read_hello(self, sock: socket.socket) -> bytes:
        """Read the whole ClientHello, so that closing the socket sends FIN, not RST."""
        raw = b""
        with contextlib.suppress(ValueError):
            while client_hello_size(raw) is None:
                data = await self._loop.sock_recv(sock, CHUNK)
                if not data:
                    break
                raw += data
        if raw:
            self._hellos.append(raw)
        return raw


def reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

"""An origin of the crawler's own, for one head of a request: what a worker sends of a browser."""

from __future__ import annotations

import contextlib
import secrets
import socket
from types import TracebackType

from .._pool.event_loop import EventLoop

_ANSWER = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
_MOST_BYTES = 64 * 1024
_END = b"\r\n\r\n"


class LoopbackOrigin:
    """Listens over plain HTTP/1.1 on this machine as long as its context manager is open.

    Attributes:
        url: for the request. Whatever else comes is not heard: anybody on this machine can connect.
        headers: name and value of each header of the request, once it has come.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._heads: dict[socket.socket, bytes] = {}
        path = f"/{secrets.token_hex(16)}"
        self._begin = f"GET {path} ".encode()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{path}"
        self.headers: list[tuple[str, str]] = []

    def __enter__(self) -> LoopbackOrigin:
        self._loop.add_reader(self._listener.fileno(), self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for sock in [self._listener, *self._heads]:
            self._close(sock)

    def _accept(self) -> None:
        # Whoever connected may have left.
        with contextlib.suppress(OSError):
            sock, _ = self._listener.accept()
            sock.setblocking(False)
            self._heads[sock] = b""
            self._loop.add_reader(sock.fileno(), lambda: self._read(sock))

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_MOST_BYTES)
            head = self._heads[sock] = self._heads[sock] + data
            if _END in head and head.startswith(self._begin):
                lines = head.partition(_END)[0].decode("latin-1").split("\r\n")[1:]
                pairs = [line.partition(":") for line in lines]
                self.headers = [(name, value.strip()) for name, _, value in pairs]
                sock.send(_ANSWER)
            elif data and _END not in head and len(head) < _MOST_BYTES:
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        del self._heads[sock]
        self._close(sock)

    def _close(self, sock: socket.socket) -> None:
        self._loop.remove_reader(sock.fileno())
        sock.close()

"""Answers a request with the head that libcurl would send for it.

libcurl writes to one end of a socket pair, and the other end answers. So nothing leaves the worker,
nobody else on the machine can answer, and whatever redirects connections does not see this one.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from curl_cffi import CurlInfo, CurlOpt

from .._ipc.messages import Fetch
from .curl_api import easy_setopt
from .download import Download, Send
from .loop import Loop
from .session import Session
from .slist import make_slist

_HOST = "127.0.0.1"
_MAX_HEAD_BYTES = 64 * 1024
_END = b"\r\n\r\n"


class HeadEcho(Download):
    """A download whose body is the head of its own request, as HTTP/1.1 has it.

    Args:
        loop: of the worker.
        session: of the request's profile, which has no proxy.
        fetch: the request. Its URL has plain http and an IP address, since no name is looked up.
        send: as for `Download`.
        on_end: as for `Download`.
    """

    def __init__(
        self, loop: Loop, session: Session, fetch: Fetch, send: Send, on_end: Callable[[int], None]
    ) -> None:
        super().__init__(session, fetch, b"", send, on_end)
        self._loop = loop
        self._peer: socket.socket | None = None
        self._request = b""

    def _set_receiver(self) -> None:
        super()._set_receiver()
        self._attach()

    def _attach(self) -> None:
        self._easy.open_sockets_by(self._open)

    def _release(self) -> None:
        self._close_peer()
        self._session.discard(self._easy)

    def _open(self) -> int:
        """Return the descriptor of libcurl's end, which libcurl closes."""
        self._close_peer()
        self._peer, near = socket.socketpair()
        self._peer.setblocking(False)
        self._loop.add_reader(self._peer.fileno(), self._read)
        return near.detach()

    def _read(self) -> None:
        assert self._peer is not None
        # A transfer that ends early closes its end.
        with contextlib.suppress(OSError):
            data = self._peer.recv(_MAX_HEAD_BYTES)
            self._request += data
            if data and _END not in self._request and len(self._request) < _MAX_HEAD_BYTES:
                return
            head = self._request.partition(_END)[0]
            self._peer.send(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                % (len(head), head)
            )
        self._close_peer()

    def _close_peer(self) -> None:
        if self._peer is not None:
            self._loop.remove_reader(self._peer.fileno())
            self._peer.close()
            self._peer = None


class ListeningHeadEcho(HeadEcho):
    """An echo for a libcurl that cannot be given a socket, but connects to a port of the worker."""

    _listener: socket.socket | None = None

    def _attach(self) -> None:
        self._listener = socket.create_server((_HOST, 0))
        self._listener.setblocking(False)
        port = self._listener.getsockname()[1]
        self._way = make_slist([f"::{_HOST}:{port}".encode()])
        self._easy.setopt(CurlOpt.CONNECT_TO, self._way)
        self._loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        self._close_peer()
        with contextlib.suppress(OSError):
            self._peer, _ = self._listener.accept()
            self._peer.setblocking(False)
            self._loop.add_reader(self._peer.fileno(), self._read)

    def _read(self) -> None:
        assert self._peer is not None
        with contextlib.suppress(OSError):
            if self._peer.getpeername()[1] == self._easy.get_number(CurlInfo.LOCAL_PORT):
                super()._read()
                return
        self._close_peer()  # somebody else's

    def _release(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        super()._release()


#: The class of echoes for the names that this curl_cffi has.
new_head_echo = HeadEcho if easy_setopt is not None else ListeningHeadEcho

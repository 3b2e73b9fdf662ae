"""An origin that reads a whole request and leaves without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testkit.waiting import until

from .loop import reset_on_close
from .tls import Reply, SeenRequest, TlsOrigin

if TYPE_CHECKING:
    import socket


class LeavingOrigin(TlsOrigin):
    """Closes the connection of a request for /close, and resets it for /reset.

    Everything else gets an answer. Requests below /together get it once `together` of them are
    there at the same time, so that each has its own connection.
    """

    def __init__(self, *, together: int = 0, **options: Any) -> None:
        super().__init__(_answer_or_leave, **options)
        self._together = together
        self._gathered = 0

    def count(self, method: str, path: str) -> int:
        """Return how many such requests the origin has read."""
        return sum((seen.method, seen.path) == (method, path) for seen in self.requests)

    async def serve(self, sock: socket.socket, number: int) -> None:
        try:
            await super().serve(sock, number)
        except ConnectionResetError:
            reset_on_close(sock)
            raise

    async def _answer(self, request: SeenRequest) -> Reply:
        if request.path.startswith("/together"):
            self._gathered += 1
            await until(lambda: self._gathered >= self._together)
        return await super()._answer(request)


def _answer_or_leave(request: SeenRequest) -> Reply:
    if request.path.startswith("/close"):
        raise ConnectionAbortedError
    if request.path.startswith("/reset"):
        raise ConnectionResetError
    return Reply(body=b"ok")

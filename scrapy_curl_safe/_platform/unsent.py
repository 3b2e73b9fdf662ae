"""Limits what waits in a socket to be sent (TCP_NOTSENT_LOWAT of tcp(7))."""

from __future__ import annotations

import socket
from contextlib import suppress

_NOTSENT_LOWAT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)


def limit_unsent(fd: int, size: int) -> None:
    """Have a connection be ready for writing only while fewer than `size` bytes wait in it.

    What is on its way does not count, so the connection is as fast as before. Nothing happens where
    the system has no such option, or where the socket is not one of TCP, as with HTTP/3.
    """
    if _NOTSENT_LOWAT is None or fd < 0:
        return
    with suppress(OSError):
        connection = socket.socket(fileno=fd)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, size)
        finally:
            connection.detach()

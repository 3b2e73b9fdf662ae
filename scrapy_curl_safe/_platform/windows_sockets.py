"""Sockets between two processes on Windows, which has no socket pairs."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

assert sys.platform == "win32"

_LOOPBACK = "127.0.0.1"
_LONGEST_ACCEPT_SECONDS = 10.0
# Enough for others that connect meanwhile.
_BACKLOG = 64
# More is sent without a copy of all of it.
_MOST_JOINED_BYTES = 64 * 1024
_READ_BYTES = 4096


def connected_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected over loopback TCP.

    Any process of this machine may connect to the port while it is open. Only the connection that
    comes from the socket at the other end is taken, and no other process can have that address.

    Raises:
        OSError: there is no connection.
    """
    with socket.socket() as listener:
        # Otherwise another process could listen on the same port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind((_LOOPBACK, 0))
        listener.listen(_BACKLOG)
        deadline = time.monotonic() + _LONGEST_ACCEPT_SECONDS
        ours = socket.create_connection(listener.getsockname(), _LONGEST_ACCEPT_SECONDS)
        try:
            theirs = _accept(listener, ours.getsockname(), deadline)
        except BaseException:
            ours.close()
            raise
    for end in (ours, theirs):
        end.setblocking(True)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return ours, theirs


def _accept(listener: socket.socket, wanted: object, deadline: float) -> socket.socket:
    while True:
        listener.settimeout(max(0.0, deadline - time.monotonic()))
        accepted, peer = listener.accept()
        if peer == wanted:
            return accepted
        accepted.close()


def give_socket(sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
    """Give a socket to a process, which `take_socket` returns there."""
    assert process.stdin is not None
    # If the process has ended, its socket tells.
    with contextlib.suppress(OSError):
        process.stdin.write(sock.share(process.pid))
    with contextlib.suppress(OSError):
        process.stdin.close()


def take_socket() -> socket.socket:
    """Return the socket that the parent has given to this process; end it if the parent is gone."""
    shared = b""
    while data := os.read(0, _READ_BYTES):
        shared += data
    if not shared:
        os._exit(0)
    return socket.fromshare(shared)


def sender(sock: socket.socket) -> Callable[[list[memoryview]], int]:
    """Return what sends as much of several buffers as the system takes at once."""

    def send(buffers: list[memoryview]) -> int:
        size, count = len(buffers[0]), 1
        while count < len(buffers) and size + len(buffers[count]) <= _MOST_JOINED_BYTES:
            size += len(buffers[count])
            count += 1
        return sock.send(buffers[0] if count == 1 else b"".join(buffers[:count]))

    return send

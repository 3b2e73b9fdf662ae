"""Answers the crawler if this curl_cffi cannot be used, so that the crawl ends with the reason."""

from __future__ import annotations

import contextlib
import socket

from .._ipc.framing import encode_frame
from .._ipc.messages import Ready
from .._platform.system import system

# For the Hello, and then for the crawler to close the socket.
_TIMEOUT_SECONDS = 30.0
_READ_BYTES = 65536


def refuse(sock: socket.socket, problem: str) -> None:
    """Answer the crawler's Hello with a problem, and wait until it closes the socket.

    Args:
        sock: to the crawler.
        problem: why this worker can take no requests.
    """
    system.tie_to_parent()
    ready = Ready(curl="", max_descriptors=0, problem=problem)
    with sock as channel, contextlib.suppress(OSError):
        channel.settimeout(_TIMEOUT_SECONDS)
        if channel.recv(_READ_BYTES):
            channel.sendall(encode_frame(ready))
        while channel.recv(_READ_BYTES):
            pass

"""Looks up names with the C library, in threads."""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .loop import Loop

_MAX_THREADS = 16

#: Addresses of a host, or why there are none.
LookupResult = list[str] | OSError
OnResult = Callable[[LookupResult], None]


class Lookups:
    """The lookups under way, at most one for each name.

    libcurl has its own resolver (c-ares, since curl_cffi 0.17), which bypasses whatever redirects
    the C library's lookups.

    Args:
        loop: the worker's loop, in which results arrive.
    """

    def __init__(self, loop: Loop) -> None:
        self._threads = ThreadPoolExecutor(_MAX_THREADS)
        self._waiting: dict[str, list[OnResult]] = {}
        # What the threads have found. They write a byte for each result, to wake the loop.
        self._results: deque[tuple[str, LookupResult]] = deque()
        self._wake_up, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        loop.add_reader(self._wake_up.fileno(), self._on_results)

    def __repr__(self) -> str:
        return f"<Lookups of {', '.join(self._waiting) or 'no names'}>"

    def start(self, host: str, on_result: OnResult) -> None:
        """Look up a name. The result for an address is that address.

        Args:
            on_result: called once, in a later turn of the loop.
        """
        waiting = self._waiting.setdefault(host, [])
        waiting.append(on_result)
        if len(waiting) == 1:
            try:
                self._threads.submit(self._look_up, host)
            except RuntimeError:
                # Another thread may take it up all the same, since it was queued before.
                self._report(host, OSError("a thread failed to start"))

    def _look_up(self, host: str) -> None:
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            # They are to be tried in the C library's order (RFC 6724).
            self._report(host, list(dict.fromkeys(str(address[0]) for *_, address in found)))
        except OSError as error:
            self._report(host, error)
        except UnicodeError as error:
            self._report(host, OSError(str(error)))

    def _report(self, host: str, result: LookupResult) -> None:
        self._results.append((host, result))
        with contextlib.suppress(BlockingIOError):  # enough bytes are there to wake the loop
            self._waker.send(b"\0")

    def _on_results(self) -> None:
        self._wake_up.recv(4096)
        while self._results:
            host, result = self._results.popleft()
            for on_result in self._waiting.pop(host, ()):
                on_result(result)

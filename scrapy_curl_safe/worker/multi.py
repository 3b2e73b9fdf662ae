"""Many transfers at once: a libcurl multi handle on an asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from curl_cffi import AsyncCurl, CurlError, CurlMOpt, ffi, lib

from .handle import Handle

# Seconds between two looks at all transfers, in case libcurl has missed to ask for one.
_LOOK_AGAIN = 0.1


class Multi(AsyncCurl):
    """curl_cffi's, whose sockets and timer it keeps, without a future for each transfer and
    without asking after each event which transfers have ended: libcurl says how many run.
    """

    def __init__(self) -> None:
        self._handles: dict[Any, tuple[Handle, Callable[[CurlError | None], None]]] = {}
        self._running = ffi.new("int *")
        self._left = ffi.new("int *")
        super().__init__()

    @property
    def is_usable(self) -> bool:
        """False where no descriptor or memory was left for it."""
        return bool(self._curlm != ffi.NULL)

    def under_way(self) -> Iterator[Handle]:
        return (handle for handle, _ in self._handles.values())

    def set_number(self, option: CurlMOpt, number: int) -> None:
        # AsyncCurl.setopt hands libcurl the address of a number where it takes the number
        # (curl_cffi 0.15 and 0.16.3), which libcurl ignores.
        lib.curl_multi_setopt(self._curlm, option, ffi.cast("void *", number))

    def start(self, handle: Handle, on_end: Callable[[CurlError | None], None]) -> None:
        """
        Args:
            on_end: called once, when the transfer has ended and `handle` is free again, with
                why it failed, if it did; not called if it is stopped before.

        Raises:
            CurlError: libcurl does not take it.
        """
        self._check_error(lib.curl_multi_add_handle(self._curlm, handle._curl))
        self._handles[handle._curl] = handle, on_end

    def stop(self, handle: Handle) -> None:
        """Nothing if it has ended."""
        if self._handles.pop(handle._curl, None) is not None:
            lib.curl_multi_remove_handle(self._curlm, handle._curl)

    def process_data(self, sockfd: int, ev_bitmask: int) -> None:
        lib.curl_multi_socket_action(self._curlm, sockfd, ev_bitmask, self._running)
        if self._running[0] < len(self._handles):
            self._end_those_done()

    def _end_those_done(self) -> None:
        while (message := lib.curl_multi_info_read(self._curlm, self._left)) != ffi.NULL:
            # Removing the handle frees the message.
            code = message.data.result
            handle, on_end = self._handles.pop(message.easy_handle)
            lib.curl_multi_remove_handle(self._curlm, handle._curl)
            on_end(handle._get_error(code, "perform") if code else None)

    async def _force_timeout(self) -> None:
        while self._curlm:
            # By the loop, which hears of what is raised.
            self.loop.call_soon(self.process_data, -1, 0)  # CURL_SOCKET_TIMEOUT
            await asyncio.sleep(_LOOK_AGAIN)

"""Many transfers at once: a libcurl multi handle on the worker's loop.

See https://curl.se/libcurl/c/libcurl-multi.html, "multi_socket".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from curl_cffi import CurlError, CurlMOpt, ffi, lib

from .._platform.poller import READABLE, WRITABLE
from .easy import EasyHandle
from .loop import Loop, LoopTimer

# Seconds between two looks at all transfers, in case libcurl has missed to ask for one.
_LOOK_AGAIN = 0.1

_TIMEOUT = -1  # CURL_SOCKET_TIMEOUT
_REMOVE = 4  # CURL_POLL_REMOVE
# CURL_POLL_ and CURL_CSELECT_ have the same numbers.
_IN, _OUT = 1, 2
_EVENTS = {0: 0, _IN: READABLE, _OUT: WRITABLE, _IN | _OUT: READABLE | WRITABLE}
# A broken socket is both: libcurl finds out when it uses it.
_ACTIONS = {READABLE: _IN, WRITABLE: _OUT}


class Multi:
    """It stands in for curl_cffi's AsyncCurl, which has a future for each transfer, asks after
    each event which ones have ended (libcurl says how many run), and takes "no timer" for "now"
    (curl_cffi 0.15 and 0.16.3).
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._handles: dict[Any, tuple[EasyHandle, Callable[[CurlError | None], None]]] = {}
        self._running = ffi.new("int *")
        self._left = ffi.new("int *")
        self._timer = LoopTimer(loop, self._on_time)
        self._next_look = LoopTimer(loop, self._look)
        self._self = ffi.new_handle(self)
        self._curlm = lib.curl_multi_init()
        if self.is_usable:
            self._set(CurlMOpt.SOCKETFUNCTION, lib.socket_function)
            self._set(CurlMOpt.SOCKETDATA, self._self)
            self._set(CurlMOpt.TIMERFUNCTION, lib.timer_function)
            self._set(CurlMOpt.TIMERDATA, self._self)
            self._next_look.set(_LOOK_AGAIN)

    @property
    def is_usable(self) -> bool:
        """False where no descriptor or memory was left for it."""
        return bool(self._curlm != ffi.NULL)

    def running(self) -> Iterator[EasyHandle]:
        return (handle for handle, _ in self._handles.values())

    def set_number(self, option: CurlMOpt, number: int) -> None:
        # AsyncCurl.setopt hands libcurl the address of a number where it takes the number
        # (curl_cffi 0.15 and 0.16.3), which libcurl ignores.
        self._set(option, ffi.cast("void *", number))

    def start(self, handle: EasyHandle, on_end: Callable[[CurlError | None], None]) -> None:
        """
        Args:
            on_end: called once, when the transfer has ended and `handle` is free again, with
                why it failed, if it did; not called if it is stopped before.

        Raises:
            CurlError: libcurl does not take it.
        """
        code = lib.curl_multi_add_handle(self._curlm, handle._curl)
        if code:
            raise CurlError(ffi.string(lib.curl_multi_strerror(code)).decode(), code)
        self._handles[handle._curl] = handle, on_end

    def stop(self, handle: EasyHandle) -> None:
        """Nothing if it has ended."""
        if self._handles.pop(handle._curl, None) is not None:
            lib.curl_multi_remove_handle(self._curlm, handle._curl)

    def close(self) -> None:
        """Close its connections. There must be no transfer under way."""
        self._timer.set(None)
        self._next_look.set(None)
        lib.curl_multi_cleanup(self._curlm)

    # libcurl's loop, in ours

    def _watch(self, fd: int, what: int) -> None:
        if what == _REMOVE:
            self._loop.unwatch(fd)
        else:
            self._loop.watch(fd, _EVENTS[what], self._on_events)

    def _set_timer(self, milliseconds: int) -> None:
        self._timer.set(None if milliseconds < 0 else milliseconds / 1000)

    def _on_events(self, fd: int, events: int) -> None:
        self._act(fd, _ACTIONS.get(events, _IN | _OUT))

    def _on_time(self) -> None:
        self._act(_TIMEOUT, 0)

    def _look(self) -> None:
        self._act(_TIMEOUT, 0)
        self._next_look.set(_LOOK_AGAIN)

    def _act(self, fd: int, what: int) -> None:
        lib.curl_multi_socket_action(self._curlm, fd, what, self._running)
        if self._running[0] < len(self._handles):
            self._end_those_done()

    def _end_those_done(self) -> None:
        while (message := lib.curl_multi_info_read(self._curlm, self._left)) != ffi.NULL:
            # Removing the handle frees the message.
            code = message.data.result
            handle, on_end = self._handles.pop(message.easy_handle)
            lib.curl_multi_remove_handle(self._curlm, handle._curl)
            on_end(handle._get_error(code, "perform") if code else None)

    def _set(self, option: CurlMOpt, value: Any) -> None:
        lib.curl_multi_setopt(self._curlm, option, value)


def _die(*_: object) -> None:
    os._exit(70)  # EX_SOFTWARE of sysexits.h; libcurl cannot be told


# In place of those of curl_cffi's AsyncCurl, of which a worker has none.
@ffi.def_extern(name="socket_function", onerror=_die)  # type: ignore[untyped-decorator]
def _socket_function(easy: Any, fd: int, what: int, multi: Any, of_socket: Any) -> int:
    """https://curl.se/libcurl/c/CURLMOPT_SOCKETFUNCTION.html"""
    ffi.from_handle(multi)._watch(fd, what)
    return 0


@ffi.def_extern(name="timer_function", onerror=_die)  # type: ignore[untyped-decorator]
def _timer_function(curlm: Any, milliseconds: int, multi: Any) -> int:
    """https://curl.se/libcurl/c/CURLMOPT_TIMERFUNCTION.html"""
    ffi.from_handle(multi)._set_timer(milliseconds)
    return 0

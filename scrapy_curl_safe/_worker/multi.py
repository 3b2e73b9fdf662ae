"""Many transfers at once: a libcurl multi handle on the worker's loop.

See https://curl.se/libcurl/c/libcurl-multi.html, "multi_socket".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

from curl_cffi import CurlError, CurlMOpt

from .._platform.system import system
from . import EX_SOFTWARE
from .curl_api import define_callback, ffi, lib
from .easy import NUM_CONNECTS, EasyHandle
from .loop import Loop, LoopTimer
from .slow_start import SlowStart

# Between two checks of all transfers, in case libcurl has failed to ask for one.
_CHECK_INTERVAL_SECONDS = 0.1
# How long transfers wait for others to get a connection, if none does.
_SLOW_START_SECONDS = 0.25

_TIMEOUT = -1  # CURL_SOCKET_TIMEOUT
_REMOVE = 4  # CURL_POLL_REMOVE
# CURL_POLL_ and CURL_CSELECT_ have the same numbers.
_IN, _OUT = 1, 2
_READABLE, _WRITABLE = system.READABLE, system.WRITABLE
_EVENTS = {0: 0, _IN: _READABLE, _OUT: _WRITABLE, _IN | _OUT: _READABLE | _WRITABLE}
# A broken socket is both: libcurl finds out when it uses it.
_ACTIONS = {_READABLE: _IN, _WRITABLE: _OUT}

OnEnd = Callable[["CurlError | None"], None]


class Multi:
    """A multi handle, which replaces curl_cffi's AsyncCurl.

    AsyncCurl has a future for each transfer, asks after each event which transfers have ended
    (libcurl says how many run), and takes "no timer" for "now" (curl_cffi 0.15 and 0.16.3).
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._transfers: dict[Any, tuple[EasyHandle, OnEnd]] = {}
        self._running = ffi.new("int *")
        self._messages_left = ffi.new("int *")
        self._timer = LoopTimer(loop, self._on_timeout)
        self._check_timer = LoopTimer(loop, self._check)
        self._is_checked = False
        self._slow_start = SlowStart()
        # By handle of a transfer that has not started: its callback, and the time since which it
        # waits (monotonic, in seconds).
        self._waiting: dict[EasyHandle, tuple[OnEnd, float]] = {}
        self._waiting_timer = LoopTimer(loop, self._on_waiting)
        self._self = ffi.new_handle(self)
        self._curlm = lib.curl_multi_init()
        if self.is_usable:
            self._set(CurlMOpt.SOCKETFUNCTION, _socket_function)
            self._set(CurlMOpt.SOCKETDATA, self._self)
            self._set(CurlMOpt.TIMERFUNCTION, _timer_function)
            self._set(CurlMOpt.TIMERDATA, self._self)

    def __repr__(self) -> str:
        return f"<Multi {len(self._transfers)} transfers, {len(self._waiting)} waiting>"

    @property
    def is_usable(self) -> bool:
        """False if no descriptor or no memory was left for it."""
        return bool(self._curlm != ffi.NULL)

    def transfers(self) -> Iterator[EasyHandle]:
        """Return the handles of the transfers that are under way."""
        return (easy for easy, _ in self._transfers.values())

    def set_number(self, option: CurlMOpt, number: int) -> None:
        # AsyncCurl.setopt passes the address of a number where libcurl takes the number itself
        # (curl_cffi 0.15 and 0.16.3), and so changes nothing.
        self._set(option, ffi.cast("void *", number))

    def add(self, easy: EasyHandle, on_end: OnEnd) -> None:
        """Start a transfer, after a moment if many others wait for a connection (see `SlowStart`).

        One that may be sent only once never waits: the connection that it would share may end.

        Args:
            on_end: called once, when the transfer has ended and the handle is free again, with the
                error if it failed; never called after `remove`.

        Raises:
            CurlError: libcurl does not take the handle.
        """
        may_wait = easy.reports_connection and easy.max_sends > 1
        if may_wait and (self._waiting or not self._slow_start.has_room):
            if not self._waiting:
                self._waiting_timer.set(_SLOW_START_SECONDS)
            self._waiting[easy] = on_end, time.monotonic()
        else:
            self._start(easy, on_end)

    def _start(self, easy: EasyHandle, on_end: OnEnd) -> None:
        code = lib.curl_multi_add_handle(self._curlm, easy.pointer)
        if code:
            raise CurlError(f"curl_multi_add_handle() returned {code}", code)
        self._transfers[easy.pointer] = easy, on_end
        if easy.reports_connection:
            if easy.on_connected is None:
                easy.on_connected = self._on_connected
            self._slow_start.start(easy)
        if not self._is_checked:
            self._is_checked = True
            self._check_timer.set(_CHECK_INTERVAL_SECONDS)

    def remove(self, easy: EasyHandle) -> None:
        """Stop a transfer, if it is under way."""
        if easy in self._waiting:
            del self._waiting[easy]
        elif self._transfers.pop(easy.pointer, None) is not None:
            lib.curl_multi_remove_handle(self._curlm, easy.pointer)
            self._leave_slow_start(easy)

    def close(self) -> None:
        """Close all connections. No transfer may be under way."""
        self._timer.set(None)
        self._check_timer.set(None)
        self._waiting_timer.set(None)
        lib.curl_multi_cleanup(self._curlm)

    # What libcurl asks of the loop

    def on_socket(self, fd: int, what: int) -> None:
        """Watch a socket as CURLMOPT_SOCKETFUNCTION asks."""
        if what == _REMOVE:
            self._loop.unwatch(fd)
        else:
            self._loop.watch(fd, _EVENTS[what], self._on_events)

    def on_timer(self, milliseconds: int) -> None:
        """Set the timer as CURLMOPT_TIMERFUNCTION asks; -1 is never."""
        self._timer.set(None if milliseconds < 0 else milliseconds / 1000)

    # What the loop tells libcurl

    def _on_events(self, fd: int, events: int) -> None:
        self._act(fd, _ACTIONS.get(events, _IN | _OUT))

    def _on_timeout(self) -> None:
        self._act(_TIMEOUT, 0)

    def _check(self) -> None:
        self._act(_TIMEOUT, 0)
        # An idle one would wake the loop for nothing, and there may be hundreds.
        self._is_checked = bool(self._transfers)
        if self._is_checked:
            self._check_timer.set(_CHECK_INTERVAL_SECONDS)

    def _act(self, fd: int, what: int) -> None:
        lib.curl_multi_socket_action(self._curlm, fd, what, self._running)
        if self._running[0] < len(self._transfers):
            self._end_finished()

    def _end_finished(self) -> None:
        while (message := lib.curl_multi_info_read(self._curlm, self._messages_left)) != ffi.NULL:
            # Removing the handle frees the message.
            code = message.data.result
            easy, on_end = self._transfers.pop(message.easy_handle)
            lib.curl_multi_remove_handle(self._curlm, easy.pointer)
            self._leave_slow_start(easy)
            on_end(easy.error(code) if code else None)

    # Transfers that wait

    def _on_connected(self, easy: EasyHandle) -> None:
        if self._waiting and easy.get_number(NUM_CONNECTS):
            self._slow_start.widen()
            self._waiting_timer.set(_SLOW_START_SECONDS)
        self._leave_slow_start(easy)

    def _leave_slow_start(self, easy: EasyHandle) -> None:
        """Let others start, since a transfer has a connection, or is over."""
        if not self._slow_start.leave(easy):
            return
        if self._waiting:
            # libcurl may be calling, and takes no new transfer meanwhile.
            self._loop.call_soon(self._start_waiting)
        elif not self._slow_start.connecting:
            self._slow_start.reset()

    def _on_waiting(self) -> None:
        if self._waiting:
            self._slow_start.double()
            self._start_waiting()
            self._waiting_timer.set(_SLOW_START_SECONDS)

    def _start_waiting(self) -> None:
        while self._waiting and self._slow_start.has_room:
            easy = next(iter(self._waiting))
            on_end, since = self._waiting.pop(easy)
            easy.shorten_timeout(time.monotonic() - since)
            try:
                self._start(easy, on_end)
            except CurlError as error:
                on_end(error)

    def _set(self, option: CurlMOpt, value: Any) -> None:
        lib.curl_multi_setopt(self._curlm, option, value)


def _exit(*_: object) -> None:
    os._exit(EX_SOFTWARE)  # libcurl cannot be told of an exception


def _on_socket(easy: Any, fd: int, what: int, multi: Any, socket_data: Any) -> int:
    """https://curl.se/libcurl/c/CURLMOPT_SOCKETFUNCTION.html"""
    ffi.from_handle(multi).on_socket(fd, what)
    return 0


def _on_timer(curlm: Any, milliseconds: int, multi: Any) -> int:
    """https://curl.se/libcurl/c/CURLMOPT_TIMERFUNCTION.html"""
    ffi.from_handle(multi).on_timer(milliseconds)
    return 0


_socket_function = define_callback(
    "socket_function", "int(void *, int, int, void *, void *)", _on_socket, _exit
)
_timer_function = define_callback("timer_function", "int(void *, long, void *)", _on_timer, _exit)

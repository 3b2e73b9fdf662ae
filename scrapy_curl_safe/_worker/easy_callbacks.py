"""Functions that libcurl calls during a transfer, with its `EasyHandle` as user data."""

from __future__ import annotations

from typing import Any

from .curl_api import ffi


@ffi.callback("int(void *, void *, void *, int, int)", error=1)  # type: ignore[untyped-decorator]
def on_send(easy: Any, *_: object) -> int:
    """https://curl.se/libcurl/c/CURLOPT_PREREQFUNCTION.html"""
    return int(not ffi.from_handle(easy).before_send())  # CURL_PREREQFUNC_ABORT is 1


@ffi.callback("int(void *, void *, void *)", error=1)  # type: ignore[untyped-decorator]
def on_lookup(state: Any, reserved: Any, easy: Any) -> int:
    """https://curl.se/libcurl/c/CURLOPT_RESOLVER_START_FUNCTION.html"""
    ffi.from_handle(easy).wanted_lookup = True
    return 1


@ffi.callback("int(void *, int, void *)", error=-1)  # type: ignore[untyped-decorator]
def on_open(easy: Any, *_: object) -> int:
    """https://curl.se/libcurl/c/CURLOPT_OPENSOCKETFUNCTION.html"""
    return int(ffi.from_handle(easy).open_socket())


@ffi.callback("int(void *, int, int)", error=1)  # type: ignore[untyped-decorator]
def on_opened(*_: object) -> int:
    """https://curl.se/libcurl/c/CURLOPT_SOCKOPTFUNCTION.html"""
    return 2  # CURL_SOCKOPT_ALREADY_CONNECTED


@ffi.callback("size_t(char *, size_t, size_t, void *)", error=0)  # type: ignore[untyped-decorator]
def on_first_line(line: Any, size: int, count: int, easy: Any) -> int:
    """https://curl.se/libcurl/c/CURLOPT_HEADERFUNCTION.html"""
    try:
        ffi.from_handle(easy).begin_response(ffi.buffer(line, count)[:])
    except MemoryError:
        return 0  # and libcurl fails the transfer
    return count


def ignore(*_: object) -> int:
    return 0

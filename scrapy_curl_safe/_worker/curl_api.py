"""The part of curl_cffi that its documentation does not promise, all of it in one place.

Public names (`Curl`, `CurlOpt`, `CurlError` and others) are imported where they are used. Nothing
is wrapped here, since each request passes through these names dozens of times.

Of curl_cffi's own attributes, `EasyHandle` overrides `_WS_RECV_BUFFER_SIZE`, the bytes of a buffer
for WebSockets: until 0.16 every handle allocates it, since 0.17 only one that uses it.
"""

from __future__ import annotations

from curl_cffi import (
    BrowserTypeLiteral,  # since 0.15: a Literal of all targets that can be impersonated
    ffi,  # since 0.15: cffi's casts, buffers and pointers
    lib,  # since 0.15: libcurl's functions under their own names
)
from curl_cffi.curl import DEFAULT_CACERT  # since 0.15: path of the certificate authorities
from curl_cffi.requests.utils import set_curl_options  # since 0.15: sets a browser's options

__all__ = [
    "DEFAULT_CACERT",
    "BrowserTypeLiteral",
    "define_callback",
    "easy_getinfo",
    "easy_setopt",
    "ffi",
    "lib",
    "set_curl_options",
    "socket_function",
    "timer_function",
]

# Since 0.15: sets an option to the number or the string that a pointer points at.
easy_setopt = lib._curl_easy_setopt
# Since 0.15: curl_easy_getinfo(3).
easy_getinfo = lib.curl_easy_getinfo
# Since 0.15: C functions whose Python bodies `define_callback` replaces.
socket_function = lib.socket_function
timer_function = lib.timer_function
# Since 0.15: decorates the Python body of a C function that curl_cffi declares.
define_callback = ffi.def_extern

"""A libcurl easy handle that is used again and again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curl_cffi import Curl, CurlInfo, CurlOpt, ffi, lib

from .._ipc.messages import SharedSlice
from .c_streams import FWRITE, MemoryStream, SharedSlot
from .stream_pool import streams

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_HTTPHEADER = int(CurlOpt.HTTPHEADER)
_CUSTOMREQUEST = int(CurlOpt.CUSTOMREQUEST)
_WRITEDATA = int(CurlOpt.WRITEDATA)
_WRITEFUNCTION = int(CurlOpt.WRITEFUNCTION)
_HEADERDATA = int(CurlOpt.HEADERDATA)
_HEADERFUNCTION = int(CurlOpt.HEADERFUNCTION)
_CONN_ID = int(CurlInfo.CONN_ID)

_TYPE_OF_OPTION = 10_000  # CURLOPTTYPE_LONG is below, CURLOPTTYPE_OFF_T above
_TYPE_OF_INFO = 0xF00000  # CURLINFO_TYPEMASK
_INFO_LONG = 0x200000

# For one number or text at a time, of whichever handle. (Above 30 attributes, most of which are
# curl_cffi's, CPython would give each handle a dict of its own: 1.5 kB.)
_long = ffi.new("long *")
_offset = ffi.new("int64_t *")
_text = ffi.new("char **")


class EasyHandle(Curl):
    """What is set stays set until it is set to something else.

    It goes round curl_cffi's own setopt() and getinfo(): those take 2 to 3 µs each, and a
    request would need 25 of them.

    Attributes:
        url: what it downloads; libcurl may have been given it in another form.
    """

    # Until 0.16 every curl_cffi.Curl allocates this buffer, which only WebSockets use: 128 kB a
    # handle.
    _WS_RECV_BUFFER_SIZE = 1

    def __init__(self) -> None:
        super().__init__()
        self.url = ""
        self._values: dict[int, Any] = {}
        self._header_lines: Any = None
        self._is_plain = False
        self._stream: MemoryStream | SharedSlot | None = None
        self._connection = -1
        self.setopt(CurlOpt.HEADERFUNCTION, self._take_stream)
        self._on_first_line = self._header_handle

    def set_number(self, option: int, value: int) -> None:
        """
        Raises:
            CurlError: libcurl does not take it; so do the next two.
        """
        if self._values.get(option) != value:
            holder = _long if option < _TYPE_OF_OPTION else _offset
            holder[0] = value
            self._set(option, holder)
            self._values[option] = value

    def set_text(self, option: int, value: bytes | None) -> None:
        """libcurl copies it. None undoes the option."""
        if option not in self._values or self._values[option] != value:
            self._set(option, ffi.NULL if value is None else value)
            self._values[option] = value

    def set_headers(self, lines: Any) -> None:
        """
        Args:
            lines: for CURLOPT_HTTPHEADER, which keeps no copy.
        """
        if self._header_lines is not lines:
            self._set(_HTTPHEADER, lines)
            self._header_lines = lines

    def set_method(self, method: str, body: bytes) -> None:
        plain = method == "GET" and not body
        if plain and self._is_plain:
            return
        self._is_plain = plain
        # First: it undoes what a HEAD or a body left behind.
        self.setopt(CurlOpt.HTTPGET, 1)
        if method == "HEAD":
            self.setopt(CurlOpt.NOBODY, 1)
        elif body or method in ("POST", "PUT", "PATCH"):
            self.setopt(CurlOpt.POSTFIELDSIZE_LARGE, len(body))
            self.setopt(CurlOpt.POSTFIELDS, body)
        named = body or method not in ("GET", "HEAD")
        self.set_text(_CUSTOMREQUEST, method.encode() if named else None)

    def write_to_stream(self) -> None:
        """Let libcurl write the response to memory: its head, its body, its trailers."""
        self._write_by(lib.write_callback, self._on_first_line)

    def _take_stream(self, line: bytes) -> int:
        # From here on libcurl does without Python.
        self._connection = self.number(_CONN_ID)
        self._stream = streams.take()
        self._write_by(FWRITE, self._stream.pointer)
        self._stream.write(line)
        return len(line)

    def _write_by(self, function: Any, data: Any) -> None:
        for option in (_HEADERFUNCTION, _WRITEFUNCTION):
            self._set(option, function)
        for option in (_HEADERDATA, _WRITEDATA):
            self._set(option, data)

    def written(self) -> memoryview:
        """What libcurl wrote; good until `forget`."""
        return memoryview(b"" if self._stream is None else self._stream.written())

    def lend(self, at: int, size: int) -> SharedSlice | None:
        """Let the crawler read so many bytes of what was written, from there on, where it can."""
        place = streams.lend(self._stream, at, size)
        if place is not None:
            self._stream = None
        return place

    def write_to(self, on_header: Callable[[bytes], int], on_body: Callable[[bytes], int]) -> None:
        """Let libcurl call these with each line of the head and each piece of the body."""
        self.setopt(CurlOpt.HEADERFUNCTION, on_header)
        self.setopt(CurlOpt.WRITEFUNCTION, on_body)

    @property
    def connection(self) -> int:
        """libcurl's number of the connection, or -1.

        A transfer that ends before another on the same connection has none any more.
        """
        return self._connection if self._connection >= 0 else self.number(_CONN_ID)

    def number(self, info: int) -> int:
        holder = _long if info & _TYPE_OF_INFO == _INFO_LONG else _offset
        lib.curl_easy_getinfo(self._curl, info, holder)
        return int(holder[0])

    def text(self, info: int) -> bytes:
        lib.curl_easy_getinfo(self._curl, info, _text)
        return bytes(ffi.string(_text[0])) if _text[0] else b""

    def forget(self) -> None:
        """Drop what the last request brought: bodies and callbacks, and all that those hold."""
        self._body_handle = self._write_handle = self._header_handle = self._debug_handle = None
        self._connection = -1
        if self._stream is not None:
            streams.give_back(self._stream)
            self._stream = None

    def close(self) -> None:
        super().close()
        self.forget()
        self._header_lines = None
        self._on_first_line = None

    def _set(self, option: int, value: Any) -> None:
        self._check_error(lib._curl_easy_setopt(self._curl, option, value), "setopt", option)

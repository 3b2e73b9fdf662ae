"""A libcurl easy handle that is used for one request after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curl_cffi import Curl, CurlECode, CurlError, CurlInfo, CurlOpt

from .._ipc.messages import SharedSlice
from .._platform.system import system
from .curl_api import easy_getinfo, easy_setopt, ffi, lib
from .easy_callbacks import ignore, on_first_line, on_lookup, on_open, on_opened, on_send
from .slist import make_slist
from .stream_pool import FWRITE, MemoryStream, SharedSlot, streams

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_HTTPHEADER = int(CurlOpt.HTTPHEADER)
# Since curl_cffi 0.16, as fingerprints are.
_HTTP3_HTTPHEADER = int(getattr(CurlOpt, "HTTP3_HTTPHEADER", 0))
_HTTPGET = int(CurlOpt.HTTPGET)
_NOBODY = int(CurlOpt.NOBODY)
_POSTFIELDS = int(CurlOpt.POSTFIELDS)
_POSTFIELDSIZE = int(CurlOpt.POSTFIELDSIZE_LARGE)
_CUSTOMREQUEST = int(CurlOpt.CUSTOMREQUEST)
_WRITEDATA = int(CurlOpt.WRITEDATA)
_WRITEFUNCTION = int(CurlOpt.WRITEFUNCTION)
_HEADERDATA = int(CurlOpt.HEADERDATA)
_HEADERFUNCTION = int(CurlOpt.HEADERFUNCTION)
_PREREQFUNCTION = int(CurlOpt.PREREQFUNCTION)
_PREREQDATA = int(CurlOpt.PREREQDATA)
_RESOLVE = int(CurlOpt.RESOLVE)
_RESOLVER_START_FUNCTION = int(CurlOpt.RESOLVER_START_FUNCTION)
_RESOLVER_START_DATA = int(CurlOpt.RESOLVER_START_DATA)
_OPENSOCKETFUNCTION = int(CurlOpt.OPENSOCKETFUNCTION)
_OPENSOCKETDATA = int(CurlOpt.OPENSOCKETDATA)
_SOCKOPTFUNCTION = int(CurlOpt.SOCKOPTFUNCTION)
_TIMEOUT_MS = int(CurlOpt.TIMEOUT_MS)
_CONN_ID = int(CurlInfo.CONN_ID)
_REQUEST_SIZE = int(CurlInfo.REQUEST_SIZE)
#: Has `get_number` return how many connections a transfer has opened.
NUM_CONNECTS = int(CurlInfo.NUM_CONNECTS)

_END_OF_LONG_OPTIONS = 10_000  # CURLOPTTYPE_LONG is below, CURLOPTTYPE_OFF_T above
_INFO_TYPE_MASK = 0xF00000  # CURLINFO_TYPEMASK
_INFO_LONG = 0x200000  # CURLINFO_LONG
_ERROR_SIZE = 256  # CURL_ERROR_SIZE

#: From this size on, an origin may answer and close before it has read a body. libcurl looks for an
#: answer before each write, and loses the answer if a write fails. So it writes only a little at a
#: time, and then waits until that has been sent.
LARGE_UPLOAD_BYTES = 1_000_000
_MAX_UNSENT_BYTES = 64 * 1024

# Used by all handles, for one number or text at a time.
_long_out = ffi.new("long *")
_offset_out = ffi.new("int64_t *")
_string_out = ffi.new("char **")


def _name_of(code: int) -> str:
    """Return the name of a CURLcode, for an error that libcurl does not describe."""
    try:
        return CurlECode(code).name.replace("_", " ").lower()
    except ValueError:  # newer than curl_cffi's list
        return "unknown error"


class EasyHandle(Curl):
    """An easy handle whose options stay set from request to request, until they change.

    It bypasses curl_cffi's setopt() and getinfo(), which are slow for the 25 calls of a request.

    Attributes:
        pointer: libcurl's own handle, a `CURL *`.
        url: the URL that it downloads; libcurl may have been given it in another form.
        browser_head: what `BrowserHeads` has set; None for nothing.
        limits: what `set_request_options` has set of a request's limits; None for nothing.
        max_sends: how many times the request may be sent.
        reports_connection: whether `on_connected` is called at all.
        on_connected: called with the handle when libcurl has a connection for the request, once
            for each that it tries.
        was_send_refused: whether the transfer was aborted because the request would have been sent
            too many times.
        wanted_lookup: whether libcurl was not allowed to look up a name.
    """

    # Together with curl_cffi's own attributes there would be more than 30, from where on CPython
    # takes longer to look up any of them.
    __slots__ = (
        "_connection_id",
        "_error_text",
        "_header_list",
        "_http3_header_list",
        "_is_get",
        "_is_sending",
        "_self",
        "_sends",
        "_sent_bytes",
        "_stream",
        "_values",
        "browser_head",
        "limits",
        "max_sends",
        "on_connected",
        "pointer",
        "url",
        "was_send_refused",
    )

    # Set only on handles of crawls whose lookups are redirected.
    wanted_lookup = False
    _addresses: Any = None
    # Set only on handles for which libcurl does not connect by itself.
    open_socket: Callable[[], int] | None = None

    reports_connection = True

    # Of the request that is under way: its body, and whether it has callbacks.
    _body = b""
    _has_callbacks = False

    # Until curl_cffi 0.16 every handle would allocate 128 kB, which only WebSockets use.
    _WS_RECV_BUFFER_SIZE = 1

    def __init__(self) -> None:
        self.pointer = lib.curl_easy_init()
        super().__init__(handle=self.pointer)
        # In place of curl_cffi's own, which only its own code can read.
        self._error_text = ffi.new("char[]", _ERROR_SIZE)
        self.setopt(CurlOpt.ERRORBUFFER, self._error_text)
        self.url = ""
        self._values: dict[int, Any] = {}
        self.browser_head: object = None
        self.limits: object = None
        self._header_list: Any = None
        self._http3_header_list: Any = None
        self._is_get = False
        self._stream: MemoryStream | SharedSlot | None = None
        self._connection_id = -1
        self.max_sends = 1
        self.on_connected: Callable[[EasyHandle], None] | None = None
        self.was_send_refused = False
        self._sends = 0
        self._sent_bytes = 0
        self._is_sending = False
        self._self = ffi.new_handle(self)
        self._watch_sends()

    def _watch_sends(self) -> None:
        self._set(_PREREQFUNCTION, on_send)
        self._set(_PREREQDATA, self._self)

    # Options

    def set_number(self, option: int, value: int) -> None:
        """Set an option that is a number.

        Raises:
            CurlError: libcurl does not accept it. The other setters raise this, too.
        """
        if self._values.get(option) != value:
            self._set_number(option, value)
            self._values[option] = value

    def set_text(self, option: int, value: bytes | None) -> None:
        """Set an option that is a string, which libcurl copies; None resets it."""
        if option not in self._values or self._values[option] != value:
            self._set(option, ffi.NULL if value is None else value)
            self._values[option] = value

    def set_header_list(self, header_list: Any) -> None:
        """Set CURLOPT_HTTPHEADER to a curl_slist, of which libcurl keeps no copy."""
        if self._header_list is not header_list:
            self._set(_HTTPHEADER, header_list)
            self._header_list = header_list

    def set_http3_header_list(self, header_list: Any) -> None:
        """Set the curl_slist that HTTP/3 uses instead."""
        if self._http3_header_list is not header_list:
            self._set(_HTTP3_HTTPHEADER, header_list)
            self._http3_header_list = header_list

    def set_method(self, method: str, body: bytes) -> None:
        is_get = method == "GET" and not body
        if is_get and self._is_get:
            return
        self._is_get = is_get
        # First: it undoes what a HEAD or a body left behind.
        self._set_number(_HTTPGET, 1)
        if method == "HEAD":
            self._set_number(_NOBODY, 1)
        elif body or method in ("POST", "PUT", "PATCH"):
            self._set_number(_POSTFIELDSIZE, len(body))
            self._set(_POSTFIELDS, body)
            self._body = body  # libcurl reads it from here
        is_custom = body or method not in ("GET", "HEAD")
        self.set_text(_CUSTOMREQUEST, method.encode() if is_custom else None)

    def number(self, option: int) -> int:
        """Return the number that `set_number` has set."""
        return int(self._values[option])

    def shorten_timeout(self, seconds: float) -> None:
        """Take the time that the next transfer has waited off its CURLOPT_TIMEOUT_MS."""
        timeout_ms = self._values.get(_TIMEOUT_MS, 0)
        if timeout_ms:
            self.set_number(_TIMEOUT_MS, max(1, timeout_ms - round(1000 * seconds)))
            # So that the request after it gets its own.
            self.limits = None

    def forbid_lookups(self) -> None:
        """Have the next transfer end when libcurl needs an address that it does not have."""
        self.wanted_lookup = False
        self._set(_RESOLVER_START_FUNCTION, on_lookup)
        self._set(_RESOLVER_START_DATA, self._self)

    def set_addresses(self, entries: list[bytes]) -> None:
        """Set the addresses of hosts for the next transfer, as CURLOPT_RESOLVE takes them."""
        self._addresses = make_slist(entries)
        self._set(_RESOLVE, self._addresses)

    def open_sockets_by(self, open_socket: Callable[[], int]) -> None:
        """Have libcurl take connected sockets (descriptors) from a function, and close them.

        A handle that does so never connects by itself again.
        """
        self.open_socket = open_socket
        self._set(_OPENSOCKETFUNCTION, on_open)
        self._set(_OPENSOCKETDATA, self._self)
        self._set(_SOCKOPTFUNCTION, on_opened)

    def limit_sends(self, most: int) -> None:
        """Limit how many times the next request may be sent.

        libcurl tries up to six connections if each dies before the answer begins.
        """
        self.max_sends = most
        self.was_send_refused = self._is_sending = False
        self._sends = self._sent_bytes = 0

    def before_send(self) -> bool:
        """Note that libcurl has a connection, and is about to send the request on it.

        Returns:
            Whether it may: False once the request was sent as often as it may be.
        """
        # libcurl may have found the previous connection dead when it began to send.
        if self._is_sending and self.was_sent:
            self._sends += 1
            self._sent_bytes = self.get_number(_REQUEST_SIZE)
            self.was_send_refused = self._sends >= self.max_sends
        self._is_sending = True
        if self.on_connected is not None:
            self.on_connected(self)
        if len(self._body) >= LARGE_UPLOAD_BYTES:
            fd = self.getinfo(CurlInfo.ACTIVESOCKET)
            assert isinstance(fd, int)
            system.limit_unsent(fd, _MAX_UNSENT_BYTES)
        return not self.was_send_refused

    # Where the response goes

    def write_to_memory(self) -> None:
        """Have libcurl write the whole response (head, body and trailers) to `response`."""
        self._write_to(on_first_line, self._self)

    def write_to_callbacks(
        self, on_header: Callable[[bytes], int], on_body: Callable[[bytes], int]
    ) -> None:
        """Have libcurl call these with each line of the head and each piece of the body."""
        self.setopt(CurlOpt.HEADERFUNCTION, on_header)
        self.setopt(CurlOpt.WRITEFUNCTION, on_body)
        self._has_callbacks = True

    def report_to(self, on_debug: Callable[[int, bytes], None]) -> None:
        """Have libcurl call this with the kind and the text of what CURLOPT_VERBOSE reports."""
        self.setopt(CurlOpt.DEBUGFUNCTION, on_debug)
        self._has_callbacks = True

    def response(self) -> memoryview:
        """Return what libcurl wrote to memory, valid until `reuse`."""
        return memoryview(b"" if self._stream is None else self._stream.getbuffer())

    def share_response(self, offset: int, size: int) -> SharedSlice | None:
        """Leave a range of the response to the crawler, if it lies in shared memory."""
        shared = streams.share(self._stream, offset, size)
        if shared is not None:
            self._stream = None
        return shared

    def share_with_response(self, data: bytes) -> tuple[SharedSlice, int] | None:
        """Leave the response to the crawler, and data behind it, if it lies in shared memory.

        Returns:
            Where the data is, and where the response begins.
        """
        shared = streams.share_behind(self._stream, data)
        if shared is not None:
            self._stream = None
        return shared

    def begin_response(self, line: bytes) -> None:
        # From here on libcurl writes without Python.
        self._connection_id = self.get_number(_CONN_ID)
        self._stream = streams.acquire()
        self._write_to(FWRITE, self._stream.pointer)
        self._stream.write(line)

    def _write_to(self, function: Any, data: Any) -> None:
        self._set(_HEADERFUNCTION, function)
        self._set(_WRITEFUNCTION, function)
        self._set(_HEADERDATA, data)
        self._set(_WRITEDATA, data)

    # What libcurl knows about the transfer

    @property
    def connection_id(self) -> int:
        """libcurl's number of the connection; -1 for none.

        It is kept from the start of the response: a transfer that ends before another one on the
        same connection no longer has it at the end.
        """
        return self._connection_id if self._connection_id >= 0 else self.get_number(_CONN_ID)

    @property
    def was_sent(self) -> bool:
        """True if a part of the request was sent on the latest connection."""
        return self.get_number(_REQUEST_SIZE) > self._sent_bytes

    @property
    def resends(self) -> int:
        """The number of times that the request was sent again, each time on another connection."""
        return self._sends - self.was_send_refused

    def get_number(self, info: int) -> int:
        pointer = _long_out if info & _INFO_TYPE_MASK == _INFO_LONG else _offset_out
        easy_getinfo(self.pointer, info, pointer)
        return int(pointer[0])

    def get_text(self, info: int) -> bytes:
        easy_getinfo(self.pointer, info, _string_out)
        return bytes(ffi.string(_string_out[0])) if _string_out[0] else b""

    def error(self, code: int) -> CurlError:
        """Make an error of a CURLcode, with what libcurl says about it."""
        text = bytes(ffi.string(self._error_text)).decode(errors="backslashreplace")
        return CurlError(text or _name_of(code), code)

    # Its end

    def reuse(self) -> None:
        """Drop everything of the last request: bodies, callbacks and whatever they refer to."""
        self._body = b""
        if self._has_callbacks:
            for option in (CurlOpt.HEADERFUNCTION, CurlOpt.WRITEFUNCTION, CurlOpt.DEBUGFUNCTION):
                self.setopt(option, ignore)
            self._has_callbacks = False
        self._connection_id = -1
        if self._stream is not None:
            streams.release(self._stream)
            self._stream = None

    def close(self) -> None:
        super().close()
        self.pointer = ffi.NULL
        self.reuse()
        self._header_list = self._addresses = self.on_connected = None
        self._self = None

    def _set_number(self, option: int, value: int) -> None:
        pointer = _long_out if option < _END_OF_LONG_OPTIONS else _offset_out
        pointer[0] = value
        self._set(option, pointer)

    def _set(self, option: int, value: Any) -> None:
        code = easy_setopt(self.pointer, option, value)
        if code:
            raise CurlError(f"option {option}: {self.error(code)}", code)

"""Easy handles that use public API where curl_cffi lacks a name that `EasyHandle` uses."""

from __future__ import annotations

from typing import Any

from curl_cffi import CurlInfo, CurlOpt

from .curl_api import easy_getinfo, easy_setopt
from .easy import EasyHandle
from .slist import strings_of

_HTTPHEADER = int(CurlOpt.HTTPHEADER)
_FRESH_CONNECT = int(CurlOpt.FRESH_CONNECT)

#: Whether a handle can be used for more than one request. (Curl.setopt() adds headers to those of
#: the previous request.)
CAN_REUSE_HANDLES = easy_setopt is not None


class _SetBySetopt(EasyHandle):
    """A handle whose options Curl.setopt() sets.

    Curl.setopt() accepts no C functions. So libcurl does not ask before it sends a request, and it
    calls Python with each piece of a response.
    """

    reports_connection = False

    def _watch_sends(self) -> None:
        """Do nothing: if a request may be sent only once, `set_number` sees to that."""

    def set_number(self, option: int, value: int) -> None:
        if option == _FRESH_CONNECT and self.max_sends == 1:
            # libcurl never resends what went out on a new connection.
            value = 1
        super().set_number(option, value)

    def write_to_memory(self) -> None:
        self.write_to_callbacks(self._on_piece, self._on_piece)

    def _on_piece(self, data: bytes) -> int:
        if self._stream is None:
            self.begin_response(data)
        else:
            self._stream.write(data)
        return len(data)

    def _write_to(self, function: Any, data: Any) -> None:
        """Do nothing: `_on_piece` gets all that follows."""

    def _set_number(self, option: int, value: int) -> None:
        self._set(option, value)

    def _set(self, option: int, value: Any) -> None:
        if option == _HTTPHEADER:
            value = list(strings_of(value))
        self.setopt(CurlOpt(option), value)


class _ReadByGetinfo(EasyHandle):
    """A handle that learns about its transfers from Curl.getinfo()."""

    def get_number(self, info: int) -> int:
        number = self.getinfo(CurlInfo(info))
        assert isinstance(number, int)
        return number

    def get_text(self, info: int) -> bytes:
        text = self.getinfo(CurlInfo(info))
        assert isinstance(text, bytes)
        return text


class _ByPublicApi(_SetBySetopt, _ReadByGetinfo):
    """A handle that does both."""


_CLASSES: dict[tuple[bool, bool], type[EasyHandle]] = {
    (True, True): EasyHandle,
    (False, True): _SetBySetopt,
    (True, False): _ReadByGetinfo,
    (False, False): _ByPublicApi,
}
#: The class of handles for the names that this curl_cffi has.
new_easy_handle = _CLASSES[easy_setopt is not None, easy_getinfo is not None]


def lookups_problem() -> str | None:
    """Say why libcurl cannot be kept from looking up names by itself; None if it can."""
    if easy_setopt is not None:
        return None
    return (
        "something redirects this program's name lookups, and libcurl would bypass it, since "
        "curl_cffi lacks lib._curl_easy_setopt"
    )

"""libcurl's lists of strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .curl_api import ffi, lib


def strings_of(slist: Any) -> Iterator[bytes]:
    """Yield the strings of a curl_slist."""
    while slist != ffi.NULL:
        yield bytes(ffi.string(slist.data))
        slist = slist.next


def make_slist(strings: list[bytes]) -> Any:
    """Return a curl_slist, which exists as long as the returned object is referenced.

    Raises:
        MemoryError: no memory is left.
    """
    first = ffi.NULL
    for string in strings:
        longer = lib.curl_slist_append(first, string)
        if longer == ffi.NULL:
            lib.curl_slist_free_all(first)
            raise MemoryError
        first = longer
    return ffi.gc(first, lib.curl_slist_free_all)

"""The pages that the benchmarks' origin serves."""

from __future__ import annotations

import logging
import pydoc
from functools import cache

from testkit.compressed import ENCODERS

#: Sizes of pages without contents, by name.
_PLAIN = {"1kB": 1_000, "50kB": 50_000, "1MB": 1_000_000}
#: How a real page is encoded, by name.
_ENCODINGS = {f"{encoding}/real": encoding for encoding in ("gzip", "br", "zstd")}


def encoding_of(name: str) -> str | None:
    """Return the Content-Encoding of a page."""
    return _ENCODINGS.get(name)


def decoded_size(name: str) -> int:
    return _PLAIN[name] if name in _PLAIN else len(real_page())


def encoded_page(name: str) -> bytes:
    """Return a page as it travels."""
    if name in _PLAIN:
        return b"<html>".ljust(_PLAIN[name], b"x")
    return ENCODERS[_ENCODINGS[name]](real_page())


def all_pages() -> dict[str, bytes]:
    return {name: encoded_page(name) for name in (*_PLAIN, *_ENCODINGS)}


@cache
def real_page() -> bytes:
    """Return a page of Python's own documentation, of about 100 kB."""
    formatter = pydoc.HTMLDoc()
    return formatter.page("logging", formatter.document(logging)).encode()

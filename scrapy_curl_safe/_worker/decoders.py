"""Decoders of content encodings, which take a body in pieces and return it in pieces.

What they return of a whole stream is what Scrapy's HttpCompressionMiddleware has of it. A worker
loads all libraries that are installed at once, since its sandbox forbids it later.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

#: The most that a piece has unless the caller wants another size; what Scrapy reads at a time.
PIECE_BYTES = 64 * 1024
_GZIP, _RAW_DEFLATE = 31, -15  # zlib's wbits
_GZIP_MAGIC = b"\x1f\x8b"


def _load_library(*names: str) -> Any:
    """Load the first of these modules that is installed; return None if none is."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


_brotli = _load_library("brotli", "brotlicffi")
_zstd = _load_library("compression.zstd", "backports.zstd")
_zstandard: Any = None if _zstd is not None else _load_library("zstandard")


class Decoder(Protocol):
    """Undoes one encoding of one body."""

    @property
    def is_complete(self) -> bool:
        """True if the stream may end here."""

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield what the data decodes to, in pieces of at most this size."""


class Gzip:
    """One member or more. What follows the last one is ignored."""

    def __init__(self) -> None:
        self._member: Any = None
        self._count = 0
        self._start = b""
        self._ignores_rest = False

    @property
    def is_complete(self) -> bool:
        return self._count > 0 and self._member is None

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        while not self._ignores_rest:
            if self._member is None:
                data = self._begin_member(data)
                if self._member is None:
                    return
            piece = self._member.decompress(data, most)
            if piece:
                yield piece
            if self._member.eof:
                data, self._member = self._member.unused_data, None
                self._count += 1
            elif not self._member.unconsumed_tail and len(piece) < most:
                return
            else:
                data = self._member.unconsumed_tail

    def _begin_member(self, data: bytes) -> bytes:
        data = self._start + data
        if self._count:
            data = data.lstrip(b"\0")
        self._start = data[:1] if len(data) < 2 else b""
        if len(data) >= 2:
            if self._count and not data.startswith(_GZIP_MAGIC):
                self._ignores_rest = True
            else:
                self._member = zlib.decompressobj(_GZIP)
        return data


class Deflate:
    """With zlib's header, as RFC 9110 (section 8.4.1.2) has it, or without, as some servers do."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._start = b""

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    @property
    def has_read_all(self) -> bool:
        """True if no more of the data is needed for what zlib still has to return."""
        return not self._stream.unconsumed_tail

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        if self._stream is None:
            self._start = data = self._start + data
            if len(data) < 2:
                return
            has_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if has_header else _RAW_DEFLATE)
        while not self._stream.eof:
            piece = self._stream.decompress(data, most)
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < most:
                return


class Brotli:
    def __init__(self) -> None:
        self._stream = _brotli.Decompressor()

    @property
    def is_complete(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        while not self._stream.is_finished():
            piece = self._stream.process(data, output_buffer_limit=most)
            yield piece
            # It takes more data also while it still has some to return.
            if len(piece) < most and self._stream.can_accept_more_data():
                return
            data = b""


class OldBrotli(Brotli):
    """Brotli by the package `brotli` before 1.2, which bounds no piece."""

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        if not self._stream.is_finished():
            yield self._stream.process(data)


class Zstd:
    """One frame or more.

    Args:
        window_log_max: the logarithm of the most memory that a frame may ask for; 0 for the
            library's own limit.
    """

    def __init__(self, window_log_max: int = 0) -> None:
        parameter = _zstd.DecompressionParameter.window_log_max
        self._options = {parameter: window_log_max} if window_log_max else None
        self._begin_frame()

    def _begin_frame(self) -> None:
        self._frame = _zstd.ZstdDecompressor(options=self._options)
        self.is_complete = True

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        piece = b""
        while data or not self._frame.needs_input:
            self.is_complete = False
            piece += self._frame.decompress(data, most - len(piece))
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._begin_frame()
            if len(piece) == most:
                yield piece
                piece = b""
        if piece:
            yield piece


class Zstandard:
    """Zstd by the package `zstandard`, which bounds no piece."""

    def __init__(self) -> None:
        self._begin_frame()

    def _begin_frame(self) -> None:
        self._frame = _zstandard.ZstdDecompressor().decompressobj()
        self.is_complete = True

    def decode(self, data: bytes, most: int = PIECE_BYTES) -> Iterator[bytes]:
        while data:
            self.is_complete = False
            yield self._frame.decompress(data)
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._begin_frame()


def _find_decoders() -> dict[bytes, Callable[[], Decoder]]:
    found: dict[bytes, Callable[[], Decoder]] = {
        b"gzip": Gzip,
        b"x-gzip": Gzip,
        b"deflate": Deflate,
    }
    if _brotli is not None:
        has_limit = hasattr(_brotli.Decompressor, "can_accept_more_data")
        found[b"br"] = Brotli if has_limit else OldBrotli
    if _zstd is not None:
        found[b"zstd"] = Zstd
    elif _zstandard is not None:
        found[b"zstd"] = Zstandard
    return found


#: The decoders by the names of Content-Encoding, as far as their libraries are installed.
DECODERS = _find_decoders()
#: Those that keep to the size of a piece, however little data it takes.
BOUNDED = (Gzip, Deflate, Brotli, Zstd)
#: What decoders raise for a broken stream.
DECODER_ERRORS: tuple[type[Exception], ...] = (
    zlib.error,
    *(() if _brotli is None else (_brotli.error,)),
    *(() if _zstd is None else (_zstd.ZstdError,)),
    *(() if _zstandard is None else (_zstandard.ZstdError,)),
)


def encoding_names(values: Iterable[bytes]) -> list[bytes]:
    """Return the encodings of a body in the order in which they were applied, in lower case.

    Args:
        values: of its Content-Encoding headers.
    """
    return [name.strip().lower() for value in values for name in value.split(b",")]

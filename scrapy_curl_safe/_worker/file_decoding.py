"""Undoes the Content-Encoding of a body in pieces, so that neither form is ever in memory.

What is undone, and what is kept, is as Scrapy's HttpCompressionMiddleware has it, but for a stream
that is broken or ends early, which here is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, Protocol

from .content_encodings import brotli, encoding_names, load_library, zstd

_zstandard: Any = load_library("zstandard") if zstd is None else None

_PIECE_BYTES = 64 * 1024
_GZIP, _RAW_DEFLATE = 31, -15  # zlib's wbits
_GZIP_MAGIC = b"\x1f\x8b"


class DecodingError(Exception):
    """Says why a body cannot be decoded."""


class _Decoder(Protocol):
    @property
    def is_complete(self) -> bool:
        """Whether the stream may end here."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the data decodes to, in pieces."""


class _Gzip:
    """One member or more. What follows the last one is ignored."""

    def __init__(self) -> None:
        self._member: Any = None
        self._count = 0
        self._start = b""
        self._ignores_rest = False

    @property
    def is_complete(self) -> bool:
        return self._count > 0 and self._member is None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while not self._ignores_rest:
            if self._member is None:
                data = self._begin_member(data)
                if self._member is None:
                    return
            piece = self._member.decompress(data, _PIECE_BYTES)
            if piece:
                yield piece
            if self._member.eof:
                data, self._member = self._member.unused_data, None
                self._count += 1
            elif not self._member.unconsumed_tail and len(piece) < _PIECE_BYTES:
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


class _Deflate:
    """With zlib's header, as RFC 9110 (section 8.4.1.2) has it, or without, as some servers do."""

    def __init__(self) -> None:
        self._stream: Any = None
        self._start = b""

    @property
    def is_complete(self) -> bool:
        return self._stream is not None and bool(self._stream.eof)

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            self._start = data = self._start + data
            if len(data) < 2:
                return
            has_header = data[0] & 15 == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._stream = zlib.decompressobj(zlib.MAX_WBITS if has_header else _RAW_DEFLATE)
        while not self._stream.eof:
            piece = self._stream.decompress(data, _PIECE_BYTES)
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _PIECE_BYTES:
                return


class _Brotli:
    def __init__(self) -> None:
        self._stream = brotli.Decompressor()
        # Since brotli 1.2.
        self._has_limit = hasattr(self._stream, "can_accept_more_data")

    @property
    def is_complete(self) -> bool:
        return bool(self._stream.is_finished())

    def decode(self, data: bytes) -> Iterator[bytes]:
        while not self._stream.is_finished():
            if not self._has_limit:
                yield self._stream.process(data)
                return
            piece = self._stream.process(data, output_buffer_limit=_PIECE_BYTES)
            yield piece
            # It takes more data also while it still has some to return.
            if len(piece) < _PIECE_BYTES and self._stream.can_accept_more_data():
                return
            data = b""


class _Zstd:
    """One frame or more."""

    def __init__(self) -> None:
        self._begin_frame()

    def _begin_frame(self) -> None:
        self._frame = zstd.ZstdDecompressor()
        self._is_empty = True

    @property
    def is_complete(self) -> bool:
        return self._is_empty

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data or not self._frame.needs_input:
            self._is_empty = False
            yield self._frame.decompress(data, _PIECE_BYTES)
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._begin_frame()


class _Zstandard:
    """The same by the package of that name, which bounds no piece."""

    def __init__(self) -> None:
        self._begin_frame()

    def _begin_frame(self) -> None:
        self._frame = _zstandard.ZstdDecompressor().decompressobj()
        self.is_complete = True

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            self.is_complete = False
            yield self._frame.decompress(data)
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._begin_frame()


_DECODERS: dict[bytes, Callable[[], _Decoder]] = {
    b"gzip": _Gzip,
    b"x-gzip": _Gzip,
    b"deflate": _Deflate,
}
if brotli is not None:
    _DECODERS[b"br"] = _Brotli
if zstd is not None:
    _DECODERS[b"zstd"] = _Zstd
elif _zstandard is not None:
    _DECODERS[b"zstd"] = _Zstandard

_ERRORS: tuple[type[Exception], ...] = (
    zlib.error,
    *([brotli.error] if brotli is not None else []),
    *([zstd.ZstdError] if zstd is not None else []),
    *([_zstandard.ZstdError] if _zstandard is not None else []),
)


class FileDecoder:
    """Decodes one body.

    Args:
        values: of its Content-Encoding headers.

    Attributes:
        left: the value of the header for what comes out, since no module here knows the rest; empty
            for none.
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        names = encoding_names(values)
        self._decoders: list[_Decoder] = []
        while names and names[-1] in _DECODERS:
            self._decoders.append(_DECODERS[names.pop()]())
        self.left = b",".join(names)
        self._has_data = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what the next piece of the body decodes to, in pieces.

        Raises:
            DecodingError: it is broken.
        """
        self._has_data = True
        pieces: Iterator[bytes] = iter((data,))
        for decoder in self._decoders:
            pieces = chain.from_iterable(map(decoder.decode, pieces))
        try:
            yield from pieces
        except _ERRORS as error:
            raise DecodingError(str(error)) from None

    def finish(self) -> None:
        """Check that the body may end here. One that is empty may.

        Raises:
            DecodingError: it may not.
        """
        if self._has_data and not all(decoder.is_complete for decoder in self._decoders):
            raise DecodingError("it ended within its Content-Encoding")

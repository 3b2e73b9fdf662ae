"""Decodes compressed bodies, with the results of Scrapy's HttpCompressionMiddleware.

A small stream is decoded at once, a large one in pieces, with turns of the loop in between for the
other transfers. The pieces are those that Scrapy reads, so that a bomb exceeds the limit by as
much. What is left of a broken stream, only Scrapy decides: it gets the body as it came.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Generator, Iterator
from gzip import GzipFile
from io import BytesIO
from typing import Any

from .content_encodings import brotli, encoding_names, zstd
from .loop import Loop

# What Scrapy reads at a time; it looks at the limit after each piece.
_PIECE_BYTES = 64 * 1024
# A few milliseconds' work. Larger bodies are decoded in pieces.
_MOST_AT_ONCE_BYTES = 1024 * 1024
_MOST_INPUT_AT_ONCE_BYTES = 256 * 1024
_PIECES_A_TURN = 8
# Beyond this a body is only measured, so that a bomb takes no memory.
_MOST_KEPT_BYTES = 32 * 1024 * 1024
# Of a frame's memory: the most that RFC 9659 allows, and browsers accept.
_MOST_WINDOW_LOG = 23


class TooLargeError(Exception):
    """The decoded body exceeds the limit.

    Attributes:
        size: how much was decoded by then.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size


class NotDecodedError(Exception):
    """Scrapy must decode the body itself."""


# A decoder has two ways. The first returns None unless the stream is small, whole, and has nothing
# behind it.


def _gunzip(data: bytes) -> bytes | None:
    decoder = zlib.decompressobj(31)
    decoded = decoder.decompress(data, _MOST_AT_ONCE_BYTES)
    return decoded if decoder.eof and not decoder.unused_data else None


def _gunzip_pieces(data: bytes) -> Iterator[bytes]:
    file = GzipFile(fileobj=BytesIO(data))
    while piece := file.read1(_PIECE_BYTES):
        yield piece


def _inflate(data: bytes) -> bytes | None:
    decoder = zlib.decompressobj()
    decoded = decoder.decompress(data, _MOST_AT_ONCE_BYTES)
    return decoded if decoder.eof else None


def _inflate_pieces(data: bytes) -> Iterator[bytes]:
    decoder = zlib.decompressobj()
    try:
        piece = decoder.decompress(data, _PIECE_BYTES)
    except zlib.error:
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        piece = decoder.decompress(data, _PIECE_BYTES)
    yield piece
    while decoder.unconsumed_tail and not decoder.eof:
        yield decoder.decompress(decoder.unconsumed_tail, _PIECE_BYTES)
    if not decoder.eof:
        raise NotDecodedError


def _unbrotli(data: bytes) -> bytes | None:
    decoder = brotli.Decompressor()
    decoded: bytes = decoder.process(data, output_buffer_limit=_MOST_AT_ONCE_BYTES)
    return decoded if decoder.is_finished() else None


def _unbrotli_pieces(data: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    piece = decoder.process(data, output_buffer_limit=_PIECE_BYTES)
    while piece:
        yield piece
        piece = b""
        if not decoder.is_finished():
            piece = decoder.process(b"", output_buffer_limit=_PIECE_BYTES)
    if not decoder.is_finished():
        raise NotDecodedError


def _unzstd(data: bytes) -> bytes | None:
    decoder = zstd.ZstdDecompressor(options=_zstd_options())
    decoded: bytes = decoder.decompress(data, _MOST_AT_ONCE_BYTES)
    return decoded if decoder.eof and not decoder.unused_data else None


def _unzstd_pieces(data: bytes) -> Iterator[bytes]:
    file = zstd.ZstdFile(BytesIO(data), options=_zstd_options())
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _zstd_options() -> dict[Any, int]:
    return {zstd.DecompressionParameter.window_log_max: _MOST_WINDOW_LOG}


_Decoder = tuple[Callable[[bytes], "bytes | None"], Callable[[bytes], Iterator[bytes]]]


def _find_decoders() -> dict[bytes, _Decoder]:
    gzip = (_gunzip, _gunzip_pieces)
    found: dict[bytes, _Decoder] = {
        b"gzip": gzip,
        b"x-gzip": gzip,
        b"deflate": (_inflate, _inflate_pieces),
    }
    if zstd is not None:
        found[b"zstd"] = (_unzstd, _unzstd_pieces)
    try:
        brotli.Decompressor().process(b"", output_buffer_limit=1)
    except (AttributeError, TypeError):
        # It is not there, or older than its limit.
        return found
    found[b"br"] = (_unbrotli, _unbrotli_pieces)
    return found


_DECODERS = _find_decoders()
_ERRORS: tuple[type[Exception], ...] = (
    NotDecodedError,
    EOFError,
    MemoryError,
    OSError,
    struct.error,
    zlib.error,
    *([] if zstd is None else [zstd.ZstdError]),
    *([] if brotli is None else [brotli.error]),
)


def encodings_of(values: list[bytes], wanted: frozenset[bytes]) -> list[bytes]:
    """Return the encodings to undo, the last one first.

    Args:
        values: of the Content-Encoding headers.
        wanted: what Scrapy can decode.

    Returns:
        Nothing if there is none, or one that is not wanted or not known here.
    """
    names = encoding_names(values)
    if not all(name in wanted and name in _DECODERS for name in names):
        return []
    return names[::-1]


class Decoding:
    """The decoding of one body.

    Args:
        loop: of the worker.
        data: the encoded body.
        encodings: as `encodings_of` returned them.
        limit: size of the decoded body above which it is refused; 0 for none.
        on_end: called once with the body, with a TooLargeError, or with None if it is left to
            Scrapy; never after `cancel`. A small body is done before the constructor returns.
    """

    def __init__(
        self,
        loop: Loop,
        data: bytes,
        encodings: list[bytes],
        limit: int,
        on_end: Callable[[bytes | TooLargeError | None], None],
    ) -> None:
        self._loop = loop
        self._limit = limit
        self._on_end = on_end
        self._is_cancelled = False
        self._steps = self._decode(data, encodings)
        self._go_on()

    def cancel(self) -> None:
        self._is_cancelled = True

    def _go_on(self) -> None:
        if self._is_cancelled:
            return
        result: bytes | TooLargeError | None = None
        try:
            next(self._steps)
        except StopIteration as end:
            result = end.value
        except TooLargeError as error:
            result = error
        except _ERRORS:
            pass
        else:
            self._loop.call_soon(self._go_on)
            return
        self._on_end(result)

    def _decode(self, data: bytes, encodings: list[bytes]) -> Generator[None, None, bytes]:
        for encoding in encodings:
            at_once, in_pieces = _DECODERS[encoding]
            decoded = self._decode_at_once(at_once, data)
            if decoded is None:
                decoded = yield from self._join(in_pieces(data))
            data = decoded
        return data

    def _decode_at_once(self, decode: Callable[[bytes], bytes | None], data: bytes) -> bytes | None:
        if len(data) > _MOST_INPUT_AT_ONCE_BYTES:
            return None
        try:
            decoded = decode(data)
        except _ERRORS:
            return None
        if decoded is not None and 0 < self._limit < len(decoded):
            return None
        return decoded

    def _join(self, pieces: Iterator[bytes]) -> Generator[None, None, bytes]:
        kept: list[bytes] = []
        size = 0
        for number, piece in enumerate(pieces, 1):
            size += len(piece)
            if 0 < self._limit < size:
                raise TooLargeError(size)
            if size <= _MOST_KEPT_BYTES:
                kept.append(piece)
            elif self._limit:
                kept.clear()
            else:
                raise NotDecodedError
            if number % _PIECES_A_TURN == 0:
                yield
        if size > _MOST_KEPT_BYTES:
            raise NotDecodedError
        return b"".join(kept)

"""Decodes compressed bodies, with the results of Scrapy's HttpCompressionMiddleware.

A small stream is decoded at once, a large one in pieces, with turns of the loop in between for the
other transfers. The pieces are those that Scrapy reads, so that a bomb exceeds the limit by as
much. What is left of a broken stream, only Scrapy decides: it gets the body as it came.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator
from functools import partial
from gzip import GzipFile
from io import BytesIO

from .decoders import (
    BOUNDED,
    DECODER_ERRORS,
    DECODERS,
    PIECE_BYTES,
    Decoder,
    Deflate,
    Gzip,
    Zstd,
    encoding_names,
)
from .loop import Loop

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


_ERRORS: tuple[type[Exception], ...] = (
    *DECODER_ERRORS,
    NotDecodedError,
    EOFError,
    MemoryError,
    OSError,
    struct.error,
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
    if not all(name in wanted and DECODERS.get(name) in BOUNDED for name in names):
        return []
    return names[::-1]


def _new_decoder(encoding: bytes) -> Decoder:
    kind = DECODERS[encoding]
    return Zstd(_MOST_WINDOW_LOG) if kind is Zstd else kind()


def _pieces(encoding: bytes, data: bytes) -> Iterator[bytes]:
    """Yield what a stream decodes to in the pieces that Scrapy reads.

    Raises:
        NotDecodedError: it ends early.
    """
    if DECODERS[encoding] is Gzip:
        # How much of it comes at a time depends on its header and on Python's version.
        yield from iter(partial(GzipFile(fileobj=BytesIO(data)).read1, PIECE_BYTES), b"")
        return
    decoder = _new_decoder(encoding)
    for piece in decoder.decode(data):
        if len(piece) < PIECE_BYTES and not decoder.is_complete and isinstance(decoder, Zstd):
            # Scrapy drops it.
            break
        yield piece
        if isinstance(decoder, Deflate) and decoder.has_read_all:
            # Scrapy asks for no more.
            break
    if not decoder.is_complete:
        raise NotDecodedError


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
            decoded = self._decode_at_once(encoding, data)
            if decoded is None:
                decoded = yield from self._join(_pieces(encoding, data))
            data = decoded
        return data

    def _decode_at_once(self, encoding: bytes, data: bytes) -> bytes | None:
        """Return what a small stream decodes to; None for a large, a broken or a longer one."""
        if len(data) > _MOST_INPUT_AT_ONCE_BYTES:
            return None
        decoder = _new_decoder(encoding)
        try:
            pieces = decoder.decode(data, _MOST_AT_ONCE_BYTES)
            decoded = next(pieces, b"")
            # Where nothing comes out, Scrapy minds what lies behind the end.
            if not decoded or any(pieces) or not decoder.is_complete:
                return None
            if 0 < self._limit < len(decoded):
                return None
        except DECODER_ERRORS:
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

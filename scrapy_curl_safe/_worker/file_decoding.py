"""Undoes the Content-Encoding of a body in pieces, so that neither form is ever in memory.

What is undone, and what is kept, is as Scrapy's HttpCompressionMiddleware has it, but for a stream
that is broken or ends early, which here is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from .decoders import DECODER_ERRORS, DECODERS, Decoder, encoding_names


class DecodingError(Exception):
    """Says why a body cannot be decoded."""


class FileDecoder:
    """Decodes one body.

    Args:
        values: of its Content-Encoding headers.

    Attributes:
        remaining: the Content-Encoding of what comes out; empty unless no module here knows one of
            the encodings.
    """

    def __init__(self, values: Iterable[bytes]) -> None:
        names = encoding_names(values)
        self._decoders: list[Decoder] = []
        while names and names[-1] in DECODERS:
            self._decoders.append(DECODERS[names.pop()]())
        self.remaining = b",".join(names)
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
        except DECODER_ERRORS as error:
            raise DecodingError(str(error)) from None

    def finish(self) -> None:
        """Check that the body may end here. One that is empty may.

        Raises:
            DecodingError: it may not.
        """
        if self._has_data and not all(decoder.is_complete for decoder in self._decoders):
            raise DecodingError("it ended within its Content-Encoding")

"""A transfer whose body is decoded before it is sent."""

from __future__ import annotations

from collections.abc import Callable

from .._ipc.messages import Completed, Fetch, SharedSlice
from .decoding import Decoding, TooLargeError, encodings_of
from .download import Download, Send
from .loop import Loop
from .response_head import field_values
from .session import Session

# The encoded body may have to travel in the header of a frame, which has less room than its body.
_MOST_ENCODED_BYTES = 8 * 1024 * 1024


class DecodedDownload(Download):
    """A Download that sends the encoded body as well, since Scrapy's middlewares, its cache above
    all, see that one.

    Args:
        loop: of the worker.
        encodings: what to decode.
    """

    _decoding: Decoding | None = None

    def __init__(
        self,
        session: Session,
        fetch: Fetch,
        body: bytes,
        send: Send,
        on_end: Callable[[int], None],
        loop: Loop,
        encodings: frozenset[bytes],
    ) -> None:
        super().__init__(session, fetch, body, send, on_end)
        self._loop = loop
        self._wanted = encodings

    def cancel(self) -> None:
        if self._decoding is not None:
            self._decoding.cancel()
        super().cancel()

    def _complete(self, completed: Completed, body: memoryview, offset: int) -> None:
        encodings = self._encodings() if body else []
        if not encodings:
            super()._complete(completed, body, offset)
            return
        encoded = bytes(body)

        def on_end(result: bytes | TooLargeError | None) -> None:
            if isinstance(result, bytes) and len(encoded) <= _MOST_ENCODED_BYTES:
                self._send_both(completed, encoded, offset, result)
                return
            if isinstance(result, TooLargeError):
                completed.excess_bytes = result.size
            super(DecodedDownload, self)._complete(completed, body, offset)

        limit = self._fetch.maxsize_bytes
        self._decoding = Decoding(self._loop, encoded, encodings, limit, on_end)

    def _encodings(self) -> list[bytes]:
        assert self._head is not None
        values = field_values(self._head.headers, b"content-encoding")
        return encodings_of(values, self._wanted) if values else []

    def _send_both(self, completed: Completed, encoded: bytes, offset: int, decoded: bytes) -> None:
        shared = self._easy.share_with_response(decoded)
        if shared is None:
            completed.encoded = encoded
            self._end(completed, decoded)
        else:
            completed.shared, start = shared
            completed.encoded = SharedSlice(start + offset, len(encoded))
            self._end(completed)

"""A transfer whose response is sent as it arrives."""

from __future__ import annotations

from collections.abc import Callable

from curl_cffi import Curl, CurlError

from .._ipc.messages import Chunk, Fetch
from .download import Download, Send
from .session import Session
from .transfer_stats import read_stats

ABORT = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR: fails the transfer
PAUSE = 0x10000001  # CURL_WRITEFUNC_PAUSE: libcurl keeps the data and passes it again later
_CONTINUE = 0  # CURLPAUSE_CONT
# No body is longer.
_NO_BOUND = 2**63 - 1
CAN_PAUSE = hasattr(Curl, "pause")  # since curl_cffi 0.16


class StreamedDownload(Download):
    """A Download that sends head and body ahead of the Outcome.

    Args:
        must_pause: asked before each piece of the body is sent; True if the crawler has not taken
            the pieces before. The download then waits until `resume`.
    """

    def __init__(
        self,
        session: Session,
        fetch: Fetch,
        body: bytes,
        send: Send,
        on_end: Callable[[int], None],
        must_pause: Callable[[StreamedDownload], bool],
    ) -> None:
        super().__init__(session, fetch, body, send, on_end)
        self._must_pause = must_pause
        self._head_lines = bytearray()
        self._received = 0
        self._has_warned = False
        self._too_large: tuple[int, bool] | None = None

    def resume(self) -> None:
        """Go on after a pause, unless the download has ended."""
        if self._is_over:
            return
        try:
            self._easy.pause(_CONTINUE)
        except CurlError as error:
            # libcurl passed what it had kept, and this is where it reports that it was aborted.
            self._session.multi.remove(self._easy)
            self._on_finished(error)

    @property
    def _maxsize(self) -> int:
        return self._fetch.maxsize_bytes or _NO_BOUND

    def _set_receiver(self) -> None:
        self._easy.write_to_callbacks(self._on_header_line, self._on_body)

    def _receive(self, received: int) -> tuple[memoryview, int]:
        return memoryview(b""), 0

    def _excess(self, error: CurlError, received: int) -> tuple[int, bool] | None:
        return self._too_large

    def _on_header_line(self, line: bytes) -> int:
        if self._head is not None:  # trailers of a chunked body
            return len(line)
        self._head_lines += line
        if line not in (b"\r\n", b"\n"):
            return len(line)
        parsed = self._parse(self._head_lines)
        if self._invalid_head is not None:
            return ABORT
        if parsed is not None:  # else it was an interim response
            self._set_head(parsed)
            assert self._head is not None
            self._head.stats = read_stats(self._easy, received=0, resumed=self._resumed)
            if not self._fits(self._content_length, expected=True):
                return ABORT
            self._send(self._head, b"")
        return len(line)

    def _on_body(self, data: bytes) -> int:
        if CAN_PAUSE and self._must_pause(self):
            return PAUSE
        self._received += len(data)
        if not self._fits(self._received, expected=False):
            return ABORT
        self._send(Chunk(self._fetch.id), data)
        return len(data)

    def _fits(self, size: int, *, expected: bool) -> bool:
        """Compare a size with the maximum, and with the size of which to warn."""
        if size > self._maxsize:
            self._too_large = size, expected
            return False
        if 0 < self._fetch.warnsize_bytes < size and not self._has_warned:
            self._has_warned = True
            self._warn(size, expected=expected)
        return True

"""A transfer whose response has its body in a file.

Only a body that answers the request goes there, whole or from where an earlier download has ended;
that of an error is streamed to the crawler, as is each head. The file has no Content-Encoding.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from curl_cffi import CurlError

from .._ipc.failures import CurlCode, FailureKind
from .._ipc.messages import BodyFlag, Completed, Failed, Fetch, Outcome, TransferStats
from .body_ending import Framing
from .body_file import BodyFile
from .download import Send
from .file_decoding import DecodingError, FileDecoder
from .response_head import ParsedHead, field_values
from .session import Session
from .streamed_download import ABORT, CAN_PAUSE, PAUSE, StreamedDownload

_PARTIAL_CONTENT = 206
# What a piece of a body may decode to before the loop looks at other downloads again.
_MOST_BYTES_AT_ONCE = 4 * 1024 * 1024
_CONTENT_RANGE = re.compile(rb"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_OTHER_PART = "it does not go on from where the request asked it to"
_UNASKED_PART = "it is a 206 (Partial Content) to a request without a Range"


class _Problem(NamedTuple):
    """The reason why a body cannot be written."""

    kind: FailureKind
    detail: str


class FileDownload(StreamedDownload):
    """A StreamedDownload whose body goes to a file.

    Args:
        file: where it goes; closed at the end.
        call_soon: calls back in the next turn of the loop.
    """

    def __init__(
        self,
        session: Session,
        fetch: Fetch,
        body: bytes,
        send: Send,
        on_end: Callable[[int], None],
        must_pause: Callable[[StreamedDownload], bool],
        file: BodyFile,
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        super().__init__(session, fetch, body, send, on_end, must_pause)
        self._file = file
        self._call_soon = call_soon
        self._started_at = time.monotonic()
        self._takes_body = False
        self._decoder: FileDecoder | None = None
        # What is left of a piece that has decoded to a lot; whether the transfer has ended since,
        # and by which error.
        self._rest: Iterator[bytes] | None = None
        self._has_ended = False
        self._end_error: CurlError | None = None
        self._problem: _Problem | None = None

    def start(self) -> None:
        """Read what is in the file, a slice in each turn of the loop, and then start."""
        if self._is_over:  # cancelled
            return
        try:
            if self._file.read_on():
                self._call_soon(self.start)
                return
        except OSError as error:
            kind, detail = FailureKind.FILE, _reason(error)
            self._end(Failed(id=self._fetch.id, stats=TransferStats(), kind=kind, detail=detail))
            return
        if self._fetch.timeout_seconds:
            passed = time.monotonic() - self._started_at
            self._fetch.timeout_seconds = max(0.001, self._fetch.timeout_seconds - passed)
        super().start()

    def _set_head(self, parsed: ParsedHead) -> None:
        super()._set_head(parsed)
        if self._framing is Framing.NONE or not 200 <= parsed.status < 300:
            return
        self._takes_body = True
        encodings = field_values(parsed.headers, b"content-encoding")
        offset = self._file.order.offset
        if parsed.status == _PARTIAL_CONTENT and not self._file.order.takes_part:
            if (offset and encodings) or not _has_rest(offset, parsed):
                detail = _OTHER_PART if offset else _UNASKED_PART
                self._problem = _Problem(FailureKind.INVALID_RESPONSE, detail)
            if offset or self._problem is not None:
                return
        try:
            self._file.restart()
        except OSError as error:
            self._problem = _Problem(FailureKind.FILE, _reason(error))
        if encodings and self._file.order.decode:
            self._decoder = FileDecoder(encodings)

    def _on_body(self, data: bytes) -> int:
        if not self._takes_body:
            return super()._on_body(data)
        if self._rest is not None:
            return PAUSE
        self._received += len(data)
        if self._problem is not None or not self._fits(self._received, expected=False):
            return ABORT
        if self._decoder is None:
            is_written = self._write(iter((data,)))
        else:
            is_written = self._write(self._decoder.decode(data))
        return len(data) if is_written else ABORT

    def _write(self, pieces: Iterator[bytes]) -> bool:
        """Write what a piece of the body has decoded to, but not too much at once: the rest follows
        in the next turns of the loop, until which libcurl waits.

        Returns:
            False if it cannot be written.
        """
        most = self._file.size + _MOST_BYTES_AT_ONCE
        try:
            for piece in pieces:
                self._file.write(piece)
                if not self._fits(self._file.size, expected=False):
                    return False
                if self._file.size > most and CAN_PAUSE:
                    self._rest = pieces
                    self._call_soon(self._write_rest)
                    return True
        except OSError as error:
            self._problem = _Problem(FailureKind.FILE, _reason(error))
        except DecodingError as error:
            self._problem = _Problem(FailureKind.DATALOSS, f"its Content-Encoding: {error}")
        return self._problem is None

    def _write_rest(self) -> None:
        if self._is_over or self._rest is None:
            return
        pieces, self._rest = self._rest, None
        is_written = self._write(pieces)
        if self._rest is not None:
            return
        if not is_written:
            self._session.multi.remove(self._easy)
            super()._on_finished(CurlError("the body cannot be written", CurlCode.WRITE_ERROR))
        elif self._has_ended:
            super()._on_finished(self._end_error)
        else:
            self.resume()

    def _on_finished(self, error: CurlError | None) -> None:
        if error is not None and error.code == CurlCode.OPERATION_TIMEDOUT:
            self._rest = None
        if self._rest is None:
            super()._on_finished(error)
        else:
            self._has_ended, self._end_error = True, error

    def _fail(self, error: CurlError, stats: TransferStats) -> None:
        if self._problem is None:
            super()._fail(error, stats)
        else:
            self._end(self._failed(self._problem, stats))

    def _end(self, outcome: Outcome, body: bytes = b"") -> None:
        if isinstance(outcome, Completed) and self._takes_body:
            outcome = self._written(outcome)
        # First: the crawler may go on with it.
        self._file.close()
        super()._end(outcome, body)

    def _written(self, completed: Completed) -> Completed | Failed:
        if self._problem is None and self._decoder is not None:
            try:
                self._decoder.finish()
            except DecodingError as error:
                completed.flag = completed.flag or BodyFlag.DATALOSS
                if not self._fetch.keep_partial:
                    self._problem = _Problem(FailureKind.DATALOSS, str(error))
        if self._problem is not None:
            return self._failed(self._problem, completed.stats)
        remaining = None if self._decoder is None else self._decoder.remaining
        completed.file = self._file.written(remaining)
        return completed

    def _failed(self, problem: _Problem, stats: TransferStats) -> Failed:
        return Failed(id=self._fetch.id, stats=stats, kind=problem.kind, detail=problem.detail)


def _has_rest(offset: int, parsed: ParsedHead) -> bool:
    """Tell whether a partial response has all of a representation from there on (RFC 9110, section
    14.4). Where nobody asked for a part, it must say so itself."""
    values = field_values(parsed.headers, b"content-range")
    match = _CONTENT_RANGE.fullmatch(values[0]) if len(values) == 1 else None
    if match is None or int(match[1]) != offset:
        return False
    return offset > 0 if match[3] == b"*" else int(match[2]) + 1 == int(match[3])


def _reason(error: OSError) -> str:
    return error.strerror or str(error)

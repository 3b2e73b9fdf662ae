"""One transfer, from its Fetch to its Outcome.

`Download` sends the whole response at its end, which is what nearly every request wants.
`streamed_download` has the variant that sends it as it arrives.
"""

from __future__ import annotations

from collections.abc import Callable

from curl_cffi import CurlError, CurlInfo

from .._ipc.failures import CurlCode, FailureKind
from .._ipc.http_syntax import HttpSyntaxError
from .._ipc.messages import (
    BodyFlag,
    Cancelled,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    InvalidRequest,
    Outcome,
    ResponseHead,
    SizeWarning,
    TooLarge,
    TransferStats,
)
from .body_ending import Ending, Framing, ending_of, framing_of
from .failure import describe_failure, error_text
from .request_options import most_in_memory, set_request_options
from .request_target import UnsupportedSchemeError
from .response_head import InvalidHeadError, ParsedHead, parse_head
from .session import Session
from .transfer_stats import read_stats

_PRIMARY_IP = int(CurlInfo.PRIMARY_IP)
_SIZE_UPLOAD = int(CurlInfo.SIZE_UPLOAD_T)
_SIZE_DOWNLOAD = int(CurlInfo.SIZE_DOWNLOAD_T)

_CURLINFO_TEXT = 0  # what libcurl itself says
_TLS_LINE = b"SSL connection using "

# Until Python 3.12 a member takes as long to look up in its class as to call a function.
_NO_BODY = Framing.NONE
_COMPLETE, _DATALOSS, _FAILED = Ending.COMPLETE, Ending.DATALOSS, Ending.FAILED

_FLAGS = {Ending.PARTIAL: BodyFlag.PARTIAL, Ending.DATALOSS: BodyFlag.DATALOSS}

Send = Callable[[FromWorker, bytes], object]


class Download:
    """A transfer whose response is sent as a whole.

    Args:
        session: of the request's profile.
        fetch: what to download.
        body: of the request.
        send: takes each message for the crawler and its body; the last one is an Outcome.
        on_end: called once, with the request's id, when the download is over.
    """

    def __init__(
        self,
        session: Session,
        fetch: Fetch,
        body: bytes,
        send: Send,
        on_end: Callable[[int], None],
    ) -> None:
        self._session = session
        self._fetch = fetch
        self._request_body = body
        self._send = send
        self._on_end = on_end
        self._has_browser_head = fetch.browser_head is not None
        self._easy = session.acquire(for_browser_head=self._has_browser_head)
        self._is_over = False
        self._head: ResponseHead | None = None
        self._invalid_head: str | None = None
        self._framing = _NO_BODY
        self._content_length = 0
        self._resumed = False
        self._tls: str | None = None

    def __repr__(self) -> str:
        state = "over" if self._is_over else "head arrived" if self._head else "in flight"
        return f"<{type(self).__name__} {self._fetch.id} {state}>"

    def start(self) -> None:
        """Start the transfer; if that is not possible, send an InvalidRequest."""
        try:
            set_request_options(self._easy, self._fetch, self._request_body, self._session)
            # Otherwise each of thousands of requests in flight would keep a copy of its own.
            self._fetch.profile, self._fetch.browser_head, self._fetch.headers = b"", None, []
            if self._fetch.report_tls:
                self._easy.report_to(self._on_debug)
            self._set_receiver()
            self._session.multi.add(self._easy, self._on_finished)
        except UnsupportedSchemeError as error:
            failed = Failed(
                id=self._fetch.id,
                stats=TransferStats(),
                kind=FailureKind.UNSUPPORTED_SCHEME,
                detail=str(error),
            )
            self._end(failed)
        except HttpSyntaxError as error:
            self._end(InvalidRequest(id=self._fetch.id, detail=str(error)))
        except Exception as error:
            # Whatever it is (a URL that cannot be encoded, say), the crawler waits for an outcome.
            self._end(InvalidRequest(id=self._fetch.id, detail=f"{type(error).__name__}: {error}"))

    def cancel(self) -> None:
        self._session.multi.remove(self._easy)
        self._end(Cancelled(self._fetch.id))

    # What a streamed download does differently

    def _set_receiver(self) -> None:
        self._easy.write_to_memory()

    def _receive(self, received: int) -> tuple[memoryview, int]:
        """Parse what libcurl wrote, once all is there; return the body, and where it begins.

        Args:
            received: bytes of the body.
        """
        response = self._easy.response()
        parsed = self._parse(response)
        if parsed is None:
            return response[:0], 0
        self._set_head(parsed)
        # Trailers may follow the body.
        body = response[parsed.end : parsed.end + received]
        warnsize = self._fetch.warnsize_bytes
        if warnsize and max(self._content_length, len(body)) > warnsize:
            expected = self._content_length > warnsize
            self._warn(self._content_length if expected else len(body), expected=expected)
        return body, parsed.end

    def _excess(self, error: CurlError, received: int) -> tuple[int, bool] | None:
        """Return a size above the maximum, and whether it was only announced; None if none is."""
        if error.code != CurlCode.FILESIZE_EXCEEDED:
            return None
        maxsize = self._maxsize
        if self._head is None:
            # libcurl did not even pass on the header with the length.
            return maxsize + 1, True
        if self._content_length > maxsize:
            return self._content_length, True
        return max(received, maxsize + 1), False

    # The response

    def _parse(self, head: bytes | bytearray | memoryview) -> ParsedHead | None:
        try:
            return parse_head(head)
        except InvalidHeadError as error:
            self._invalid_head = str(error)
            return None

    def _set_head(self, parsed: ParsedHead) -> None:
        certificate = None
        if self._fetch.url.startswith("https:"):
            certificate, self._resumed = self._session.certificates.find(self._easy)
        self._head = ResponseHead(
            id=self._fetch.id,
            status=parsed.status,
            protocol=parsed.protocol,
            headers=parsed.headers,
            ip=self._easy.get_text(_PRIMARY_IP).decode(),
            certificate=certificate,
            tls=self._tls,
        )
        self._framing = framing_of(parsed, self._fetch.method)
        if self._framing is not _NO_BODY:
            self._content_length = parsed.content_length or 0

    @property
    def _maxsize(self) -> int:
        return most_in_memory(self._fetch)

    def _warn(self, size: int, *, expected: bool) -> None:
        fetch = self._fetch
        limit = fetch.warnsize_bytes
        self._send(SizeWarning(id=fetch.id, size=size, limit=limit, expected=expected), b"")

    def _on_debug(self, kind: int, text: bytes) -> None:
        if kind == _CURLINFO_TEXT and text.startswith(_TLS_LINE):
            self._tls = text[len(_TLS_LINE) :].decode("latin-1").strip()

    # The end

    def _on_finished(self, error: CurlError | None) -> None:
        fetch = self._fetch
        received = self._easy.get_number(_SIZE_DOWNLOAD)
        body, offset = self._receive(received)
        stats = read_stats(self._easy, received=received, resumed=self._resumed)
        if error is not None and (excess := self._excess(error, received)) is not None:
            size, expected = excess
            too_large = TooLarge(
                id=fetch.id, stats=stats, size=size, limit=self._maxsize, expected=expected
            )
            self._end(too_large)
        elif self._head is not None:
            self._end_of_body(error, stats, received, body, offset)
        elif error is None or self._invalid_head is not None:
            detail = self._invalid_head or "it ended within its headers"
            kind = FailureKind.INVALID_RESPONSE
            self._end(Failed(id=fetch.id, stats=stats, kind=kind, detail=detail))
        elif error.code == CurlCode.URL_MALFORMAT:
            self._end(InvalidRequest(id=fetch.id, detail=error_text(error)))
        else:
            self._fail(error, stats)

    def _end_of_body(
        self,
        error: CurlError | None,
        stats: TransferStats,
        received: int,
        body: memoryview,
        offset: int,
    ) -> None:
        fetch = self._fetch
        code = 0 if error is None else int(error.code)
        ending = ending_of(code, self._framing, received, self._content_length)
        if ending is _FAILED:
            assert error is not None
            self._fail(error, stats)
        elif ending is _DATALOSS and not fetch.keep_partial:
            detail = f"{received} of {self._content_length} bytes came"
            if error is not None:
                detail = error_text(error)
            kind = FailureKind.DATALOSS
            self._end(Failed(id=fetch.id, stats=stats, kind=kind, code=code, detail=detail))
        else:
            head = None if fetch.stream else self._head
            flag = None if ending is _COMPLETE else _FLAGS[ending]
            completed = Completed(id=fetch.id, stats=stats, head=head, flag=flag)
            self._complete(completed, body, offset)

    def _complete(self, completed: Completed, body: memoryview, offset: int) -> None:
        completed.shared = self._easy.share_response(offset, len(body))
        self._end(completed, b"" if completed.shared is not None else bytes(body))

    def _fail(self, error: CurlError, stats: TransferStats) -> None:
        if stats.handshake_at is not None:
            # Other transfers may resume its TLS session, and need its certificate.
            self._session.certificates.find(self._easy)
        profile = self._session.profile
        failed = describe_failure(self._fetch, error, self._easy, profile, stats)
        size, sent = len(self._request_body), self._easy.get_number(_SIZE_UPLOAD)
        if failed.code in (CurlCode.SEND_ERROR, CurlCode.RECV_ERROR) and 0 < sent < size:
            failed.detail += (
                f"; the origin closed the connection when {sent:,} of the request's {size:,} bytes "
                "had been sent, and may refuse a body of that size"
            )
        self._end(failed)

    def _end(self, outcome: Outcome, body: bytes = b"") -> None:
        self._is_over = True
        self._release()
        self._on_end(self._fetch.id)
        self._send(outcome, body)

    def _release(self) -> None:
        self._session.release(self._easy, for_browser_head=self._has_browser_head)

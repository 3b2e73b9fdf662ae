"""One download: a Fetch in, what libcurl made of it out."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from curl_cffi import Curl, CurlError, CurlInfo, CurlOpt

from .._ipc.failures import CurlCode, FailureKind, classify
from .._ipc.framing import MAX_BODY_BYTES
from .._ipc.messages import (
    Cancelled,
    Chunk,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    HeaderPairs,
    InvalidRequest,
    Outcome,
    ResponseHead,
    SizeWarning,
    TooLarge,
    TransferStats,
)
from .._platform.limits import can_open_descriptor, can_start_thread
from .easy import EasyHandle
from .header_lists import BadHeaderError
from .response_head import ParsedHead, parse_head
from .session import Session

_WRITE_ERROR = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR: ends the transfer

_PAUSE = 0x10000001  # CURL_WRITEFUNC_PAUSE
_PAUSE_NOTHING = 0  # CURLPAUSE_CONT
_CAN_PAUSE = hasattr(Curl, "pause")  # since curl_cffi 0.16

_DEBUG_TEXT = 0  # CURLINFO_TEXT: what libcurl says itself
_TLS_LINE = b"SSL connection using "

_CLOSED = "Connection closed abruptly"

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_URL = int(CurlOpt.URL)
_REQUEST_TARGET = int(CurlOpt.REQUEST_TARGET)
_TIMEOUT_MS = int(CurlOpt.TIMEOUT_MS)
_CONNECTTIMEOUT_MS = int(CurlOpt.CONNECTTIMEOUT_MS)
_FRESH_CONNECT = int(CurlOpt.FRESH_CONNECT)
_FORBID_REUSE = int(CurlOpt.FORBID_REUSE)
_VERBOSE = int(CurlOpt.VERBOSE)
_MAXFILESIZE = int(CurlOpt.MAXFILESIZE_LARGE)

_PRIMARY_IP = int(CurlInfo.PRIMARY_IP)
_NUM_CONNECTS = int(CurlInfo.NUM_CONNECTS)
_CONNECT_TIME = int(CurlInfo.CONNECT_TIME_T)
_APPCONNECT_TIME = int(CurlInfo.APPCONNECT_TIME_T)
_STARTTRANSFER_TIME = int(CurlInfo.STARTTRANSFER_TIME_T)
_TOTAL_TIME = int(CurlInfo.TOTAL_TIME_T)
_REQUEST_SIZE = int(CurlInfo.REQUEST_SIZE)
_SIZE_UPLOAD = int(CurlInfo.SIZE_UPLOAD_T)
_HEADER_SIZE = int(CurlInfo.HEADER_SIZE)
_SIZE_DOWNLOAD = int(CurlInfo.SIZE_DOWNLOAD_T)

Send = Callable[[FromWorker, bytes], None]


class Download:
    """A transfer from start to its last message.

    Args:
        session: of the request's profile.
        fetch: what to download.
        body: the request's body.
        send: takes each message for the crawler and its body; the last one is an Outcome.
        on_end: called once when the download is over, cancelled or not.
        must_pause: whether a piece of a streamed body has to wait until `resume` is called,
            since the crawler has not taken the ones before.
    """

    def __init__(
        self,
        session: Session,
        fetch: Fetch,
        body: bytes,
        send: Send,
        on_end: Callable[[int], None],
        must_pause: Callable[[Download], bool],
    ) -> None:
        self._session = session
        self._fetch = fetch
        self._send = send
        self._on_end = on_end
        self._must_pause = must_pause
        self._handle = session.take()
        self._over = False
        # Of the response.
        self._head: ResponseHead | None = None
        self._content_length = 0
        self._body_at = 0
        self._resumed = False
        self._tls: str | None = None
        self._too_large: tuple[int, bool] | None = None
        self._warned = False
        # Of one that is streamed.
        self._head_lines = bytearray()
        self._size = 0
        self._body = body

    def start(self) -> None:
        try:
            self._set_options(self._handle)
            self._session.transfers.start(self._handle, self._finished)
        except BadHeaderError as error:
            self._end(InvalidRequest(id=self._fetch.id, detail=str(error)))
        except Exception as error:
            # Whatever it is (a URL that has no bytes, say), somebody waits for an answer.
            self._end(InvalidRequest(id=self._fetch.id, detail=f"{type(error).__name__}: {error}"))

    def cancel(self) -> None:
        self._session.transfers.stop(self._handle)
        self._end(Cancelled(self._fetch.id))

    def resume(self) -> None:
        """Go on with a paused download; one that has ended meanwhile stays as it is."""
        if self._over:
            return
        try:
            self._handle.pause(_PAUSE_NOTHING)
        except CurlError as error:
            # What had waited did not suit the write callback, and libcurl says so here only.
            self._session.transfers.stop(self._handle)
            self._finished(error)

    # The request

    def _set_options(self, handle: EasyHandle) -> None:
        fetch = self._fetch
        self._set_url(handle)
        handle.set_method(fetch.method, self._body)
        handle.set_headers(self._session.header_lists.of(self._headers()))
        handle.set_number(_TIMEOUT_MS, _milliseconds(fetch.timeout_seconds))
        handle.set_number(_CONNECTTIMEOUT_MS, _milliseconds(fetch.timeout_seconds))
        handle.set_number(_FRESH_CONNECT, int(fetch.fresh_connection))
        handle.set_number(_FORBID_REUSE, int(fetch.fresh_connection or self._session.profile.once))
        handle.set_number(_VERBOSE, int(fetch.report_tls))
        if fetch.report_tls:
            handle.setopt(CurlOpt.DEBUGFUNCTION, self._on_debug)
        if fetch.stream:
            handle.write_to(self._on_header_line, self._on_body)
        else:
            handle.write_to_stream()
        # Of a streamed one, `_fits` keeps watch. To a HEAD a length is announced, not sent.
        watched = not fetch.stream and fetch.method != "HEAD"
        handle.set_number(_MAXFILESIZE, (fetch.maxsize_bytes or MAX_BODY_BYTES) if watched else 0)

    def _set_url(self, handle: EasyHandle) -> None:
        url, target = self._fetch.url, None
        handle.url = url
        if self._asks_proxy_for_ipv6_literal():
            # libcurl 8.21 loses the brackets and fails with code 27: the proxy is given the
            # URL as it is, and libcurl a host that it never looks up.
            parts = urlsplit(url)
            target = parts._replace(fragment="").geturl().encode()
            url = parts._replace(netloc="ipv6-literal.invalid").geturl()
        handle.set_text(_URL, url.encode())
        handle.set_text(_REQUEST_TARGET, target)

    def _asks_proxy_for_ipv6_literal(self) -> bool:
        proxy = self._session.profile.proxy or ""
        return proxy.startswith("http") and self._fetch.url.startswith("http://[")

    def _headers(self) -> HeaderPairs:
        headers = self._fetch.headers
        if self._asks_proxy_for_ipv6_literal() and all(n.lower() != b"host" for n, _ in headers):
            return [*headers, (b"Host", urlsplit(self._fetch.url).netloc.encode())]
        return headers

    # The response

    def _on_head(self, parsed: ParsedHead) -> None:
        certificate = None
        if self._fetch.url.startswith("https:"):
            certificate, self._resumed = self._session.certificates.of(self._handle)
        self._head = ResponseHead(
            id=self._fetch.id,
            status=parsed.status,
            protocol=parsed.protocol,
            headers=parsed.headers,
            ip=self._handle.text(_PRIMARY_IP).decode(),
            certificate=certificate,
            tls=self._tls,
        )
        if self._fetch.method != "HEAD":
            self._content_length = parsed.content_length

    def _warn(self, size: int, *, expected: bool) -> None:
        warnsize = self._fetch.warnsize_bytes
        if warnsize and size > warnsize and not self._warned:
            self._warned = True
            self._send(SizeWarning(id=self._fetch.id, size=size, expected=expected), b"")

    def _on_debug(self, kind: int, text: bytes) -> None:
        if kind == _DEBUG_TEXT and text.startswith(_TLS_LINE):
            self._tls = text[len(_TLS_LINE) :].decode("latin-1").strip()

    # The response as it comes, where somebody listens

    def _on_header_line(self, line: bytes) -> int:
        if self._head is not None:  # trailers of a chunked body
            return len(line)
        self._head_lines += line
        if line in (b"\r\n", b"\n"):
            parsed = parse_head(self._head_lines)
            if parsed is not None:  # else an interim response
                self._on_head(parsed)
                assert self._head is not None
                self._head.stats = self._stats()
                if not self._fits(self._content_length, expected=True):
                    return _WRITE_ERROR
                self._send(self._head, b"")
        return len(line)

    def _on_body(self, data: bytes) -> int:
        if _CAN_PAUSE and self._must_pause(self):
            return _PAUSE  # libcurl keeps this piece, and gives it again
        self._size += len(data)
        if not self._fits(self._size, expected=False):
            return _WRITE_ERROR
        self._send(Chunk(self._fetch.id), data)
        return len(data)

    def _fits(self, size: int, *, expected: bool) -> bool:
        if size > (self._fetch.maxsize_bytes or MAX_BODY_BYTES):
            self._too_large = (size, expected)
            return False
        self._warn(size, expected=expected)
        return True

    # The end

    def _finished(self, error: CurlError | None) -> None:
        fetch = self._fetch
        body = memoryview(b"") if fetch.stream else self._whole_body()
        stats = self._stats()
        if error is not None and error.code == CurlCode.FILESIZE_EXCEEDED:
            self._too_large = self._what_exceeds()
        if self._too_large is not None:
            size, expected = self._too_large
            self._end(TooLarge(id=fetch.id, stats=stats, size=size, expected=expected))
        elif error is None:
            self._complete(stats, body, dataloss=False)
        elif error.code == CurlCode.PARTIAL_FILE and self._head is not None and fetch.keep_partial:
            self._complete(stats, body, dataloss=True)
        elif error.code == CurlCode.URL_MALFORMAT:
            self._end(InvalidRequest(id=fetch.id, detail=_detail(error)))
        else:
            self._fail(stats, int(error.code), _detail(error))

    def _fail(self, stats: TransferStats, code: int, detail: str) -> None:
        """Find the kind of a failure, which is known here and nowhere else."""
        if stats.handshake_at is not None:
            # Others may resume its session.
            self._session.certificates.of(self._handle)
        if code == CurlCode.WRITE_ERROR:
            kind, detail = FailureKind.LOCAL, "no memory for the response"
        elif code == CurlCode.OPERATION_TIMEDOUT and not stats.connects and not can_start_thread():
            # libcurl 8.21 waits for its name lookup, and does not notice that it never began.
            kind, detail = FailureKind.LOCAL, "a thread failed to start"
        elif _CLOSED in detail and not stats.connects and not stats.bytes_received:
            # libcurl 8.23 tried five idle connections, and reports the first one alone.
            kind = FailureKind.CONNECTION_DIED
        else:
            system_error = self._system_error(code)
            in_handshake = self._in_handshake(stats)
            kind = classify(code, detail, in_handshake=in_handshake, system_error=system_error)
            if system_error:
                detail += f": {os.strerror(system_error)}"
        self._end(Failed(id=self._fetch.id, stats=stats, kind=kind, code=code, detail=detail))

    def _whole_body(self) -> memoryview:
        """The body that came, once all that will come is there."""
        response = self._handle.written()
        parsed = parse_head(response)
        if parsed is None:
            return response[:0]
        self._on_head(parsed)
        self._body_at = parsed.end
        # Behind it there may be trailers.
        body = response[parsed.end : parsed.end + self._handle.number(_SIZE_DOWNLOAD)]
        self._warn(self._content_length, expected=True)
        self._warn(len(body), expected=False)
        return body

    def _what_exceeds(self) -> tuple[int, bool]:
        limit = self._fetch.maxsize_bytes or MAX_BODY_BYTES
        if self._content_length > limit:
            return self._content_length, True
        return max(self._handle.number(_SIZE_DOWNLOAD), limit + 1), False

    def _complete(self, stats: TransferStats, body: memoryview, *, dataloss: bool) -> None:
        if self._head is None:
            detail = "no response headers"
            failed = Failed(id=self._fetch.id, stats=stats, kind=FailureKind.OTHER, detail=detail)
            self._end(failed)
            return
        shared = self._handle.lend(self._body_at, len(body))
        rest = b"" if shared is not None else bytes(body)
        completed = Completed(
            id=self._fetch.id,
            stats=stats,
            head=None if self._fetch.stream else self._head,
            dataloss=dataloss,
            shared=shared,
        )
        self._end(completed, rest)

    def _end(self, message: Outcome, body: bytes = b"") -> None:
        self._over = True
        self._session.give_back(self._handle)
        self._on_end(self._fetch.id)
        self._send(message, body)

    def _stats(self) -> TransferStats:
        stats = _read_stats(self._handle)
        stats.resumed = self._resumed
        return stats

    def _system_error(self, code: int) -> int:
        """Return the errno of a connection that could not be made; 0 if the system gave none."""
        number = self._handle.number(CurlInfo.OS_ERRNO)
        if code == CurlCode.COULDNT_CONNECT and not number and not can_open_descriptor():
            return errno.EMFILE  # libcurl 8.15 reports nothing at all
        return number

    def _in_handshake(self, stats: TransferStats) -> bool:
        """Tell whether the origin was reached and no TLS handshake with it completed."""
        if not self._fetch.url.startswith("https:") or stats.handshake_at is not None:
            return False
        # libcurl does not tell whether a SOCKS proxy has reached the origin.
        if (self._session.profile.proxy or "").startswith("http"):
            return self._handle.number(CurlInfo.HTTP_CONNECTCODE) == 200
        return stats.connects > 0  # which libcurl counts once TCP is up


def _milliseconds(seconds: float) -> int:
    """At least 1: to libcurl 0 means no bound."""
    return max(1, round(seconds * 1000)) if seconds else 0


def _detail(error: CurlError) -> str:
    """libcurl's own text, without what curl_cffi puts around it."""
    text = str(error).partition(f"curl: ({int(error.code)}) ")[2] or str(error)
    return text.removesuffix(
        ". See https://curl.se/libcurl/c/libcurl-errors.html first for more details."
    )


def _read_stats(handle: EasyHandle) -> TransferStats:
    number = handle.number

    def moment(info: int) -> float | None:
        """libcurl says 0 for what never happened."""
        return number(info) / 1e6 or None

    connects = number(_NUM_CONNECTS)
    return TransferStats(
        connects=connects,
        connected_at=moment(_CONNECT_TIME) if connects else None,
        handshake_at=moment(_APPCONNECT_TIME) if connects else None,
        first_byte_at=moment(_STARTTRANSFER_TIME),
        ended_at=number(_TOTAL_TIME) / 1e6,
        bytes_sent=number(_REQUEST_SIZE) + number(_SIZE_UPLOAD),
        bytes_received=number(_HEADER_SIZE) + number(_SIZE_DOWNLOAD),
    )

"""One download: a Fetch in, what libcurl made of it out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from urllib.parse import urlsplit

from curl_cffi import Curl, CurlError, CurlInfo, CurlOpt, ffi

from ..wire import (
    MAX_BODY,
    Cancelled,
    Chunk,
    Done,
    Failed,
    Fetch,
    FromWorker,
    Head,
    Outcome,
    Place,
    Refused,
    TooLarge,
    Transfer,
    Warned,
)
from .session import Session
from .system import can_start_thread

_WRITE_ERROR = 0xFFFFFFFF  # CURL_WRITEFUNC_ERROR: ends the transfer

_PAUSE = 0x10000001  # CURL_WRITEFUNC_PAUSE
_PAUSE_NOTHING = 0  # CURLPAUSE_CONT
_CAN_PAUSE = hasattr(Curl, "pause")  # since curl_cffi 0.16

_DEBUG_TEXT = 0  # CURLINFO_TEXT: what libcurl says itself
_TLS_LINE = b"SSL connection using "

_BEYOND_MEASURE = 2**63 - 1

_PARTIAL_FILE = 18  # CURLE_PARTIAL_FILE: the body ended before its announced end
_URL_MALFORMAT = 3
_RESOLVE_ERROR = 6
_TIMED_OUT = 28

# libcurl would add these of its own accord; a request has them only if somebody set them.
_NEVER_ADDED = (b"Expect", b"Content-Type")
# ... and this one, where no browser brings its own.
_ADDED_WITHOUT_BROWSER = (b"Accept",)

Send = Callable[[FromWorker, bytes], None]


class Download:
    """A transfer from start to its last message.

    Args:
        session: of the request's profile.
        fetch: what to download.
        body: the request's body.
        send: takes each message for the crawler and its body; the last one is an Outcome.
        put: takes a body's pieces and its size, if it has room for them, and says where they are.
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
        put: Callable[[list[bytes], int], Place | None],
        on_end: Callable[[int], None],
        must_pause: Callable[[Download], bool],
    ) -> None:
        self._session = session
        self._fetch = fetch
        self._send = send
        self._put = put
        self._on_end = on_end
        self._must_pause = must_pause
        self._curl = session.take()
        self._started = False
        self._over = False
        self._resume_error: CurlError | None = None
        # Of the response.
        self._status_line = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head: Head | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._resumed = False
        self._tls: str | None = None
        self._too_large: tuple[int, bool] | None = None
        self._warned = False
        self._body = body

    def start(self) -> None:
        bad = _bad_header(self._fetch.headers)
        if bad is not None:
            self._end(Refused(self._fetch.id, bad))
            return
        try:
            self._set_options(self._curl)
            future = self._session.start(self._curl)
        except Exception as error:
            # Whatever it is (a URL that has no bytes, say), somebody waits for an answer.
            self._end(Refused(self._fetch.id, f"{type(error).__name__}: {error}"))
            return
        self._started = True
        future.add_done_callback(self._finished)

    def cancel(self) -> None:
        self._session.cancel(self._curl)

    def resume(self) -> None:
        """Go on with a paused download; one that has ended meanwhile stays as it is."""
        if self._over:
            return
        try:
            self._curl.pause(_PAUSE_NOTHING)
        except CurlError as error:
            # What had waited did not suit the write callback, and libcurl says so here only.
            self._resume_error = error
            self._session.cancel(self._curl)

    # The request

    def _set_options(self, curl: Curl) -> None:
        fetch, body = self._fetch, self._body
        self._set_url(curl)
        # Before the method: it undoes what a HEAD or POST on the same handle left behind.
        curl.setopt(CurlOpt.HTTPGET, 1)
        method = fetch.method
        if method == "HEAD":
            curl.setopt(CurlOpt.NOBODY, 1)
        elif body or method in ("POST", "PUT", "PATCH"):
            curl.setopt(CurlOpt.POSTFIELDSIZE_LARGE, len(body))
            curl.setopt(CurlOpt.POSTFIELDS, body)
        custom = ffi.NULL if method in ("GET", "HEAD") and not body else method.encode()
        curl.setopt(CurlOpt.CUSTOMREQUEST, custom)
        curl.setopt(CurlOpt.HTTPHEADER, self._header_lines())
        if self._session.profile.proxy_headers:
            curl.setopt(CurlOpt.PROXYHEADER, self._session.profile.proxy_headers)
        curl.setopt(CurlOpt.TIMEOUT_MS, _milliseconds(fetch.timeout))
        curl.setopt(CurlOpt.CONNECTTIMEOUT_MS, _milliseconds(fetch.timeout))
        curl.setopt(CurlOpt.HEADERFUNCTION, self._on_header_line)
        curl.setopt(CurlOpt.WRITEFUNCTION, self._on_body)
        curl.setopt(CurlOpt.FRESH_CONNECT, int(fetch.fresh))
        curl.setopt(CurlOpt.VERBOSE, int(fetch.tell_tls))
        if fetch.tell_tls:
            curl.setopt(CurlOpt.DEBUGFUNCTION, self._on_debug)

    def _set_url(self, curl: Curl) -> None:
        url, target = self._fetch.url, ffi.NULL
        if self._asks_proxy_for_ipv6_literal():
            # libcurl 8.21 loses the brackets and fails with code 27: the proxy is given the
            # URL as it is, and libcurl a host that it never looks up.
            parts = urlsplit(url)
            target = parts._replace(fragment="").geturl().encode()
            url = parts._replace(netloc="ipv6-literal.invalid").geturl()
        curl.setopt(CurlOpt.URL, url.encode())
        curl.setopt(CurlOpt.REQUEST_TARGET, target)

    def _asks_proxy_for_ipv6_literal(self) -> bool:
        proxy = self._session.profile.proxy or ""
        return proxy.startswith("http") and self._fetch.url.startswith("http://[")

    def _header_lines(self) -> list[bytes]:
        """The lines for CURLOPT_HTTPHEADER: "Name:" removes, "Name;" sends an empty value."""
        given = {name.lower() for name, _ in self._fetch.headers}
        lines = [
            name + b":" if value is None else name + b": " + value if value else name + b";"
            for name, value in self._fetch.headers
        ]
        lines += [
            name + b": " + value
            for name, value in self._session.browser_headers
            if name.lower() not in given
        ]
        profile = self._session.profile
        unwanted: tuple[bytes, ...] = _NEVER_ADDED
        if profile.impersonate is None or not profile.default_headers:
            unwanted += _ADDED_WITHOUT_BROWSER
        lines += [name + b":" for name in unwanted if name.lower() not in given]
        if self._asks_proxy_for_ipv6_literal() and b"host" not in given:
            lines.append(b"Host: " + urlsplit(self._fetch.url).netloc.encode())
        return lines

    # The response

    def _on_header_line(self, line: bytes) -> int:
        if self._head is not None:  # trailers of a chunked body
            return len(line)
        if line.startswith(b"HTTP/"):
            self._status_line = line
            self._headers = []
        elif line in (b"\r\n", b"\n"):
            return self._on_headers_end(len(line))
        else:
            name, colon, value = line.partition(b":")
            if colon:
                self._headers.append((name, value.strip()))
        return len(line)

    def _on_headers_end(self, length: int) -> int:
        protocol, _, rest = self._status_line.partition(b" ")
        status = int(rest[:3])
        if 100 <= status < 200 and status != 101:  # interim: the real one follows
            return length
        ip = self._curl.getinfo(CurlInfo.PRIMARY_IP)
        assert isinstance(ip, bytes)
        certificate = None
        if self._fetch.url.startswith("https:"):
            certificate, self._resumed = self._session.certificates.of(self._curl, self._fetch.url)
        self._head = Head(
            self._fetch.id,
            status,
            protocol.decode("latin-1"),
            self._headers,
            ip.decode(),
            certificate,
            self._tls,
        )
        if self._fetch.method != "HEAD" and not self._fits(self._content_length(), expected=True):
            return _WRITE_ERROR
        if self._fetch.stream:
            self._head.transfer = self._transfer()
            self._send(self._head, b"")
        return length

    def _content_length(self) -> int:
        for name, value in self._headers:
            if name.lower() == b"content-length" and value.isdigit():
                # More digits than a message holds, or Python reads, are more than any limit.
                return int(value) if len(value) < 19 else _BEYOND_MEASURE
        return 0

    def _on_body(self, data: bytes) -> int:
        if self._fetch.stream and _CAN_PAUSE and self._must_pause(self):
            return _PAUSE  # libcurl keeps this piece, and gives it again
        self._size += len(data)
        if not self._fits(self._size, expected=False):
            self._pieces.clear()
            return _WRITE_ERROR
        if self._fetch.stream:
            self._send(Chunk(self._fetch.id), data)
        else:
            self._pieces.append(data)
        return len(data)

    def _fits(self, size: int, *, expected: bool) -> bool:
        fetch = self._fetch
        if size > (fetch.maxsize or MAX_BODY):
            self._too_large = (size, expected)
            return False
        if fetch.warnsize and size > fetch.warnsize and not self._warned:
            self._warned = True
            self._send(Warned(fetch.id, size, expected), b"")
        return True

    def _on_debug(self, kind: int, text: bytes) -> None:
        if kind == _DEBUG_TEXT and text.startswith(_TLS_LINE):
            self._tls = text[len(_TLS_LINE) :].decode("latin-1").strip()

    # The end

    def _transfer(self) -> Transfer:
        transfer = _transfer(self._curl)
        transfer.resumed = self._resumed
        return transfer

    def _finished(self, future: asyncio.Future[None]) -> None:
        error = self._resume_error if future.cancelled() else future.exception()
        if future.cancelled() and error is None:
            self._end(Cancelled(self._fetch.id))
            return
        fetch, transfer = self._fetch, self._transfer()
        if self._too_large is not None:
            size, expected = self._too_large
            self._end(TooLarge(fetch.id, transfer, size, expected))
        elif error is None:
            self._complete(transfer, dataloss=False)
        elif isinstance(error, MemoryError):
            raise error
        elif not isinstance(error, CurlError):
            self._end(Failed(fetch.id, transfer, 0, f"{type(error).__name__}: {error}"))
        elif error.code == _PARTIAL_FILE and self._head is not None and fetch.keep_partial:
            self._complete(transfer, dataloss=True)
        elif error.code == _URL_MALFORMAT:
            self._end(Refused(fetch.id, _detail(error)))
        elif error.code == _TIMED_OUT and not transfer.connects and not can_start_thread():
            # libcurl 8.21 waits for its name lookup, and does not notice that it never began.
            self._end(Failed(fetch.id, transfer, _RESOLVE_ERROR, "a thread failed to start"))
        else:
            in_handshake = self._in_handshake(transfer)
            detail = _detail(error) + self._system_error()
            self._end(Failed(fetch.id, transfer, int(error.code), detail, in_handshake))

    def _system_error(self) -> str:
        """Why no connection could be made, where the system said so; libcurl's text does not."""
        number = self._curl.getinfo(CurlInfo.OS_ERRNO)
        return f": {os.strerror(number)}" if isinstance(number, int) and number else ""

    def _in_handshake(self, transfer: Transfer) -> bool:
        if not self._fetch.url.startswith("https:") or transfer.handshake_at is not None:
            return False
        # Of a SOCKS proxy libcurl does not tell whether it has reached the origin.
        if (self._session.profile.proxy or "").startswith("http"):
            return self._curl.getinfo(CurlInfo.HTTP_CONNECTCODE) == 200
        return transfer.connects > 0  # which it counts once TCP is up

    def _complete(self, transfer: Transfer, *, dataloss: bool) -> None:
        if self._head is None:
            self._end(Failed(self._fetch.id, transfer, 0, "no response headers"))
            return
        head = None if self._fetch.stream else self._head
        pieces = self._pieces
        place = None if self._fetch.stream else self._put(pieces, self._size)
        body = b"" if place is not None else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._end(Done(self._fetch.id, transfer, head, dataloss, place), body)

    def _end(self, message: Outcome, body: bytes = b"") -> None:
        self._over = True
        self._session.give_back(self._curl, started=self._started)
        self._on_end(self._fetch.id)
        self._send(message, body)


def _bad_header(headers: list[tuple[bytes, bytes | None]]) -> str | None:
    """Why these headers cannot be sent: RFC 9110, section 5.5, forbids CR, LF and NUL."""
    for name, value in headers:
        if not name or any(c in name + (value or b"") for c in b"\r\n\0") or b":" in name:
            return f"header {name!r} has an invalid name or value: {value!r}"
    return None


def _milliseconds(seconds: float) -> int:
    """At least 1: to libcurl 0 means no bound."""
    return max(1, round(seconds * 1000)) if seconds else 0


def _detail(error: CurlError) -> str:
    """libcurl's own text, without what curl_cffi puts around it."""
    text = str(error).partition(f"curl: ({int(error.code)}) ")[2] or str(error)
    return text.removesuffix(
        ". See https://curl.se/libcurl/c/libcurl-errors.html first for more details."
    )


def _transfer(curl: Curl) -> Transfer:
    def number(info: CurlInfo) -> int:
        value = curl.getinfo(info)
        return value if isinstance(value, int) else 0

    def moment(info: CurlInfo) -> float | None:
        """libcurl says 0 for what never happened."""
        return number(info) / 1e6 or None

    connects = number(CurlInfo.NUM_CONNECTS)
    return Transfer(
        connects=connects,
        connected_at=moment(CurlInfo.CONNECT_TIME_T) if connects else None,
        handshake_at=moment(CurlInfo.APPCONNECT_TIME_T) if connects else None,
        first_byte_at=moment(CurlInfo.STARTTRANSFER_TIME_T),
        ended_at=number(CurlInfo.TOTAL_TIME_T) / 1e6,
        bytes_sent=number(CurlInfo.REQUEST_SIZE) + number(CurlInfo.SIZE_UPLOAD_T),
        bytes_received=number(CurlInfo.HEADER_SIZE) + number(CurlInfo.SIZE_DOWNLOAD_T),
    )

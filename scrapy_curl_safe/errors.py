"""What can go wrong with a download, as tables: from curl's code and text to a kind of
failure, from a kind to what is done about it, and from curl's other codes to Scrapy's
exceptions.

The texts were seen with curl_cffi 0.16.3 (libcurl 8.21, BoringSSL); for each row of the
first table a test has an origin that produces it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)

# https://curl.se/libcurl/c/libcurl-errors.html
_COULDNT_RESOLVE_HOST = 6
_COULDNT_CONNECT = 7
_OUT_OF_MEMORY = 27
_OPERATION_TIMEDOUT = 28
_SSL_CONNECT_ERROR = 35
_GOT_NOTHING = 52
_SEND_ERROR = 55
_RECV_ERROR = 56
_PEER_FAILED_VERIFICATION = 60
_TOO_LARGE = 100


class HandshakeError(DownloadFailedError):
    """No TLS connection to the origin came up, so no byte of the request was sent.

    Attributes:
        kind: "syscall", "timeout", "alert", "protocol", "certificate" or "local".
        curl_code: libcurl's error code.
        detail: libcurl's text.
        origin: scheme, host and port of the URL.
    """

    def __init__(self, kind: str, curl_code: int, detail: str, origin: str) -> None:
        what = "Connection to" if kind == "local" else "TLS handshake with"
        super().__init__(f"{what} {origin} failed ({kind}): curl: ({curl_code}) {detail}")
        self.kind = kind
        self.curl_code = curl_code
        self.detail = detail
        self.origin = origin

    def __reduce__(self) -> tuple[type[HandshakeError], tuple[str, int, str, str]]:
        return type(self), (self.kind, self.curl_code, self.detail, self.origin)


class OriginRestsError(HandshakeError):
    """No handshake was tried: too many with this origin have failed, one after the other.

    Attributes:
        seconds: until one may be tried again.
    """

    def __init__(self, kind: str, curl_code: int, detail: str, origin: str, seconds: float) -> None:
        super().__init__(kind, curl_code, detail, origin)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[OriginRestsError], tuple[str, int, str, str, float]]:  # type: ignore[override]
        return type(self), (self.kind, self.curl_code, self.detail, self.origin, self.seconds)


class ConnectionDiedError(DownloadFailedError):
    """The origin closed warm connections as the request went out, again and again."""


class WorkerCrashedError(DownloadFailedError):
    """The worker process that had the request ended before the response was complete.

    Attributes:
        worker: its slot number; None where no worker could be had at all.
        exit_status: as `subprocess.Popen.returncode`: negative for a signal.
        hung: whether it gave no sign of life and was killed for that.
        alone: whether the request was the only one that this worker ever had at the time,
            since two others had died with it.
    """

    def __init__(
        self,
        message: str,
        *,
        worker: int | None = None,
        exit_status: int | None = None,
        hung: bool = False,
        alone: bool = False,
    ) -> None:
        super().__init__(
            message if worker is None else f"{message} (worker {worker}, exit status {exit_status})"
        )
        self.worker = worker
        self.exit_status = exit_status
        self.hung = hung
        self.alone = alone


class Rule(NamedTuple):
    """A failure is of this kind if its code and text match.

    Attributes:
        during: whether the failure must have come between the TCP connection and the end
            of the handshake; None if the code alone says so.
    """

    kind: str
    codes: frozenset[int]
    text: re.Pattern[str]
    during: bool | None = None


def _rule(kind: str, codes: set[int], text: str = "", during: bool | None = None) -> Rule:
    return Rule(kind, frozenset(codes), re.compile(text, re.IGNORECASE), during)


# The first that matches counts.
_RULES = (
    _rule("local", {_OUT_OF_MEMORY}),
    _rule(
        "local",
        {_COULDNT_RESOLVE_HOST, _COULDNT_CONNECT, _SEND_ERROR, _SSL_CONNECT_ERROR},
        "too many open files|cannot assign requested address|thread failed to start"
        "|no buffer space available|cannot allocate memory|malloc failure",
    ),
    _rule("connection_died", {_RECV_ERROR}, "connection died"),
    _rule("certificate", {_PEER_FAILED_VERIFICATION}),
    # BoringSSL has no name for some alerts: its reason is then 1000 + the alert's number.
    _rule("alert", {_SSL_CONNECT_ERROR}, r"alert|reason\(1\d{3}\)"),
    _rule(
        "syscall",
        {_SSL_CONNECT_ERROR},
        "SSL_ERROR_SYSCALL|SSL_ERROR_ZERO_RETURN|connection reset|connection was reset"
        "|connection closed|broken pipe|unexpected eof|error:00000000",
    ),
    _rule("protocol", {_SSL_CONNECT_ERROR}),
    _rule("timeout", {_OPERATION_TIMEDOUT}, during=True),
    # Some versions report the peer's reset or close as a failed read or write.
    _rule("syscall", {_GOT_NOTHING, _SEND_ERROR, _RECV_ERROR}, during=True),
)


class Treatment(NamedTuple):
    """What is done about a kind of failure.

    Attributes:
        reason: in Scrapy's `retry/reason_count/{reason}`.
        most_retries: None for as many as the settings say; 0 for never.
    """

    reason: str
    most_retries: int | None = None


TREATMENTS = {
    "syscall": Treatment("ssl_error_syscall"),
    "timeout": Treatment("tls_timeout"),
    "alert": Treatment("tls_alert", 1),
    "protocol": Treatment("tls_protocol", 0),
    "certificate": Treatment("tls_certificate", 0),
    "local": Treatment("local_resources"),
}

_SCRAPY_ERRORS: dict[int, type[Exception]] = {
    1: UnsupportedURLSchemeError,
    5: CannotResolveHostError,  # of the proxy
    6: CannotResolveHostError,
    7: DownloadConnectionRefusedError,
    18: ResponseDataLossError,
    28: DownloadTimeoutError,
    97: DownloadConnectionRefusedError,  # by the proxy
}


def classify(code: int, detail: str, *, during_handshake: bool) -> str | None:
    """The kind of a failure, or None where it has nothing to do with a handshake.

    Args:
        code: libcurl's.
        detail: libcurl's text.
        during_handshake: whether the origin was reached and no handshake with it completed.
    """
    for rule in _RULES:
        if (
            code in rule.codes
            and (rule.during is None or rule.during == during_handshake)
            and rule.text.search(detail)
        ):
            return rule.kind
    return None


def download_error(code: int, detail: str, kind: str | None, origin: str) -> Exception:
    """The exception that a failed download raises.

    Args:
        kind: as `classify` says.
        origin: scheme, host and port of the URL.
    """
    if kind == "connection_died":
        return ConnectionDiedError(f"{origin}: curl: ({code}) {detail}")
    if kind is not None:
        return HandshakeError(kind, code, detail, origin)
    too_many = "response headers" in detail
    if code == _TOO_LARGE and not too_many:
        # libcurl has no text of its own for it.
        detail = "a response header is larger than libcurl takes"
    if code == _TOO_LARGE or too_many:
        # Built into libcurl: 300 kB in all, 5,000 lines.
        detail += """; Scrapy's own handler takes more: meta["curl_safe"] = False"""
    return _SCRAPY_ERRORS.get(code, DownloadFailedError)(f"{origin}: curl: ({code}) {detail}")

"""The kinds of failed downloads, and the table that finds the kind of a libcurl error.

A worker classifies each failure once, where libcurl's code is known; the crawler uses only the
kind. The texts in the table are those of curl_cffi 0.16.3 (libcurl 8.21, BoringSSL), and the tests
have an origin that produces each row.
"""

from __future__ import annotations

import enum
import errno
import re
from collections.abc import Iterable
from typing import NamedTuple


class CurlCode(enum.IntEnum):
    """The CURLcode values that this package knows by name.

    See https://curl.se/libcurl/c/libcurl-errors.html.
    """

    UNSUPPORTED_PROTOCOL = 1
    URL_MALFORMAT = 3
    COULDNT_RESOLVE_PROXY = 5
    COULDNT_RESOLVE_HOST = 6
    COULDNT_CONNECT = 7
    WEIRD_SERVER_REPLY = 8
    HTTP2 = 16
    PARTIAL_FILE = 18
    WRITE_ERROR = 23
    OUT_OF_MEMORY = 27
    OPERATION_TIMEDOUT = 28
    SSL_CONNECT_ERROR = 35
    ABORTED_BY_CALLBACK = 42
    GOT_NOTHING = 52
    SEND_ERROR = 55
    RECV_ERROR = 56
    SSL_CIPHER = 59
    PEER_FAILED_VERIFICATION = 60
    BAD_CONTENT_ENCODING = 61
    FILESIZE_EXCEEDED = 63
    HTTP2_STREAM = 92
    HTTP3 = 95
    QUIC_CONNECT_ERROR = 96
    PROXY = 97
    TOO_LARGE = 100


class FailureKind(str, enum.Enum):
    """The kind of a transfer's failure. The values of the first six are public: they are the kinds
    of `HandshakeError` and part of the keys of stats."""

    # No TLS connection to the origin was established, so no byte of the request was sent.
    SYSCALL = "syscall"
    TIMEOUT = "timeout"
    ALERT = "alert"
    PROTOCOL = "protocol"
    CERTIFICATE = "certificate"
    #: This machine has no descriptor, port, thread or memory left.
    LOCAL = "local"

    #: The connection died before the answer began, and libcurl must not resend the request.
    CONNECTION_DIED = "connection_died"
    UNSUPPORTED_SCHEME = "unsupported_scheme"
    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    #: The proxy refused or failed to connect to the origin.
    PROXY = "proxy"
    #: The proxy answered CONNECT with an error.
    PROXY_TUNNEL = "proxy_tunnel"
    #: An HTTP proxy did not accept the credentials, or asks for some.
    PROXY_AUTH = "proxy_auth"
    #: No TLS connection to the proxy was established.
    PROXY_TLS = "proxy_tls"
    DOWNLOAD_TIMEOUT = "download_timeout"
    DATALOSS = "dataloss"
    HEADERS_TOO_LARGE = "headers_too_large"
    #: The file that the body goes to cannot be written.
    FILE = "file"
    #: The worker has no memory left for the response.
    NO_MEMORY = "no_memory"
    #: The origin's HTTP/2 answer contains something that HTTP/2 forbids.
    HTTP2_PROTOCOL = "http2_protocol"
    #: The answer is not HTTP, or has no complete head.
    INVALID_RESPONSE = "invalid_response"
    OTHER = "other"

    @property
    def is_handshake(self) -> bool:
        """True if the failure prevented a TLS handshake with the origin."""
        return self in HANDSHAKE_KINDS

    @property
    def is_local(self) -> bool:
        """True if this machine, or the worker, is at its limit."""
        return self in (FailureKind.LOCAL, FailureKind.NO_MEMORY)


#: In the order in which the documentation and the metrics list them.
HANDSHAKE_KINDS = (
    FailureKind.SYSCALL,
    FailureKind.TIMEOUT,
    FailureKind.ALERT,
    FailureKind.PROTOCOL,
    FailureKind.CERTIFICATE,
    FailureKind.LOCAL,
)


# By BoringSSL and OpenSSL, of whatever version.
_UNKNOWN_AUTHORITY = re.compile("local issuer|self.signed", re.IGNORECASE)


def is_unknown_authority(detail: str) -> bool:
    """Tell whether a certificate is refused for its authority, and not for its date or its name.

    Args:
        detail: libcurl's text.
    """
    return _UNKNOWN_AUTHORITY.search(detail) is not None


class _Rule(NamedTuple):
    """A row of the table: a failure has the kind if all columns match.

    Attributes:
        text: a pattern that libcurl's text must contain; empty for any text.
        errnos: of a failed connection; one of them counts as much as a matching text.
        in_handshake: True if the failure must have come between the TCP connection and the end of
            the TLS handshake; None if that does not matter.
    """

    kind: FailureKind
    codes: frozenset[int]
    text: re.Pattern[str]
    errnos: frozenset[int]
    in_handshake: bool | None


def _rule(
    kind: FailureKind,
    codes: set[CurlCode],
    text: str = "",
    *,
    errnos: Iterable[int] = (),
    in_handshake: bool | None = None,
) -> _Rule:
    pattern = re.compile(text, re.IGNORECASE)
    return _Rule(kind, frozenset(codes), pattern, frozenset(errnos), in_handshake)


# The first rule that matches decides.
_RULES = (
    _rule(FailureKind.LOCAL, {CurlCode.OUT_OF_MEMORY}),
    _rule(
        FailureKind.LOCAL,
        {
            CurlCode.COULDNT_RESOLVE_HOST,
            CurlCode.COULDNT_CONNECT,
            CurlCode.SEND_ERROR,
            CurlCode.SSL_CONNECT_ERROR,
        },
        "too many open files|cannot assign requested address|thread failed to start"
        "|no buffer space available|cannot allocate memory|malloc failure",
        errnos=(errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM),
    ),
    _rule(
        FailureKind.CONNECTION_DIED,
        {CurlCode.SEND_ERROR, CurlCode.RECV_ERROR},
        "connection died",
    ),
    _rule(FailureKind.CERTIFICATE, {CurlCode.PEER_FAILED_VERIFICATION}),
    # BoringSSL has no names for some alerts; the reason is then 1000 + the alert's number.
    _rule(FailureKind.ALERT, {CurlCode.SSL_CONNECT_ERROR}, r"alert|reason\(1\d{3}\)"),
    _rule(
        FailureKind.SYSCALL,
        {CurlCode.SSL_CONNECT_ERROR},
        "SSL_ERROR_SYSCALL|SSL_ERROR_ZERO_RETURN|connection reset|connection was reset"
        "|connection closed|broken pipe|unexpected eof|error:00000000",
        errnos=(errno.ECONNRESET, errno.EPIPE),
    ),
    _rule(FailureKind.PROTOCOL, {CurlCode.SSL_CONNECT_ERROR}),
    _rule(FailureKind.TIMEOUT, {CurlCode.OPERATION_TIMEDOUT}, in_handshake=True),
    # Some versions report the peer's reset or close as a failed read or write.
    _rule(
        FailureKind.SYSCALL,
        {CurlCode.GOT_NOTHING, CurlCode.SEND_ERROR, CurlCode.RECV_ERROR},
        in_handshake=True,
    ),
    _rule(FailureKind.HEADERS_TOO_LARGE, {CurlCode.TOO_LARGE}),
    _rule(FailureKind.HEADERS_TOO_LARGE, {CurlCode.RECV_ERROR}, "response headers"),
    # Such as Connection or Keep-Alive, or a name in upper case (RFC 9113, section 8.2).
    _rule(FailureKind.HTTP2_PROTOCOL, {CurlCode.HTTP2_STREAM}, "invalid HTTP header field"),
    # Some versions report a CONNECT that failed as a failed read, others as a failed connection.
    _rule(
        FailureKind.PROXY_AUTH,
        {CurlCode.RECV_ERROR, CurlCode.COULDNT_CONNECT},
        "CONNECT tunnel failed, response 407",
    ),
    _rule(
        FailureKind.PROXY_TUNNEL,
        {CurlCode.RECV_ERROR, CurlCode.COULDNT_CONNECT},
        "CONNECT tunnel failed",
    ),
    _rule(FailureKind.PROXY, {CurlCode.RECV_ERROR}, "CONNECT aborted"),
    _rule(FailureKind.PROXY, {CurlCode.PROXY}),
    _rule(FailureKind.UNSUPPORTED_SCHEME, {CurlCode.UNSUPPORTED_PROTOCOL}, '^Protocol "'),
    _rule(
        FailureKind.INVALID_RESPONSE,
        {
            CurlCode.UNSUPPORTED_PROTOCOL,  # not HTTP, or another version of it
            CurlCode.WEIRD_SERVER_REPLY,
            CurlCode.BAD_CONTENT_ENCODING,
        },
    ),
    _rule(FailureKind.UNRESOLVED, {CurlCode.COULDNT_RESOLVE_PROXY, CurlCode.COULDNT_RESOLVE_HOST}),
    _rule(FailureKind.REFUSED, {CurlCode.COULDNT_CONNECT}),
    _rule(FailureKind.DOWNLOAD_TIMEOUT, {CurlCode.OPERATION_TIMEDOUT}),
    _rule(FailureKind.DATALOSS, {CurlCode.PARTIAL_FILE}),
)


def classify(
    code: int, detail: str, *, in_handshake: bool = False, system_error: int = 0
) -> FailureKind:
    """Find the kind of a failed transfer.

    Args:
        code: libcurl's error code.
        detail: libcurl's text.
        in_handshake: whether the origin was reached but no TLS handshake with it was completed.
        system_error: the errno of a failed connection (CURLINFO_OS_ERRNO); 0 for none.
    """
    for rule in _RULES:
        if (
            code in rule.codes
            and (rule.in_handshake is None or rule.in_handshake == in_handshake)
            and (system_error in rule.errnos or rule.text.search(detail))
        ):
            return rule.kind
    return FailureKind.OTHER

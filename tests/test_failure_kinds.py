"""The kinds of failures: from libcurl's code and text to the kind, the exception and the retry."""

from __future__ import annotations

import errno
import pickle
import typing

import pytest
from curl_cffi import CurlError
from scrapy.exceptions import DownloadFailedError, DownloadTimeoutError

from scrapy_curl_safe import (
    ConnectionDiedError,
    HandshakeError,
    OriginUnavailableError,
    WorkerCrashedError,
)
from scrapy_curl_safe._crawl.errors import download_error, pool_error
from scrapy_curl_safe._crawl.retry_rules import HANDSHAKE_RULES, RETRY_REASONS, decide
from scrapy_curl_safe._ipc.failures import HANDSHAKE_KINDS, CurlCode, FailureKind, classify
from scrapy_curl_safe._ipc.messages import Failed, TransferStats
from scrapy_curl_safe._pool.errors import (
    FetchTimeoutError,
    OriginRejectedError,
    PoolError,
    UnsendableRequestError,
    WorkerLostError,
    WorkersExhaustedError,
)
from scrapy_curl_safe._pool.origins import HandshakeFailure, Route

ORIGIN = "https://a:443"
PROXY = "http://proxy.test:3128"

# Kinds


@pytest.mark.parametrize(
    ("code", "detail", "in_handshake", "kind"),
    [
        (35, "Connection closed abruptly (SSL_ERROR_SYSCALL; error queue empty)", True, "syscall"),
        (35, "BoringSSL SSL_connect: SSL_ERROR_SYSCALL in connection to a:443", True, "syscall"),
        (35, "Recv failure: Connection reset by peer", True, "syscall"),
        (35, "TLS connect error: error:00000000:invalid library (0)", True, "syscall"),
        (35, "Send failure: Broken pipe", True, "syscall"),
        (56, "Recv failure: Connection reset by peer", True, "syscall"),
        (56, "Recv failure: Connection reset by peer", False, "other"),
        (56, "CONNECT tunnel failed, response 407", False, "proxy_auth"),
        (7, "CONNECT tunnel failed, response 407", False, "proxy_auth"),
        (56, "CONNECT tunnel failed, response 502", False, "proxy_tunnel"),
        (7, "CONNECT tunnel failed, response 502", False, "proxy_tunnel"),
        (56, "Proxy CONNECT aborted", False, "proxy"),
        (28, "Connection timed out after 1001 milliseconds", True, "timeout"),
        (28, "Operation timed out after 1001 milliseconds", False, "download_timeout"),
        (35, "...:SSLV3_ALERT_HANDSHAKE_FAILURE", True, "alert"),
        (35, "...:TLSV1_ALERT_PROTOCOL_VERSION", True, "alert"),
        (35, "TLS connect error: error:10000455:SSL routines:OPENSSL_internal:reason(1109)", True,
         "alert"),
        (35, "...:WRONG_VERSION_NUMBER", True, "protocol"),
        (35, "...:DECODE_ERROR", True, "protocol"),
        (60, "SSL certificate OpenSSL verify result: unable to get local issuer", True,
         "certificate"),
        (7, "Failed to connect: Too many open files", False, "local"),
        (7, "connect: Cannot assign requested address", False, "local"),
        (7, "Failed to connect to 127.0.0.1 port 1: Could not connect to server", False, "refused"),
        (6, "getaddrinfo() thread failed to start", False, "local"),
        (6, "Could not resolve host: x", False, "unresolved"),
        (5, "Could not resolve proxy: x", False, "unresolved"),
        (27, "", False, "local"),
        (35, "error:0e000041:common libcrypto routines:OPENSSL_internal:malloc failure", True,
         "local"),
        (55, "Send failure: Too many open files", True, "local"),
        (55, "Connection died, tried 5 times before giving up", False, "connection_died"),
        (56, "Connection died, tried 5 times before giving up", False, "connection_died"),
        (18, "transfer closed with 91 bytes remaining to read", False, "dataloss"),
        (100, "", False, "headers_too_large"),
        (56, "Too large response headers: 300001 > 300000", False, "headers_too_large"),
        (97, "connection to proxy closed", False, "proxy"),
        (97, "User was rejected by the SOCKS5 server (1 1).", False, "proxy"),
        (97, "No authentication method was acceptable.", False, "proxy"),
        (1, 'Protocol "foo" not supported', False, "unsupported_scheme"),
        (1, 'Protocol "foo" is disabled', False, "unsupported_scheme"),
        (1, "Received HTTP/0.9 when not allowed", False, "invalid_response"),
        (1, "Unsupported HTTP/1 subversion in response", False, "invalid_response"),
        (1, "Unsupported HTTP version in response", False, "invalid_response"),
        (8, "Header without colon", False, "invalid_response"),
        (61, "Unsolicited Transfer-Encoding (gzip) found", False, "invalid_response"),
        (92, "HTTP/2 stream 1 was not closed cleanly", False, "other"),
        (92, "Invalid HTTP header field was received: frame type: 1, stream: 1, name: [te]", False,
         "http2_protocol"),
    ],
)  # fmt: skip
def test_classification(code: int, detail: str, in_handshake: bool, kind: str) -> None:
    assert classify(code, detail, in_handshake=in_handshake) is FailureKind(kind)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOMEM])
def test_what_the_system_says_decides_over_the_text(number: int) -> None:
    detail = "Could not connect to server"
    assert classify(7, detail, system_error=number) is FailureKind.LOCAL
    assert classify(28, detail, system_error=number) is FailureKind.DOWNLOAD_TIMEOUT


def test_other_errors_of_the_system_leave_it_to_the_code() -> None:
    assert classify(7, "", system_error=errno.ECONNREFUSED) is FailureKind.REFUSED


def test_six_kinds_are_of_the_handshake() -> None:
    kinds = ("syscall", "timeout", "alert", "protocol", "certificate", "local")
    assert tuple(kind.value for kind in HANDSHAKE_KINDS) == kinds
    assert [kind for kind in FailureKind if kind.is_handshake] == list(HANDSHAKE_KINDS)


def test_every_code_by_name_is_libcurls() -> None:
    """As curl_cffi, which has them from curl/curl.h, numbers them."""
    from curl_cffi import CurlECode  # noqa: PLC0415

    for code in CurlCode:
        assert CurlECode[code.name].value == code.value


# Exceptions


def failed(kind: FailureKind, code: int = 35, detail: str = "why") -> Failed:
    return Failed(id=1, stats=TransferStats(), kind=kind, code=code, detail=detail)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "DownloadFailedError"),
        (5, "CannotResolveHostError"),
        (6, "CannotResolveHostError"),
        (7, "DownloadConnectionRefusedError"),
        (18, "ResponseDataLossError"),
        (28, "DownloadTimeoutError"),
        (97, "DownloadConnectionRefusedError"),
        (92, "DownloadFailedError"),
    ],
)
def test_other_codes_are_scrapys_own_exceptions(code: int, name: str) -> None:
    error = download_error(failed(classify(code, "why"), code), Route(ORIGIN, None))
    assert type(error).__name__ == name
    assert f"curl: ({code}) why" in str(error)
    assert str(error).startswith("https://a:443: ")


def test_a_response_that_is_not_http_is_called_so() -> None:
    error = download_error(failed(FailureKind.INVALID_RESPONSE, 1, "why"), Route(ORIGIN, None))
    assert type(error) is DownloadFailedError
    assert str(error) == f"{ORIGIN}: the response is not valid HTTP: curl: (1) why"
    error = download_error(
        failed(FailureKind.INVALID_RESPONSE, 0, "no status"), Route(ORIGIN, None)
    )
    assert str(error) == f"{ORIGIN}: the response is not valid HTTP: no status"
    error = download_error(failed(FailureKind.INVALID_RESPONSE, 8, "no colon"), Route(ORIGIN, None))
    assert str(error) == (
        f"{ORIGIN}: the response is not valid HTTP: curl: (8) no colon; "
        """Scrapy's own handler takes more: meta["curl_safe"] = False"""
    )


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
def test_a_failed_handshake_is_a_handshake_error_of_its_kind(kind: FailureKind) -> None:
    error = download_error(failed(kind), Route(ORIGIN, None))
    assert isinstance(error, HandshakeError)
    assert (error.kind, error.curl_code, error.detail, error.origin) == (
        kind.value, 35, "why", ORIGIN,
    )  # fmt: skip
    assert type(error.kind) is str
    what = "Connection to" if kind is FailureKind.LOCAL else "TLS handshake with"
    assert str(error) == f"{what} {ORIGIN} failed ({kind.value}): curl: (35) why"


def test_what_libcurl_did_not_report_has_no_code() -> None:
    error = download_error(failed(FailureKind.LOCAL, 0, "no session is free"), Route(ORIGIN, None))
    assert str(error) == f"Connection to {ORIGIN} failed (local): no session is free"
    error = download_error(failed(FailureKind.OTHER, 0, "no response headers"), Route(ORIGIN, None))
    assert str(error) == f"{ORIGIN}: no response headers"


def test_connections_that_died_are_an_exception_of_their_own() -> None:
    error = download_error(failed(FailureKind.CONNECTION_DIED, 56), Route(ORIGIN, None))
    assert type(error) is ConnectionDiedError
    assert str(error) == f"{ORIGIN}: curl: (56) why"


@pytest.mark.parametrize(
    ("code", "detail", "text"),
    [
        (100, "", "a response header is larger than libcurl takes"),
        (100, "Too many response headers, 5001 > 5000", "Too many response headers, 5001 > 5000"),
        (56, "Too large response headers: 2 > 1", "Too large response headers: 2 > 1"),
    ],
)
def test_headers_that_are_too_large_for_libcurl_come_with_advice(
    code: int, detail: str, text: str
) -> None:
    error = download_error(failed(FailureKind.HEADERS_TOO_LARGE, code, detail), Route(ORIGIN, None))
    assert type(error) is DownloadFailedError
    advice = """Scrapy's own handler takes more: meta["curl_safe"] = False"""
    assert str(error) == f"{ORIGIN}: curl: ({code}) {text}; {advice}"


def test_a_handshake_that_timed_out_is_a_timeout_too() -> None:
    error = download_error(failed(FailureKind.TIMEOUT, 28), Route(ORIGIN, None))
    for copy in (error, pickle.loads(pickle.dumps(error))):
        assert isinstance(copy, HandshakeError)
        assert isinstance(copy, DownloadTimeoutError)
        assert (copy.kind, copy.curl_code, copy.detail, copy.origin) == (
            "timeout", 28, "why", ORIGIN,
        )  # fmt: skip
        assert str(copy) == f"TLS handshake with {ORIGIN} failed (timeout): curl: (28) why"
    others = (kind for kind in HANDSHAKE_KINDS if kind is not FailureKind.TIMEOUT)
    assert not any(
        isinstance(download_error(failed(k), Route(ORIGIN, None)), DownloadTimeoutError)
        for k in others
    )


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
@pytest.mark.parametrize("proxy", [PROXY, "socks5://proxy.test:1080"])
def test_behind_a_proxy_it_names_the_origin_and_the_proxy(kind: FailureKind, proxy: str) -> None:
    error = download_error(failed(kind), Route(ORIGIN, proxy))
    assert isinstance(error, HandshakeError)
    assert error.proxy == proxy
    what = "Connection to" if kind is FailureKind.LOCAL else "TLS handshake with"
    doubt = ", or the proxy's connection to it,"
    if kind is not FailureKind.TIMEOUT or not proxy.startswith("socks"):
        doubt = ""
    expected = f"{what} {ORIGIN} behind {proxy}{doubt} failed ({kind.value}): curl: (35) why"
    assert str(error) == expected


def test_a_handshake_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(HandshakeError("syscall", 35, "why", ORIGIN, PROXY)))
    assert (error.kind, error.curl_code, error.detail, error.origin, error.proxy) == (
        "syscall", 35, "why", ORIGIN, PROXY,
    )  # fmt: skip


def test_so_does_that_of_an_origin_that_is_unavailable() -> None:
    error = pickle.loads(
        pickle.dumps(OriginUnavailableError("syscall", 35, "why", ORIGIN, 1.5, PROXY))
    )
    assert type(error) is OriginUnavailableError
    assert (error.kind, error.curl_code, error.detail) == ("syscall", 35, "why")
    assert (error.origin, error.seconds, error.proxy) == (ORIGIN, 1.5, PROXY)


def test_a_rejected_request_says_what_opened_the_breaker_and_for_how_long() -> None:
    last = HandshakeFailure(FailureKind.TIMEOUT, 28, "Connection timed out")
    error = pool_error(OriginRejectedError(last, 1.54), Route(ORIGIN, PROXY))
    assert isinstance(error, OriginUnavailableError)
    assert (error.kind, error.curl_code, error.origin, error.proxy, error.seconds) == (
        "timeout", 28, ORIGIN, PROXY, 1.54,
    )  # fmt: skip
    assert f" {ORIGIN} behind {PROXY} failed (timeout)" in str(error)
    assert error.detail == "not tried for 1.5 s more: Connection timed out"


@pytest.mark.parametrize("hung", [False, True])
@pytest.mark.parametrize("was_alone", [False, True])
def test_a_lost_worker_is_one_that_crashed(hung: bool, was_alone: bool) -> None:
    error = pool_error(WorkerLostError(3, -9, hung=hung, was_alone=was_alone), Route(ORIGIN, None))
    assert isinstance(error, WorkerCrashedError)
    assert (error.worker, error.exit_status, error.hung, error.alone) == (3, -9, hung, was_alone)
    what = "the worker hung and was killed" if hung else "the worker died"
    assert str(error) == f"{what} (worker 3, exit status -9)"


def test_where_no_worker_can_be_had_none_has_crashed_with_the_request() -> None:
    error = pool_error(WorkersExhaustedError("why"), Route(ORIGIN, None))
    assert isinstance(error, WorkerCrashedError)
    assert (error.worker, error.exit_status, str(error)) == (None, None, "why")


@pytest.mark.parametrize(
    ("error", "exception"),
    [
        (FetchTimeoutError("late"), DownloadTimeoutError),
        (UnsendableRequestError("too large"), ValueError),
    ],
)
def test_other_errors_of_the_pool(error: PoolError, exception: type[Exception]) -> None:
    made = pool_error(error, Route(ORIGIN, None))
    assert type(made) is exception
    assert str(made) == str(error)


# Retries


def decided(error: BaseException) -> tuple[str, int | None] | None:
    """Return the reason of a retry and how often it may happen; None if it is left to others."""
    decision = decide(error)
    return None if decision is None else (decision.rule.reason, decision.rule.max_retries)


@pytest.mark.parametrize(
    ("kind", "reason", "max_retries"),
    [
        ("syscall", "ssl_error_syscall", None),
        ("timeout", "tls_timeout", None),
        ("alert", "tls_alert", 1),
        ("protocol", "tls_protocol", 0),
        ("certificate", "tls_certificate", 0),
        ("local", "local_resources", None),
    ],
)
def test_what_is_done_about_a_failed_handshake(
    kind: str, reason: str, max_retries: int | None
) -> None:
    decision = decide(HandshakeError(kind, 35, "why", ORIGIN))
    assert decision is not None
    assert (decision.kind, decision.is_crash) == (FailureKind(kind), False)
    assert decision.rule == (reason, max_retries)


def test_each_kind_has_its_rule() -> None:
    assert tuple(HANDSHAKE_RULES) == HANDSHAKE_KINDS


def test_what_was_not_tried_has_a_reason_of_its_own() -> None:
    error = OriginUnavailableError("timeout", 28, "why", ORIGIN, 2.0)
    assert decided(error) == ("origin_unavailable", None)


@pytest.mark.parametrize(
    ("hung", "alone", "expected"),
    [
        (False, False, ("worker_crashed", None)),
        (True, False, ("worker_hung", None)),
        (False, True, ("worker_crashed", 0)),
        (True, True, ("worker_hung", 0)),
    ],
)
def test_what_is_done_about_a_crash(
    hung: bool, alone: bool, expected: tuple[str, int | None]
) -> None:
    error = WorkerCrashedError("why", worker=1, exit_status=-9, hung=hung, alone=alone)
    assert decided(error) == expected
    decision = decide(error)
    assert decision is not None
    assert (decision.kind, decision.is_crash) == (None, True)


def test_what_is_done_about_connections_that_died() -> None:
    assert decided(ConnectionDiedError("why")) == ("connection_died", None)


def curl_error(code: int, text: str) -> CurlError:
    return CurlError(text, typing.cast("typing.Any", code))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (curl_error(35, "SSL_ERROR_SYSCALL"), ("ssl_error_syscall", None)),
        (curl_error(60, "a certificate"), ("tls_certificate", 0)),
        (curl_error(56, "Connection died, tried 5 times"), ("connection_died", None)),
        (curl_error(28, "Operation timed out"), None),
        (curl_error(18, "the body ended"), None),
    ],
)
def test_errors_of_curl_cffi_in_other_handlers(
    error: CurlError, expected: tuple[str, int | None] | None
) -> None:
    assert decided(error) == expected
    wrapped = DownloadFailedError("wrapped")
    wrapped.__cause__ = error
    assert decided(wrapped) == expected


@pytest.mark.parametrize("error", [DownloadFailedError("why"), ValueError("why"), OSError(35, "")])
def test_all_else_is_left_to_others(error: Exception) -> None:
    assert decide(error) is None


def test_the_reasons_of_all_retries() -> None:
    assert RETRY_REASONS == (
        "ssl_error_syscall",
        "tls_timeout",
        "tls_alert",
        "local_resources",
        "origin_unavailable",
        "worker_crashed",
        "worker_hung",
        "connection_died",
        "http2_protocol",
    )

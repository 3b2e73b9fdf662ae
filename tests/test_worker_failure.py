"""The kind of a failed transfer, beyond the table in `_ipc.failures`."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

import pytest
from curl_cffi import CurlError, CurlInfo

from scrapy_curl_safe._ipc.failures import CurlCode, FailureKind
from scrapy_curl_safe._ipc.messages import Failed, Fetch, Profile, TransferStats
from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._worker import failure

HTTPS = "https://example.test/"
CONNECTED = TransferStats(connects=1, connected_at=0.1)
DONE_HANDSHAKE = TransferStats(connects=1, connected_at=0.1, handshake_at=0.2)
REUSED = TransferStats()


class FakeHandle:
    """Knows of a transfer what libcurl would know."""

    max_sends = 2
    was_sent = was_send_refused = False

    def __init__(self, url: str, numbers: Mapping[int, int]) -> None:
        self.url = url
        self._numbers = numbers

    def get_number(self, info: int) -> int:
        return self._numbers.get(info, 0)


def fail(
    code: int,
    text: str,
    stats: TransferStats = CONNECTED,
    *,
    url: str = HTTPS,
    proxy: str | None = None,
    **numbers: int,
) -> Failed:
    error = CurlError(
        f"Failed to perform, curl: ({int(code)}) {text}. "
        "See https://curl.se/libcurl/c/libcurl-errors.html first for more details.",
        code,
    )
    handle: Any = FakeHandle(url, {CurlInfo[name]: value for name, value in numbers.items()})
    fetch = Fetch(id=7, url=url, profile=b"")
    return failure.describe_failure(fetch, error, handle, Profile(proxy=proxy), stats)


def test_the_message_has_libcurls_own_code_and_text() -> None:
    failed = fail(35, "TLS connect error: WRONG_VERSION_NUMBER")
    assert failed == Failed(
        id=7,
        stats=CONNECTED,
        kind=FailureKind.PROTOCOL,
        code=35,
        detail="TLS connect error: WRONG_VERSION_NUMBER",
    )


def test_a_response_that_cannot_be_kept_is_a_lack_of_memory() -> None:
    failed = fail(CurlCode.WRITE_ERROR, "Failure writing output to destination")
    assert (failed.kind, failed.code) == (FailureKind.NO_MEMORY, 23)
    assert failed.detail == "no memory for the response"


@pytest.mark.parametrize(
    ("can_start", "stats", "kind"),
    [
        (True, REUSED, FailureKind.DOWNLOAD_TIMEOUT),
        (False, REUSED, FailureKind.LOCAL),
        (False, CONNECTED, FailureKind.TIMEOUT),
        (False, DONE_HANDSHAKE, FailureKind.DOWNLOAD_TIMEOUT),
    ],
)
def test_a_name_lookup_that_never_began(
    monkeypatch: pytest.MonkeyPatch, can_start: bool, stats: TransferStats, kind: FailureKind
) -> None:
    monkeypatch.setattr(failure, "_can_start_thread", lambda: can_start)
    failed = fail(CurlCode.OPERATION_TIMEDOUT, "Resolving timed out", stats)
    assert (failed.kind, failed.code) == (kind, 28)
    assert (failed.detail == "a thread failed to start") == (kind is FailureKind.LOCAL)


@pytest.mark.parametrize(
    ("code", "stats", "kind"),
    [
        (CurlCode.RECV_ERROR, REUSED, FailureKind.OTHER),
        # Something of the response came, or the connection was the transfer's own.
        (CurlCode.RECV_ERROR, TransferStats(bytes_received=1), FailureKind.OTHER),
        (CurlCode.RECV_ERROR, DONE_HANDSHAKE, FailureKind.OTHER),
        (CurlCode.RECV_ERROR, CONNECTED, FailureKind.SYSCALL),
        (CurlCode.SSL_CONNECT_ERROR, REUSED, FailureKind.SYSCALL),
    ],
)
def test_reused_connections_that_closed(
    code: CurlCode, stats: TransferStats, kind: FailureKind
) -> None:
    assert fail(code, "BoringSSL SSL_read: Connection closed abruptly", stats).kind is kind


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ENETUNREACH])
def test_an_attempt_that_lost_says_nothing(number: int) -> None:
    """IPv6 failed, IPv4 connected, and then the origin sent an alert."""
    failed = fail(35, "TLS connect error: SSLV3_ALERT_HANDSHAKE_FAILURE", OS_ERRNO=number)
    assert failed.kind is FailureKind.ALERT
    assert failed.detail == "TLS connect error: SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_a_send_that_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeHandle, "was_send_refused", True)
    failed = fail(42, "aborted by the callback", REUSED)
    assert (failed.kind, failed.code) == (FailureKind.CONNECTION_DIED, 0)
    assert failed.detail.endswith("a GET is sent twice at most")


@pytest.mark.parametrize(
    ("code", "number", "kind"),
    [
        (CurlCode.COULDNT_CONNECT, errno.ECONNREFUSED, FailureKind.REFUSED),
        (CurlCode.COULDNT_CONNECT, errno.EMFILE, FailureKind.LOCAL),
        (CurlCode.COULDNT_CONNECT, errno.EADDRNOTAVAIL, FailureKind.LOCAL),
        (CurlCode.COULDNT_RESOLVE_HOST, errno.ENFILE, FailureKind.LOCAL),
        (CurlCode.SSL_CONNECT_ERROR, errno.ENOMEM, FailureKind.LOCAL),
        (CurlCode.SSL_CONNECT_ERROR, errno.ECONNRESET, FailureKind.SYSCALL),
        (CurlCode.SSL_CONNECT_ERROR, errno.EPIPE, FailureKind.SYSCALL),
        (CurlCode.SSL_CONNECT_ERROR, errno.EINVAL, FailureKind.PROTOCOL),
        (CurlCode.SSL_CONNECT_ERROR, 0, FailureKind.PROTOCOL),
        (CurlCode.RECV_ERROR, errno.EMFILE, FailureKind.OTHER),
    ],
)
def test_the_systems_error(code: CurlCode, number: int, kind: FailureKind) -> None:
    failed = fail(code, "it failed", DONE_HANDSHAKE, OS_ERRNO=number)
    assert failed.kind is kind
    assert failed.detail.startswith("it failed")
    assert (failed.detail == "it failed") == (number == 0)


def test_a_systems_error_that_libcurl_names_is_named_once() -> None:
    text = "Recv failure: Connection reset by peer"
    assert fail(35, text, OS_ERRNO=errno.ECONNRESET).detail == text


@pytest.mark.parametrize(
    ("can_open", "kind"), [(True, FailureKind.REFUSED), (False, FailureKind.LOCAL)]
)
def test_a_missing_descriptor_that_libcurl_does_not_report(
    monkeypatch: pytest.MonkeyPatch, can_open: bool, kind: FailureKind
) -> None:
    monkeypatch.setattr(system, "can_open_descriptor", lambda: can_open)
    failed = fail(CurlCode.COULDNT_CONNECT, "Could not connect to server", REUSED)
    assert failed.kind is kind
    assert ("Too many open files" in failed.detail) == (not can_open)


@pytest.mark.parametrize(
    ("url", "proxy", "connect_code", "stats", "in_handshake"),
    [
        (HTTPS, None, 0, CONNECTED, True),
        (HTTPS, None, 0, REUSED, False),
        (HTTPS, None, 0, DONE_HANDSHAKE, False),
        ("http://example.test/", None, 0, CONNECTED, False),
        # An HTTP proxy has reached the origin once it says 200.
        (HTTPS, "http://proxy.test:1", 200, CONNECTED, True),
        (HTTPS, "http://proxy.test:1", 0, CONNECTED, False),
        (HTTPS, "https://proxy.test:1", 503, CONNECTED, False),
        (HTTPS, "socks5://proxy.test:1", 0, CONNECTED, True),
    ],
)
def test_a_failure_in_the_handshake(
    url: str, proxy: str | None, connect_code: int, stats: TransferStats, in_handshake: bool
) -> None:
    timed_out = fail(28, "too late", stats, url=url, proxy=proxy, HTTP_CONNECTCODE=connect_code)
    closed = fail(52, "Empty reply", stats, url=url, proxy=proxy, HTTP_CONNECTCODE=connect_code)
    assert (timed_out.kind is FailureKind.TIMEOUT) == in_handshake
    assert (closed.kind is FailureKind.SYSCALL) == in_handshake


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (35, "TLS connect error: WRONG_VERSION_NUMBER"),
        (35, "SSL_ERROR_SYSCALL"),
        (60, "SSL certificate OpenSSL verify result: unable to get local issuer"),
    ],
)
@pytest.mark.parametrize(
    ("url", "proxy", "answer", "is_of_proxy"),
    [
        (HTTPS, "https://proxy:1", 0, True),
        (HTTPS, "https://proxy:1", 200, False),
        ("http://example.test/", "https://proxy:1", 0, True),
        (HTTPS, "http://proxy:1", 0, False),
        (HTTPS, None, 0, False),
    ],
)
def test_a_handshake_with_the_proxy_is_none_with_the_origin(
    code: int, text: str, url: str, proxy: str | None, answer: int, is_of_proxy: bool
) -> None:
    kind = fail(code, text, url=url, proxy=proxy, HTTP_CONNECTCODE=answer).kind
    assert (kind is FailureKind.PROXY_TLS) is is_of_proxy
    assert kind.is_handshake is not is_of_proxy


def test_a_lack_of_this_machine_is_none_of_the_proxy() -> None:
    assert fail(27, "", proxy="https://proxy:1").kind is FailureKind.LOCAL

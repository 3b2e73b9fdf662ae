"""The exceptions that downloads raise in addition to Scrapy's own."""

from __future__ import annotations

from typing import Any

from scrapy.exceptions import DownloadFailedError, DownloadTimeoutError

from ._ipc.failures import FailureKind, is_unknown_authority


class HandshakeError(DownloadFailedError):
    """No TLS connection to the origin was established, so no byte of the request was sent.

    Attributes:
        kind: "syscall", "timeout", "alert", "protocol", "certificate" or "local".
        curl_code: libcurl's error code; 0 if libcurl did not report the failure.
        detail: libcurl's message.
        origin: scheme, host and port of the URL.
        proxy: URL of the proxy in front of the origin, without credentials; None for no proxy.
    """

    def __init__(
        self, kind: str, curl_code: int, detail: str, origin: str, proxy: str | None = None
    ) -> None:
        what = "Connection to" if kind == "local" else "TLS handshake with"
        where = f"{origin} behind {proxy}" if proxy else origin
        if proxy and proxy.startswith("socks") and kind == FailureKind.TIMEOUT:
            # libcurl does not tell how far it had come.
            where += ", or the proxy's connection to it,"
        curl = f"curl: ({curl_code}) " if curl_code else ""
        hint = "; SSL_CERT_FILE names the file of a private authority"
        if kind != FailureKind.CERTIFICATE or not is_unknown_authority(detail):
            hint = ""
        super().__init__(f"{what} {where} failed ({kind}): {curl}{detail}{hint}")
        self.kind = kind
        self.curl_code = curl_code
        self.detail = detail
        self.origin = origin
        self.proxy = proxy

    def __reduce__(self) -> tuple[type[HandshakeError], tuple[Any, ...]]:
        return type(self), (self.kind, self.curl_code, self.detail, self.origin, self.proxy)


class HandshakeTimeoutError(HandshakeError, DownloadTimeoutError):
    """A HandshakeError of the kind "timeout": the download timed out during the handshake."""


class OriginUnavailableError(HandshakeError):
    """No handshake was tried: the origin's circuit breaker is open, since too many failed in a row.

    Attributes:
        seconds: the time until a trial request may go out.
    """

    def __init__(
        self,
        kind: str,
        curl_code: int,
        detail: str,
        origin: str,
        seconds: float,
        proxy: str | None = None,
    ) -> None:
        super().__init__(kind, curl_code, detail, origin, proxy)
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[OriginUnavailableError], tuple[Any, ...]]:
        of_handshake = (self.kind, self.curl_code, self.detail, self.origin)
        return type(self), (*of_handshake, self.seconds, self.proxy)


class ConnectionDiedError(DownloadFailedError):
    """The origin closed a connection before it answered, and Scrapy's retry policy decides whether
    to send the request again.

    The request may have reached the origin: once, or twice if its method is idempotent (RFC 9110,
    section 9.2.2).
    """


class Http2ProtocolError(DownloadFailedError):
    """The origin's HTTP/2 answer contains something that HTTP/2 forbids, such as a Connection
    header, or the origin takes the request only over HTTP/1.1 (RFC 9113, sections 7 and 8.2)."""


class ProxyAuthenticationError(DownloadFailedError):
    """An HTTP proxy refused the user or the password, or asked for some (407 Proxy Authentication
    Required). The request is not retried."""


class UnsupportedProxyError(ValueError):
    """The proxy's URL is malformed, or its scheme is none of http, https, socks4, socks4a, socks5
    and socks5h."""


class NoSessionError(DownloadFailedError):
    """No session could be had for an hour: all proxies rest, or all sessions were asked to wait.

    A request that does not come from the scheduler (robots.txt, files of a media pipeline) waits no
    longer when the crawl is being closed.
    """


class WorkerCrashedError(DownloadFailedError):
    """The worker process that had the request exited before the response was complete, or no worker
    could be started.

    Attributes:
        worker: its slot number; None if no worker could be started at all.
        exit_status: as `subprocess.Popen.returncode`: negative for a signal.
        hung: whether the worker sent no heartbeat and was killed for that.
        alone: whether the request had the worker to itself, since two others had died with it.
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


# Scrapy's stats and logs name an exception by its module: the public one, which stays.
for _exception in (
    HandshakeError,
    OriginUnavailableError,
    ConnectionDiedError,
    NoSessionError,
    ProxyAuthenticationError,
    UnsupportedProxyError,
    WorkerCrashedError,
):
    _exception.__module__ = __package__

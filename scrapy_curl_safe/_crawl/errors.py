"""Turns a failure kind, or an error of the pool, into the exception that a download raises."""

from __future__ import annotations

from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadConnectionRefusedError,
    DownloadFailedError,
    DownloadTimeoutError,
    ResponseDataLossError,
    UnsupportedURLSchemeError,
)

from .._ipc.failures import CurlCode, FailureKind
from .._ipc.messages import Failed
from .._pool.errors import (
    FetchTimeoutError,
    OriginRejectedError,
    PoolError,
    UnsendableRequestError,
    WorkerLostError,
)
from .._pool.origins import Route
from ..exceptions import (
    ConnectionDiedError,
    HandshakeError,
    HandshakeTimeoutError,
    Http2ProtocolError,
    OriginUnavailableError,
    ProxyAuthenticationError,
    WorkerCrashedError,
)

# Handshake kinds are HandshakeErrors; kinds that are in neither are DownloadFailedErrors.
_EXCEPTIONS: dict[FailureKind, type[Exception]] = {
    FailureKind.CONNECTION_DIED: ConnectionDiedError,
    FailureKind.UNSUPPORTED_SCHEME: UnsupportedURLSchemeError,
    FailureKind.UNRESOLVED: CannotResolveHostError,
    FailureKind.REFUSED: DownloadConnectionRefusedError,
    FailureKind.PROXY: DownloadConnectionRefusedError,
    FailureKind.PROXY_TUNNEL: DownloadConnectionRefusedError,
    FailureKind.PROXY_AUTH: ProxyAuthenticationError,
    FailureKind.PROXY_TLS: DownloadConnectionRefusedError,
    FailureKind.DOWNLOAD_TIMEOUT: DownloadTimeoutError,
    FailureKind.DATALOSS: ResponseDataLossError,
    FailureKind.HTTP2_PROTOCOL: Http2ProtocolError,
}


# What libcurl's text does not say.
_WHAT = {
    FailureKind.INVALID_RESPONSE: "the response is not valid HTTP",
    FailureKind.PROXY_AUTH: "the proxy refuses the user or the password, or wants some",
    FailureKind.PROXY_TUNNEL: "the proxy does not connect to the origin",
    FailureKind.PROXY_TLS: "the TLS handshake with the proxy failed (does it speak TLS?)",
}


def download_error(failed: Failed, route: Route) -> Exception:
    """Return the exception of a failed transfer."""
    if failed.kind.is_handshake:
        timed_out = failed.kind is FailureKind.TIMEOUT
        handshake_error = HandshakeTimeoutError if timed_out else HandshakeError
        return handshake_error(failed.kind.value, failed.code, failed.detail, *route)
    exception = _EXCEPTIONS.get(failed.kind, DownloadFailedError)
    return exception(f"{route}: {_reason(failed)}")


def _reason(failed: Failed) -> str:
    detail = failed.detail
    if failed.code == CurlCode.TOO_LARGE and "response headers" not in detail:
        # libcurl has no text of its own for it.
        detail = "a response header is larger than libcurl takes"
    reason = f"curl: ({failed.code}) {detail}" if failed.code else detail
    if failed.kind in _WHAT:
        reason = f"{_WHAT[failed.kind]}: {reason}"
    if failed.kind is FailureKind.HTTP2_PROTOCOL:
        reason += """; HTTP/1.1 may do: meta["curl_safe"] = {"http_version": "v1"}"""
    if failed.code == CurlCode.SSL_CIPHER and "cipher list" in detail:
        reason += "; BoringSSL has none of them (DOWNLOADER_CLIENT_TLS_CIPHERS, or a fingerprint's)"
    # The sizes are built into libcurl: 300 kB in all, 5,000 lines.
    if failed.kind is FailureKind.HEADERS_TOO_LARGE or failed.code == CurlCode.WEIRD_SERVER_REPLY:
        reason += """; Scrapy's own handler takes more: meta["curl_safe"] = False"""
    return reason


def pool_error(error: PoolError, route: Route) -> Exception:
    """Return the exception of a request for which the pool has no outcome."""
    if isinstance(error, OriginRejectedError):
        last, (origin, proxy) = error.last_failure, route
        return OriginUnavailableError(
            last.kind.value, last.code, str(error), origin, error.open_seconds, proxy
        )
    if isinstance(error, WorkerLostError):
        return WorkerCrashedError(
            str(error),
            worker=error.slot,
            exit_status=error.exit_status,
            hung=error.hung,
            alone=error.was_alone,
        )
    if isinstance(error, FetchTimeoutError):
        return DownloadTimeoutError(str(error))
    if isinstance(error, UnsendableRequestError):
        return ValueError(str(error))
    return WorkerCrashedError(str(error))

"""Rules of what the middleware does about each failure."""

from __future__ import annotations

from typing import NamedTuple

from .._ipc.failures import FailureKind, classify
from ..exceptions import (
    ConnectionDiedError,
    HandshakeError,
    Http2ProtocolError,
    OriginUnavailableError,
    ProxyAuthenticationError,
    WorkerCrashedError,
)


class RetryRule(NamedTuple):
    """The treatment of a failure.

    Attributes:
        reason: in Scrapy's `retry/reason_count/{reason}`.
        max_retries: None for as many as the settings say; 0 for never.
    """

    reason: str
    max_retries: int | None = None


HANDSHAKE_RULES = {
    FailureKind.SYSCALL: RetryRule("ssl_error_syscall"),
    FailureKind.TIMEOUT: RetryRule("tls_timeout"),
    FailureKind.ALERT: RetryRule("tls_alert", 1),
    FailureKind.PROTOCOL: RetryRule("tls_protocol", 0),
    FailureKind.CERTIFICATE: RetryRule("tls_certificate", 0),
    FailureKind.LOCAL: RetryRule("local_resources"),
}
_UNAVAILABLE = RetryRule("origin_unavailable")
_CRASHED = RetryRule("worker_crashed")
_HUNG = RetryRule("worker_hung")
_CONNECTION_RULES = {
    ConnectionDiedError: RetryRule("connection_died"),
    Http2ProtocolError: RetryRule("http2_protocol"),
    ProxyAuthenticationError: RetryRule("proxy_authentication", 0),
}

#: All reasons with which requests are retried.
RETRY_REASONS = tuple(
    rule.reason
    for rule in (
        *HANDSHAKE_RULES.values(),
        _UNAVAILABLE,
        _CRASHED,
        _HUNG,
        *_CONNECTION_RULES.values(),
    )
    if rule.max_retries != 0
)


class RetryDecision(NamedTuple):
    """The rule for an exception.

    Attributes:
        kind: of a failed handshake; None for any other failure.
        is_crash: whether a worker exited, or none can be had.
        is_rejection: whether no handshake was tried; `kind` is that of the origin's last one.
    """

    rule: RetryRule
    kind: FailureKind | None = None
    is_crash: bool = False
    is_rejection: bool = False


def decide(exception: BaseException) -> RetryDecision | None:
    """Find the rule for an exception; None if the middleware leaves it to others.

    Exceptions of other curl_cffi handlers count, too, raised directly or as a cause.
    """
    if isinstance(exception, OriginUnavailableError):
        return RetryDecision(_UNAVAILABLE, FailureKind(exception.kind), is_rejection=True)
    for error, rule in _CONNECTION_RULES.items():
        if isinstance(exception, error):
            return RetryDecision(rule)
    if isinstance(exception, HandshakeError):
        kind: FailureKind | None = FailureKind(exception.kind)
    elif isinstance(exception, WorkerCrashedError):
        rule = _HUNG if exception.hung else _CRASHED
        # A request that has even ended a worker of its own would end any.
        return RetryDecision(rule._replace(max_retries=0) if exception.alone else rule, None, True)
    else:
        kind = _kind_of_curl_error(exception)
    if kind is FailureKind.CONNECTION_DIED:
        return RetryDecision(_CONNECTION_RULES[ConnectionDiedError])
    if kind is None or not kind.is_handshake:
        return None
    return RetryDecision(HANDSHAKE_RULES[kind], kind)


def _kind_of_curl_error(exception: BaseException) -> FailureKind | None:
    """Classify an exception of curl_cffi, or one that was raised from it."""
    for error in (exception, exception.__cause__):
        code = getattr(error, "code", None)
        if isinstance(code, int) and type(error).__module__.startswith("curl_cffi"):
            return classify(int(code), str(error))
    return None

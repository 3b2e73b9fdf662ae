"""Finds the kind of a failed transfer, from libcurl's error and the state of the handle.

libcurl's errors get their `FailureKind` here and nowhere else. The table of codes and
texts is in `_ipc.failures`; here is what the handle and this machine add to it.
"""

from __future__ import annotations

import _thread
import errno
import os

from curl_cffi import CurlError, CurlInfo

from .._ipc.failures import CurlCode, FailureKind, classify
from .._ipc.messages import Failed, Fetch, Profile, TransferStats
from .._platform.system import system
from .easy import EasyHandle

# Errors of a connection attempt. Once another attempt has succeeded (RFC 8305, Happy Eyeballs),
# libcurl still reports the one that lost.
_ATTEMPT_FAILED = frozenset(
    {errno.EADDRNOTAVAIL, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH}
)


def describe_failure(
    fetch: Fetch, error: CurlError, easy: EasyHandle, profile: Profile, stats: TransferStats
) -> Failed:
    """Return the message about a failed transfer.

    Args:
        fetch: the request.
        error: libcurl's.
        easy: the transfer's handle, before it is used again.
        profile: of the request.
        stats: of the transfer.
    """
    code, detail = int(error.code), error_text(error)
    if easy.was_send_refused:
        times = "once" if easy.max_sends == 1 else "twice"
        kind, code = FailureKind.CONNECTION_DIED, 0
        if fetch.fresh_connection and easy.max_sends == 1:
            # libcurl sends nothing again that went out on a new connection, but for a stream of
            # HTTP/2 that was refused, by HTTP_1_1_REQUIRED, say (RFC 9113, section 7).
            kind = FailureKind.HTTP2_PROTOCOL
        detail = (
            f"Connection died before the answer began; a {fetch.method} is sent {times} at most"
        )
    elif code == CurlCode.WRITE_ERROR:
        kind, detail = FailureKind.NO_MEMORY, "no memory for the response"
    elif code == CurlCode.OPERATION_TIMEDOUT and not stats.connects and not _can_start_thread():
        # libcurl 8.21 waits for its name lookup, and does not notice that it never began.
        kind, detail = FailureKind.LOCAL, "a thread failed to start"
    else:
        system_error = _system_error(code, easy, stats)
        in_handshake = _is_in_handshake(easy, profile, stats)
        kind = classify(code, detail, in_handshake=in_handshake, system_error=system_error)
        if kind.is_handshake and easy.max_sends == 1 and easy.was_sent:
            # An idle connection died with the request, and there was no other one to replace it.
            kind = FailureKind.CONNECTION_DIED
        elif kind.is_handshake and not kind.is_local and _is_with_proxy(easy, profile):
            kind = FailureKind.PROXY_TLS
        reason = os.strerror(system_error) if system_error else ""
        if reason not in detail:
            detail += f": {reason}"
    return Failed(id=fetch.id, stats=stats, kind=kind, code=code, detail=detail)


def error_text(error: CurlError) -> str:
    """Return libcurl's own text, without what curl_cffi puts around it."""
    text = str(error).partition(f"curl: ({int(error.code)}) ")[2] or str(error)
    return text.removesuffix(
        ". See https://curl.se/libcurl/c/libcurl-errors.html first for more details."
    )


def _system_error(code: int, easy: EasyHandle, stats: TransferStats) -> int:
    """Return the errno of a connection that failed; 0 if the system gave none."""
    number = easy.get_number(CurlInfo.OS_ERRNO)
    if code != CurlCode.COULDNT_CONNECT and stats.connects and number in _ATTEMPT_FAILED:
        return 0
    if code == CurlCode.COULDNT_CONNECT and not number and not system.can_open_descriptor():
        return errno.EMFILE  # libcurl 8.15 reports nothing at all
    return number


def _is_with_proxy(easy: EasyHandle, profile: Profile) -> bool:
    """Tell whether a TLS handshake was one with the proxy, which has not yet answered."""
    is_tls = (profile.proxy or "").startswith("https:")
    return is_tls and not easy.get_number(CurlInfo.HTTP_CONNECTCODE)


def _is_in_handshake(easy: EasyHandle, profile: Profile, stats: TransferStats) -> bool:
    """Tell whether the origin was reached and no TLS handshake with it completed."""
    if not easy.url.startswith("https:") or stats.handshake_at is not None:
        return False
    # libcurl does not tell whether a SOCKS proxy has reached the origin.
    if (profile.proxy or "").startswith("http"):
        return easy.get_number(CurlInfo.HTTP_CONNECTCODE) == 200
    return stats.connects > 0  # which libcurl counts once TCP is up


def _can_start_thread() -> bool:
    try:
        _thread.start_new_thread(lambda: None, ())
    except (RuntimeError, MemoryError):
        return False
    return True

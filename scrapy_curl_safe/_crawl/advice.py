"""Advises what to do about handshakes that fail with an origin. Pure."""

from __future__ import annotations

from .._ipc.failures import FailureKind
from .._pool.origins import Origin

#: What each kind of failed handshake means.
MEANINGS = {
    FailureKind.SYSCALL: "the origin closes or resets the connection during the handshake",
    FailureKind.TIMEOUT: "the handshake does not complete in time",
    FailureKind.ALERT: "the origin sends a TLS alert",
    FailureKind.PROTOCOL: "the origin does not speak TLS",
    FailureKind.CERTIFICATE: "the certificate is refused",
    FailureKind.LOCAL: "this machine has no descriptor, port or thread left; the worker is "
    "replaced",
}

_WHATEVER_IS_DONE = {
    FailureKind.CERTIFICATE: "its certificate is not trusted here: SSL_CERT_FILE names the file of "
    "a private authority, and DOWNLOAD_VERIFY_CERTIFICATES = False accepts any",
    FailureKind.LOCAL: "this machine has run out of descriptors, ports, threads or memory: see "
    "ulimit -n, or lower CONCURRENT_REQUESTS",
}
# If no handshake was ever done, their number is not to blame.
_NONE_DONE = {
    **_WHATEVER_IS_DONE,
    FailureKind.SYSCALL: "{it} has closed the connection during every handshake: it may be down, "
    "or refuse this address or this browser. `{probe}` tells them apart",
    FailureKind.TIMEOUT: "{it} accepts connections and has answered no handshake: it may be down, "
    "or ignore this address or this browser. `{probe}` tells them apart",
    FailureKind.ALERT: "it refuses this browser's handshake: try another CURL_SAFE_IMPERSONATE. "
    "`{probe}` tries some",
    FailureKind.PROTOCOL: "the server there does not speak TLS: check the scheme and the port of "
    "the URLs",
}
_SOME_DONE = {
    **_WHATEVER_IS_DONE,
    FailureKind.SYSCALL: "{it} closes connections: it may allow fewer at once "
    "(CONCURRENT_REQUESTS_PER_DOMAIN) or have begun to refuse this address. `{probe}` says how "
    "many it takes",
    FailureKind.TIMEOUT: "{it} accepts connections and does not answer: it is overloaded or drops "
    "packets. Try fewer at once (CONCURRENT_REQUESTS_PER_DOMAIN), or a longer DOWNLOAD_TIMEOUT",
    FailureKind.ALERT: "some of its servers refuse this browser's handshake: try another "
    "CURL_SAFE_IMPERSONATE",
    FailureKind.PROTOCOL: "some of its servers, or something on the way, do not answer in TLS",
}


def advice(origin: Origin) -> str:
    """Say how most handshakes with an origin failed, and what may help.

    Args:
        origin: with one failed handshake at least.
    """
    ((kind, count),) = origin.failures.most_common(1)
    limit = f" (limit now {origin.limit.value})" if origin.limit.is_lowered else ""
    return (
        f"Most failed handshakes were with {origin.route}, {count} by {kind.value}{limit}: "
        f"{what_helps(origin)}"
    )


def what_helps(origin: Origin) -> str:
    """Say what may help against the most frequent failure of an origin.

    Args:
        origin: with one failed handshake at least.
    """
    ((kind, _),) = origin.failures.most_common(1)
    texts = _SOME_DONE if origin.handshakes_done else _NONE_DONE
    return texts[kind].format(
        it="it" if origin.route.proxy is None else "it or the proxy", probe=probe_command(origin)
    )


def probe_command(origin: Origin) -> str:
    """Return the command that finds out why handshakes with an origin fail."""
    route = origin.route
    through = "" if route.proxy is None else f" --proxy {route.proxy}"
    return f"scrapy curlsafe probe {route.origin}{through}"

"""Advises what to do about handshakes that fail with an origin. Pure."""

from __future__ import annotations

from .._ipc.failures import FailureKind
from .._pool.origins import Origin

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
    route = origin.route
    texts = _SOME_DONE if origin.handshakes_done else _NONE_DONE
    text = texts[kind].format(
        it="it" if route.proxy is None else "it or the proxy",
        probe=f"scrapy curlsafe probe {route.origin}"
        + ("" if route.proxy is None else f" --proxy {route.proxy}"),
    )
    return f"Most fail with {route}, {count} by {kind.value}{limit}: {text}"

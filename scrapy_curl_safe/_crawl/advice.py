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
_TOO_FEW = "these are too few to tell why. `{probe}` finds out"
# Fewer handshakes with an origin may fail by chance, and fewer still where none succeeds.
_LEAST_TRIED, _LEAST_FAILED = 10, 5


def advice(origin: Origin, failed: int) -> str:
    """Say how handshakes with an origin failed, and what may help.

    Args:
        origin: the one with the most failed handshakes, and with one at least.
        failed: how many handshakes failed in all, with whatever origin.
    """
    ((kind, count),) = origin.failures.most_common(1)
    here = origin.failures.total()
    limit = f" (limit now {origin.limit.value})" if origin.limit.is_lowered else ""
    proxy = origin.route.proxy
    where = origin.route.origin if proxy is None else f"{origin.route.origin} through {proxy}"
    if 2 * here > failed:
        who = f"Most failed handshakes were with {where}"
    else:
        through = "" if proxy is None else " through one proxy"
        who = f"The most failed handshakes of one origin{through} were with {where}: "
        who += f"{here} of {failed}"
    return f"{who}, {count} by {kind.value}{limit}: {what_helps(origin)}"


def what_helps(origin: Origin) -> str:
    """Say what may help against the most frequent failure of an origin.

    Args:
        origin: with one failed handshake at least.
    """
    ((kind, _),) = origin.failures.most_common(1)
    texts = _SOME_DONE if origin.handshakes_done else _NONE_DONE
    text = texts[kind]
    if kind not in _WHATEVER_IS_DONE and not _is_telling(origin):
        text = _TOO_FEW
    return text.format(
        it="it" if origin.route.proxy is None else "it or the proxy", probe=probe_command(origin)
    )


def _is_telling(origin: Origin) -> bool:
    """Tell whether an origin has had enough handshakes for a judgement."""
    failed, done = origin.failures.total(), origin.handshakes_done
    return failed + done >= _LEAST_TRIED or (failed >= _LEAST_FAILED and not done)


def probe_command(origin: Origin) -> str:
    """Return the command that finds out why handshakes with an origin fail. Where the proxy has a
    user, the command has placeholders."""
    command = f"scrapy curlsafe probe {origin.route.origin}"
    proxy = origin.route.proxy
    if proxy is None:
        return command
    if origin.has_proxy_user:
        scheme, _, location = proxy.partition("://")
        proxy = f"{scheme}://USER:PASSWORD@{location}"
    return f"{command} --proxy {proxy}"

"""Transfers whose names the C library looks up, because something redirects its lookups.

Before libcurl looks up a name itself, it asks (CURLOPT_RESOLVER_START_FUNCTION). The answer is no,
which ends the transfer before anything is sent. It starts again when the addresses are known:

    transfer without addresses --> lookups --> transfer with addresses

libcurl keeps these addresses as long as those that it finds itself. A transfer needs no lookup if
its connection is open already, or if libcurl has the addresses of the host.
"""

from __future__ import annotations

import time
from functools import partial
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from curl_cffi import CurlError, CurlInfo, CurlOpt

from .._ipc.failures import CurlCode
from .easy import EasyHandle
from .lookups import LookupResult, Lookups
from .loop import Loop, LoopTimer
from .multi import Multi, OnEnd

_TIMEOUT_MS = int(CurlOpt.TIMEOUT_MS)
_REQUEST_SIZE = int(CurlInfo.REQUEST_SIZE)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DEFAULT_PROXY_PORTS = {"https": 443}
_DEFAULT_PROXY_PORT = 1080
# Proxies that are given the origin's address, not its name.
_PROXIES_WITHOUT_LOOKUPS = ("socks4", "socks5")


# The codes of a transfer that ended for lack of an address: the first since 8.21, others before.
_LOOKUP_CODES = (
    CurlCode.ABORTED_BY_CALLBACK,
    CurlCode.COULDNT_RESOLVE_HOST,
    CurlCode.COULDNT_RESOLVE_PROXY,
)


class _Host(NamedTuple):
    """Something that libcurl connects to.

    Attributes:
        name: as libcurl looks it up.
        port: of the connection.
        code: libcurl's code for such a host without an address.
    """

    name: str
    port: int
    code: CurlCode


class RedirectedMulti(Multi):
    """A multi handle that never looks up a name by itself.

    Args:
        loop: of the worker.
        lookups: looks up names instead.
        proxy: of the transfers; None for none.
    """

    def __init__(self, loop: Loop, lookups: Lookups, proxy: str | None) -> None:
        super().__init__(loop)
        self._lookups = lookups
        self._proxy = proxy
        self._waits: dict[EasyHandle, _Wait] = {}

    def add(self, easy: EasyHandle, on_end: OnEnd) -> None:
        easy.forbid_lookups()
        super().add(easy, lambda error: self._on_first_end(easy, on_end, error))

    def remove(self, easy: EasyHandle) -> None:
        wait = self._waits.pop(easy, None)
        if wait is None:
            super().remove(easy)
        else:
            wait.cancel()

    def _on_first_end(self, easy: EasyHandle, on_end: OnEnd, error: CurlError | None) -> None:
        if not _lacked_address(easy, error):
            on_end(error)
        elif easy.get_number(_REQUEST_SIZE):
            # An idle connection died with the request, and libcurl wanted to send it again. If the
            # transfer started anew, libcurl would not know that the request was sent before.
            on_end(_error(CurlCode.RECV_ERROR, "Connection died before the answer began"))
        else:
            self._look_up(easy, on_end)

    def _look_up(self, easy: EasyHandle, on_end: OnEnd) -> None:
        def on_wait_end(error: CurlError | None) -> None:
            del self._waits[easy]
            if error is None:
                self._add_again(easy, on_end)
            else:
                on_end(error)

        try:
            hosts = _hosts(easy.url, self._proxy)
        except ValueError as error:
            on_end(_unresolved(CurlCode.COULDNT_RESOLVE_HOST, easy.url, str(error)))
            return
        self._waits[easy] = _Wait(self._loop, self._lookups, easy, hosts, on_wait_end)

    def _add_again(self, easy: EasyHandle, on_end: OnEnd) -> None:
        def on_second_end(error: CurlError | None) -> None:
            if _lacked_address(easy, error):
                # For example, the profile's local address is a name.
                why = "only the names of the origin and its proxy are looked up"
                error = _unresolved(CurlCode.COULDNT_RESOLVE_HOST, easy.url, why)
            on_end(error)

        easy.forbid_lookups()
        try:
            super().add(easy, on_second_end)
        except CurlError as error:
            on_end(error)


def _lacked_address(easy: EasyHandle, error: CurlError | None) -> bool:
    """Tell whether a transfer failed because libcurl was not allowed to look up a name.

    It can do without some lookups, such as that of the HTTPS record if it has the origin's address.
    """
    if error is None or not easy.wanted_lookup or easy.was_send_refused:
        return False
    return error.code in _LOOKUP_CODES


class _Wait:
    """A transfer's wait for addresses, which are then set on its handle.

    Args:
        loop: of the worker.
        lookups: finds the addresses.
        easy: the transfer's handle. Its timeout bounds the wait, and the wait shortens it.
        hosts: the hosts to look up.
        on_end: called once, with the error if there is one; never after `cancel`.
    """

    def __init__(
        self, loop: Loop, lookups: Lookups, easy: EasyHandle, hosts: list[_Host], on_end: OnEnd
    ) -> None:
        self._easy = easy
        self._missing = len(hosts)
        self._entries: list[bytes] = []
        self._on_end: OnEnd | None = on_end
        self._began = time.monotonic()
        self._timeout_ms = easy.number(_TIMEOUT_MS)
        self._timer = LoopTimer(loop, self._on_timeout)
        if self._timeout_ms:
            self._timer.set(self._timeout_ms / 1000)
        for host in hosts:
            lookups.start(host.name, partial(self._on_result, host))

    def cancel(self) -> None:
        self._timer.set(None)
        self._on_end = None

    def _on_result(self, host: _Host, result: LookupResult) -> None:
        if isinstance(result, OSError):
            self._finish(_unresolved(host.code, host.name, result.strerror or str(result)))
            return
        self._entries.append(_entry(host, result))
        self._missing -= 1
        if self._missing or self._on_end is None:
            return
        self._easy.shorten_timeout(time.monotonic() - self._began)
        self._easy.set_addresses(self._entries)
        self._finish(None)

    def _on_timeout(self) -> None:
        text = f"Resolving timed out after {self._timeout_ms} milliseconds"
        self._finish(_error(CurlCode.OPERATION_TIMEDOUT, text))

    def _finish(self, error: CurlError | None) -> None:
        on_end = self._on_end
        self.cancel()
        if on_end is not None:
            on_end(error)


def _hosts(url: str, proxy: str | None) -> list[_Host]:
    """Return the hosts that a transfer may connect to or, through its proxy, name by address.

    Raises:
        ValueError: the URL of the origin or of the proxy is not valid.
    """
    if proxy is None:
        return [_host(url, CurlCode.COULDNT_RESOLVE_HOST)]
    hosts = [_host(proxy, CurlCode.COULDNT_RESOLVE_PROXY)]
    if proxy.partition(":")[0].lower() in _PROXIES_WITHOUT_LOOKUPS:
        hosts.append(_host(url, CurlCode.COULDNT_RESOLVE_HOST))
    return hosts


def _host(url: str, code: CurlCode) -> _Host:
    parts = urlsplit(url)
    if code is CurlCode.COULDNT_RESOLVE_PROXY:
        port = _DEFAULT_PROXY_PORTS.get(parts.scheme, _DEFAULT_PROXY_PORT)
    else:
        port = _DEFAULT_PORTS[parts.scheme]
    name = unquote(parts.hostname or "")
    if not name.isascii():
        name = name.encode("idna").decode()
    return _Host(name, parts.port or port, code)


def _entry(host: _Host, addresses: list[str]) -> bytes:
    """Return an entry of CURLOPT_RESOLVE, with a "+" so that libcurl forgets it in time."""
    name, *bracketed = (f"[{text}]" if ":" in text else text for text in [host.name, *addresses])
    return f"+{name}:{host.port}:{','.join(bracketed)}".encode()


def _unresolved(code: CurlCode, name: str, why: str) -> CurlError:
    what = "proxy" if code is CurlCode.COULDNT_RESOLVE_PROXY else "host"
    return _error(code, f"Could not resolve {what}: {name} ({why})")


def _error(code: CurlCode, text: str) -> CurlError:
    return CurlError(text, code)

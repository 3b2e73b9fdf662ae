"""The origin's certificate of every TLS response, and whether its handshake was resumed.

libcurl tells a certificate only to the transfer whose handshake brought it. One on a warm
connection gets that of the connection, whose first transfer may still be under way; one
whose handshake resumed a TLS session, in which no certificate is sent (RFC 8446, section
2.2), that of the last full handshake with the same origin.
"""

from __future__ import annotations

import ctypes
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from curl_cffi import CurlInfo, ffi, lib

from .easy import EasyHandle


class _Slist(ctypes.Structure):
    """libcurl's struct curl_slist."""


_Slist._fields_ = [("data", ctypes.c_char_p), ("next", ctypes.POINTER(_Slist))]


class _CertInfo(ctypes.Structure):
    """libcurl's struct curl_certinfo.

    curl_cffi's getinfo() reads the answer to CURLINFO_CERTINFO as a list of strings, which it
    is not (seen with curl_cffi 0.16.3): https://curl.se/libcurl/c/CURLINFO_CERTINFO.html
    """

    _fields_ = (
        ("num_of_certs", ctypes.c_int),
        ("certinfo", ctypes.POINTER(ctypes.POINTER(_Slist))),
    )


_FIELD = b"Cert:"
_NUM_CONNECTS = int(CurlInfo.NUM_CONNECTS)

_MOST_ORIGINS = 1024

_K = TypeVar("_K")


class Certificates:
    """What is known of the certificates of one session, as DER.

    Args:
        transfers: those of the session that are under way.
    """

    def __init__(self, transfers: Callable[[], Iterable[EasyHandle]]) -> None:
        self._transfers = transfers
        self._of_connection: _Recent[int] = _Recent()
        self._of_origin: _Recent[str] = _Recent()

    def of(self, handle: EasyHandle) -> tuple[bytes | None, bool]:
        """The certificate of a transfer that has its response's headers or has failed, and
        whether the handshake that it made, if it made one, was resumed.

        Args:
            handle: its own, with CURLOPT_CERTINFO set.
        """
        connected = bool(handle.number(_NUM_CONNECTS))
        found = self._find(handle, connected)
        if found is None:
            # The transfer that brought it has been overtaken by this one.
            for transfer in self._transfers():
                self._learn(transfer)
            found = self._find(handle, connected)
        if found is None:
            return None, connected
        certificate, resumed = found
        if connected:
            self._keep(handle, certificate)
        return certificate, resumed

    def _find(self, handle: EasyHandle, connected: bool) -> tuple[bytes, bool] | None:
        if not connected:
            known = self._of_connection.get(handle.connection)
            return (known, False) if known else None
        certificate = _leaf(handle)
        if certificate is not None:
            return certificate, False
        known = self._of_origin.get(_origin(handle.url))
        return (known, True) if known else None

    def _learn(self, transfer: EasyHandle) -> None:
        certificate = _leaf(transfer) if transfer.number(_NUM_CONNECTS) else None
        if certificate is not None:
            self._keep(transfer, certificate)

    def _keep(self, handle: EasyHandle, certificate: bytes) -> None:
        self._of_origin.put(_origin(handle.url), certificate)
        if handle.connection >= 0:
            self._of_connection.put(handle.connection, certificate)


def _origin(url: str) -> str:
    return _origin_of_authority(url.partition("://")[2].partition("/")[0])


@lru_cache(_MOST_ORIGINS)
def _origin_of_authority(authority: str) -> str:
    parts = urlsplit(f"//{authority}")
    return f"{parts.hostname}:{parts.port}"


class _Recent(Generic[_K]):
    """A mapping that forgets what was put into it long ago."""

    _MOST = 4096

    def __init__(self) -> None:
        self._values: OrderedDict[_K, bytes] = OrderedDict()

    def get(self, key: _K) -> bytes | None:
        return self._values.get(key)

    def put(self, key: _K, value: bytes) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._MOST:
            self._values.popitem(last=False)


def _leaf(handle: EasyHandle) -> bytes | None:
    """The first certificate of the chain, or None where no handshake brought one."""
    answer = ffi.new("void **")
    if lib.curl_easy_getinfo(handle._curl, CurlInfo.CERTINFO, answer) or not answer[0]:
        return None
    info = _CertInfo.from_address(int(ffi.cast("uintptr_t", answer[0])))
    field = info.certinfo[0] if info.num_of_certs else None
    while field:
        text: bytes = field.contents.data
        if text.startswith(_FIELD):
            return ssl.PEM_cert_to_DER_cert(text[len(_FIELD) :].decode("ascii"))
        field = field.contents.next
    return None

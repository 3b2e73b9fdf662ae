"""Finds the origin's certificate for every TLS response, and whether its handshake was resumed.

libcurl reports a certificate only for the transfer whose handshake brought it. A transfer on a
reused connection gets the certificate of the connection, whose first transfer may still be under
way. A transfer whose handshake resumed a TLS session, in which no certificate is sent (RFC 8446,
section 2.2), gets that of the last full handshake with the same origin.
"""

from __future__ import annotations

import ctypes
import ssl
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from curl_cffi import CurlInfo

from .curl_api import easy_getinfo, ffi
from .easy import NUM_CONNECTS, EasyHandle


class _Slist(ctypes.Structure):
    """libcurl's struct curl_slist."""


_Slist._fields_ = [("data", ctypes.c_char_p), ("next", ctypes.POINTER(_Slist))]


class _CertInfo(ctypes.Structure):
    """libcurl's struct curl_certinfo.

    curl_cffi's getinfo() mistakes the answer to CURLINFO_CERTINFO for a list of strings (seen with
    curl_cffi 0.16.3): https://curl.se/libcurl/c/CURLINFO_CERTINFO.html
    """

    _fields_ = (
        ("num_of_certs", ctypes.c_int),
        ("certinfo", ctypes.POINTER(ctypes.POINTER(_Slist))),
    )


_PEM_FIELD = b"Cert:"
_CERTINFO = int(CurlInfo.CERTINFO)

_MAX_CERTIFICATES = 4096
_MAX_AUTHORITIES = 1024

_K = TypeVar("_K")


class CertificateCache:
    """The certificates that one session has seen, as DER.

    Args:
        transfers: returns the handles of the session's transfers that are under way.
    """

    def __init__(self, transfers: Callable[[], Iterable[EasyHandle]]) -> None:
        self._transfers = transfers
        self._by_connection: _BoundedCache[int] = _BoundedCache()
        self._by_host: _BoundedCache[str] = _BoundedCache()

    def find(self, easy: EasyHandle) -> tuple[bytes | None, bool]:
        """Find the certificate of a transfer that has its response's head, or has failed.

        Args:
            easy: handle of the transfer, with CURLOPT_CERTINFO set.

        Returns:
            The certificate, None if there is none, and whether the transfer resumed a TLS session.
        """
        has_connected = bool(easy.get_number(NUM_CONNECTS))
        found = self._find(easy, has_connected)
        if found is None:
            # The transfer that brought the certificate may end after this one.
            for transfer in self._transfers():
                self._learn(transfer)
            found = self._find(easy, has_connected)
        if found is None:
            return None, has_connected
        certificate, resumed = found
        if has_connected:
            self._remember(easy, certificate)
        return certificate, resumed

    def _find(self, easy: EasyHandle, has_connected: bool) -> tuple[bytes, bool] | None:
        if not has_connected:
            known = self._by_connection.get(easy.connection_id)
            return (known, False) if known else None
        certificate = _leaf_certificate(easy)
        if certificate is not None:
            return certificate, False
        known = self._by_host.get(_host_and_port(easy.url))
        return (known, True) if known else None

    def _learn(self, transfer: EasyHandle) -> None:
        certificate = _leaf_certificate(transfer) if transfer.get_number(NUM_CONNECTS) else None
        if certificate is not None:
            self._remember(transfer, certificate)

    def _remember(self, easy: EasyHandle, certificate: bytes) -> None:
        self._by_host.put(_host_and_port(easy.url), certificate)
        if easy.connection_id >= 0:
            self._by_connection.put(easy.connection_id, certificate)


class NoCertificates(CertificateCache):
    """Stands in for the certificates where curl_cffi gives no access to them."""

    def find(self, easy: EasyHandle) -> tuple[bytes | None, bool]:
        """Find none, and count each handshake as a full one."""
        return None, False


#: The class of a session's certificates.
certificates_of = CertificateCache if easy_getinfo is not None else NoCertificates


def _host_and_port(url: str) -> str:
    return _normalized(url.partition("://")[2].partition("/")[0])


@lru_cache(_MAX_AUTHORITIES)
def _normalized(authority: str) -> str:
    parts = urlsplit(f"//{authority}")
    return f"{parts.hostname}:{parts.port}"


class _BoundedCache(Generic[_K]):
    """A mapping that forgets its oldest entries."""

    def __init__(self) -> None:
        self._values: OrderedDict[_K, bytes] = OrderedDict()

    def get(self, key: _K) -> bytes | None:
        return self._values.get(key)

    def put(self, key: _K, value: bytes) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > _MAX_CERTIFICATES:
            self._values.popitem(last=False)


def _leaf_certificate(easy: EasyHandle) -> bytes | None:
    """Return the first certificate of the chain; None if no handshake brought one."""
    answer = ffi.new("void **")
    if easy_getinfo(easy.pointer, _CERTINFO, answer) or not answer[0]:
        return None
    info = _CertInfo.from_address(int(ffi.cast("uintptr_t", answer[0])))
    field = info.certinfo[0] if info.num_of_certs else None
    while field:
        text: bytes = field.contents.data
        if text.startswith(_PEM_FIELD):
            return ssl.PEM_cert_to_DER_cert(text[len(_PEM_FIELD) :].decode("ascii"))
        field = field.contents.next
    return None

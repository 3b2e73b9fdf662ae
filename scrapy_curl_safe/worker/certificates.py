"""The origin's certificate of every TLS response, and whether its handshake was resumed.

libcurl tells a certificate only to the transfer whose handshake brought it. One on a warm
connection gets that of the connection; one whose handshake resumed a TLS session, in which
no certificate is sent (RFC 8446, section 2.2), that of the last full handshake with the
same origin.
"""

from __future__ import annotations

import ctypes
import ssl
from collections import OrderedDict
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from curl_cffi import CurlInfo, ffi, lib

from .handle import Handle


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
_CONN_ID = int(CurlInfo.CONN_ID)
_NUM_CONNECTS = int(CurlInfo.NUM_CONNECTS)

_K = TypeVar("_K")


class Certificates:
    """What is known of the certificates of one session, as DER."""

    def __init__(self) -> None:
        self._of_connection: _Recent[int] = _Recent()
        self._of_origin: _Recent[str] = _Recent()

    def of(self, handle: Handle, url: str) -> tuple[bytes | None, bool]:
        """The certificate of a transfer that has its response's headers, and whether the
        handshake that it made, if it made one, was resumed.

        Args:
            handle: its own, with CURLOPT_CERTINFO set.
            url: what it downloads.
        """
        connection = handle.number(_CONN_ID)
        if not handle.number(_NUM_CONNECTS):
            return self._of_connection.get(connection), False
        parts = urlsplit(url)
        origin = f"{parts.hostname}:{parts.port}"
        certificate = _leaf(handle)
        resumed = certificate is None
        if certificate is None:
            certificate = self._of_origin.get(origin)
        if certificate is not None:
            self._of_origin.put(origin, certificate)
            self._of_connection.put(connection, certificate)
        return certificate, resumed


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


def _leaf(handle: Handle) -> bytes | None:
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

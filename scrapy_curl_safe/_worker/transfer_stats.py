"""Reads the stats of a transfer (curl_easy_getinfo(3))."""

from __future__ import annotations

from curl_cffi import CurlInfo

from .._ipc.messages import TransferStats
from .easy import NUM_CONNECTS, EasyHandle

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_CONNECT_TIME = int(CurlInfo.CONNECT_TIME_T)
_APPCONNECT_TIME = int(CurlInfo.APPCONNECT_TIME_T)
_STARTTRANSFER_TIME = int(CurlInfo.STARTTRANSFER_TIME_T)
_TOTAL_TIME = int(CurlInfo.TOTAL_TIME_T)
_REQUEST_SIZE = int(CurlInfo.REQUEST_SIZE)
_SIZE_UPLOAD = int(CurlInfo.SIZE_UPLOAD_T)
_HEADER_SIZE = int(CurlInfo.HEADER_SIZE)

_MICROSECONDS = 1e6


def read_stats(easy: EasyHandle, *, received: int, resumed: bool) -> TransferStats:
    """Read the stats of a transfer, so far or at its end.

    Args:
        received: bytes of the response's body.
        resumed: whether the transfer resumed a TLS session, which libcurl does not tell.
    """
    number = easy.get_number
    connects = number(NUM_CONNECTS)
    # A time of 0 means that it did not happen.
    return TransferStats(
        connects=connects,
        connected_at=number(_CONNECT_TIME) / _MICROSECONDS or None if connects else None,
        handshake_at=number(_APPCONNECT_TIME) / _MICROSECONDS or None if connects else None,
        first_byte_at=number(_STARTTRANSFER_TIME) / _MICROSECONDS or None,
        ended_at=number(_TOTAL_TIME) / _MICROSECONDS,
        bytes_sent=number(_REQUEST_SIZE) + number(_SIZE_UPLOAD),
        bytes_received=number(_HEADER_SIZE) + received,
        resumed=resumed,
        resends=easy.resends,
    )

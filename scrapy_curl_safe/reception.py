"""From what a worker says of a download to Scrapy's Response, or the right exception."""

from __future__ import annotations

import ipaddress
import logging
import time
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from pydispatch import dispatcher
from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadCancelledError, StopDownload
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes
from scrapy.utils.httpobj import urlparse_cached
from twisted.python.failure import Failure

from .figures import handshake_time
from .wire import Chunk, Done, FromWorker, Head, TooLarge, Transfer, Warned

logger = logging.getLogger(__name__)

_HEARD = {signals.headers_received, signals.bytes_received, dispatcher.Any}


def is_heard(crawler: Crawler) -> bool:
    """Whether anything listens to a download while it runs."""
    # As dispatcher.getAllReceivers() would find out, whose 6 µs a request would pay twice.
    return any(
        not _HEARD.isdisjoint(dispatcher.connections.get(id(sender), ()))
        for sender in (crawler, dispatcher.Any)
    )


@lru_cache(1024)
def _address(ip: str) -> IPv4Address | IPv6Address:
    return ipaddress.ip_address(ip)


@lru_cache(1024)
def _title(name: bytes) -> bytes:
    return name.title()


@lru_cache(1024)
def _class_of(content_type: bytes, content_encoding: bytes | None) -> type[Response]:
    return responsetypes.from_content_type(content_type, content_encoding)


def make_headers(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """As `Headers(pairs)`, in a quarter of the time: the names are normalized once for all."""
    lists: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        lists.setdefault(_title(name), []).append(value)
    headers = Headers()
    dict.update(headers, lists)
    return headers


def response_class(headers: Headers, url: str, body: bytes) -> type[Response]:
    """As `responsetypes.from_args`, which asks no further where the Content-Type has told."""
    content_type = headers.get(b"Content-Type")
    if content_type is not None:
        found = _class_of(content_type, headers.get(b"Content-Encoding"))
        if found is not Response:
            return found
    return responsetypes.from_args(headers=headers, url=url, body=body)


class Reception:
    """Hears of one download, from its first message to its outcome."""

    def __init__(self, crawler: Crawler, request: Request) -> None:
        self._crawler = crawler
        self._request = request
        self._started = 0.0
        self._head: Head | None = None
        self._headers: Headers | None = None
        self._body: list[bytes] = []
        self._stop: StopDownload | None = None

    def on_sent(self) -> None:
        self._started = time.monotonic()

    def on_message(self, message: FromWorker, body: bytes) -> bool:
        """Of a streamed download, and warnings of any.

        Returns:
            Whether to go on; False once a signal's receiver has raised StopDownload.
        """
        if isinstance(message, Head):
            self._head = message
            self._headers = make_headers(message.headers)
            self._request.meta["download_latency"] = time.monotonic() - self._started
            self._signal(
                signals.headers_received, headers=self._headers, body_length=self._expected_size()
            )
        elif isinstance(message, Chunk):
            self._body.append(body)
            self._signal(signals.bytes_received, data=body)
        elif isinstance(message, Warned):
            logger.warning(
                "%s %d bytes for %s, more than its download warn size (%s)",
                "Expecting" if message.expected else "Received",
                message.size,
                self._request,
                self._request.meta.get("download_warnsize", "DOWNLOAD_WARNSIZE"),
            )
        return self._stop is None

    def stopped(self) -> tuple[Transfer, Response, StopDownload]:
        """What had come when StopDownload was raised, and that exception."""
        assert self._head is not None
        assert self._stop is not None
        assert self._head.transfer is not None
        response = self._response(self._head, b"".join(self._body), ["download_stopped"])
        self._stop.response = response
        return self._head.transfer, response, self._stop

    def done(self, done: Done, body: bytes) -> Response:
        if done.head is not None:
            transfer = done.transfer
            of_body = transfer.ended_at - (transfer.first_byte_at or transfer.ended_at)
            latency = time.monotonic() - self._started - of_body
            self._request.meta["download_latency"] = max(0.0, latency)
        head = done.head or self._head
        assert head is not None
        return self._response(
            head, body or b"".join(self._body), ["dataloss"] if done.dataloss else None
        )

    def too_large(self, outcome: TooLarge) -> DownloadCancelledError:
        message = (
            f"{'Expected' if outcome.expected else 'Received'} {outcome.size} bytes for "
            f"{self._request}, more than its download max size"
        )
        logger.warning(message)
        return DownloadCancelledError(message)

    def _response(self, head: Head, body: bytes, flags: list[str] | None) -> Response:
        headers = self._headers if self._headers is not None else make_headers(head.headers)
        url = self._request.url
        if head.tls is not None:
            version, _, cipher = head.tls.partition(" / ")
            logger.debug(
                "TLS connection to %s: protocol %s, cipher %s",
                urlparse_cached(self._request).hostname,
                version,
                cipher.partition(" / ")[0],
            )
        return response_class(headers, url, body)(
            url=url,
            status=head.status,
            headers=headers,
            body=body,
            flags=flags,
            certificate=head.certificate,
            ip_address=_address(head.ip) if head.ip else None,
            protocol=head.protocol,
        )

    def _expected_size(self) -> int | None:
        assert self._headers is not None
        length = self._headers.get("Content-Length")
        # Python reads no number of thousands of digits, which an origin can send.
        if length is None or not length.isdigit() or len(length) > 19:
            return None
        return int(length)

    def _signal(self, signal: object, **arguments: Any) -> None:
        results = self._crawler.signals.send_catch_log(
            signal, request=self._request, spider=self._crawler.spider, **arguments
        )
        for receiver, result in results:
            if isinstance(result, Failure) and isinstance(result.value, StopDownload):
                logger.debug("Download of %s stopped by %s", self._request, receiver)
                self._stop = result.value


def info_of(transfer: Transfer, worker: int, attempt: int) -> dict[str, Any]:
    """`response.meta["curl_safe_info"]`.

    Keys:
        worker: number of the worker
        connection_reused: whether the connection was warm
        handshake_time: seconds; `None` where the connection was warm or plain
        time_to_first_byte: seconds
        wire_bytes_sent: as libcurl counts them, without TLS
        wire_bytes_received: as libcurl counts them, without TLS
        attempt: 1 for the first try
    """
    first_byte = transfer.first_byte_at
    return {
        "worker": worker,
        "connection_reused": transfer.connects == 0,
        "handshake_time": handshake_time(transfer),
        "time_to_first_byte": first_byte if first_byte is not None else transfer.ended_at,
        "wire_bytes_sent": transfer.bytes_sent,
        "wire_bytes_received": transfer.bytes_received,
        "attempt": attempt,
    }

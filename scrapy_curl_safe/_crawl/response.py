"""Turns what a worker says of a download into Scrapy's Response, or the right exception."""

from __future__ import annotations

import ipaddress
import logging
import time
from functools import lru_cache
from http import HTTPStatus
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag

from msgspec.structs import replace
from scrapy import Request, signals
from scrapy.exceptions import DownloadCancelledError, DownloadFailedError, StopDownload
from scrapy.http import Headers, Response
from scrapy.utils.httpobj import urlparse_cached
from twisted.python.failure import Failure

from .._ipc.body_files import WrittenFile
from .._ipc.failures import FailureKind
from .._ipc.framing import MAX_BODY_BYTES
from .._ipc.messages import (
    Cancelled,
    Chunk,
    Completed,
    Failed,
    InvalidRequest,
    ResponseHead,
    SizeWarning,
    TooLarge,
    TransferStats,
)
from .._pool.origins import Origin
from .._pool.request import Result
from ..exceptions import ConnectionDiedError, HandshakeError, Http2ProtocolError
from .decoded_bodies import DecodedBody
from .errors import download_error
from .file_target import FILE_FLAG, FileTarget, cannot_write
from .meta import AVOID, CRASHES, FRESH, HTTP1_ORIGIN, UNSENT, end_tries
from .scrapy_api import make_headers, response_class
from .scrapys_words import size_message, tls_messages, too_large_for_memory_message

if TYPE_CHECKING:
    from .context import CrawlContext

logger = logging.getLogger(__name__)

# Of digits: Python reads no number of thousands of them, which an origin can send.
_LONGEST_LENGTH = 19


@lru_cache(1024)
def _address(ip: str) -> IPv4Address | IPv6Address:
    return ipaddress.ip_address(ip)


class ResponseAssembler:
    """Hears of one download, and makes of it what the handler returns or raises.

    Args:
        request: what is downloaded.
        context: of the crawl.
        file: that the body goes to; None for none.

    Attributes:
        head: of the response, once it has come ahead of the outcome.
    """

    def __init__(
        self, request: Request, context: CrawlContext, file: FileTarget | None = None
    ) -> None:
        self._request = request
        self._file = file
        self._file_info: dict[str, Any] | None = None
        self._context = context
        self._sent_at = 0.0
        self.head: ResponseHead | None = None
        self._headers: Headers | None = None
        self._body: list[bytes] = []
        self._stop: StopDownload | None = None

    # While the download runs (see `Listener` in `_pool.request`)

    def on_sent(self) -> None:
        self._sent_at = time.monotonic()

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> bool:
        """Take what comes ahead of the outcome.

        Returns:
            False once a receiver of a signal has raised StopDownload.
        """
        if isinstance(message, ResponseHead):
            self.head = message
            self._headers = make_headers(message.headers)
            self._request.meta["download_latency"] = time.monotonic() - self._sent_at
            self._signal(
                signals.headers_received, headers=self._headers, body_length=self._content_length()
            )
        elif isinstance(message, Chunk):
            self._body.append(body)
            self._signal(signals.bytes_received, data=body)
        else:
            logger.warning(size_message(message, "warn", self._request))
        return self._stop is None

    def _content_length(self) -> int | None:
        assert self._headers is not None
        length = self._headers.get("Content-Length")
        if length is None or not length.isdigit() or len(length) > _LONGEST_LENGTH:
            return None
        return int(length)

    def _signal(self, signal: object, **arguments: Any) -> None:
        results = self._context.signals.send(signal, request=self._request, **arguments)
        for receiver, result in results:
            if isinstance(result, Failure) and isinstance(result.value, StopDownload):
                logger.debug("Download of %s stopped by %s", self._request, receiver)
                self._stop = result.value

    # At its end

    def finish(self, result: Result, origin: Origin) -> Response:
        """Return the response.

        Args:
            origin: of the request.

        Raises:
            Exception: as `CurlSafeDownloadHandler.download_request` documents them.
        """
        outcome, request = result.outcome, self._request
        if outcome is None:
            transfer, response = self._stopped()
        elif isinstance(outcome, Completed):
            transfer, response = outcome.stats, self._completed(outcome, result.body)
        elif isinstance(outcome, InvalidRequest):
            raise ValueError(f"{request} cannot be sent: {outcome.detail}")
        elif isinstance(outcome, TooLarge):
            self._count(outcome.stats)
            raise self._too_large(outcome)
        else:
            assert not isinstance(outcome, Cancelled)
            raise self._failed(outcome, result.slot, origin)
        request.meta.pop(CRASHES, None)
        request.meta.pop(UNSENT, None)
        self._count(transfer)
        self._context.stats.response(transfer)
        retries = end_tries(request.meta)
        if retries:
            self._context.stats.request_recovered()
        attempt = 1 + request.meta.get("retry_times", 0) + (retries or 0)
        request.meta["curl_safe_info"] = info_of(transfer, result.slot, attempt, self._file_info)
        if outcome is None and self._stop is not None and self._stop.fail:
            raise self._stop
        return response

    def _completed(self, completed: Completed, body: bytes) -> Response:
        head = completed.head
        if head is not None:
            transfer = completed.stats
            of_body = transfer.ended_at - (transfer.first_byte_at or transfer.ended_at)
            latency = time.monotonic() - self._sent_at - of_body
            self._request.meta["download_latency"] = max(0.0, latency)
        else:
            head = self.head
        assert head is not None
        flags = None if completed.flag is None else [completed.flag.value]
        if completed.file is not None:
            head = self._finish_file(completed.file, head)
            flags = [*(flags or ()), FILE_FLAG]
        elif (
            self._file is not None
            and self._file.order.offset
            and head.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        ):
            raise DownloadFailedError(
                f"{self._request}: the origin has nothing from byte {self._file.order.offset:,} "
                "on; a retry begins anew"
            )
        encoded = completed.encoded
        if isinstance(encoded, bytes):
            return self._decoded(self._response(head, encoded, flags), encoded, body)
        response = self._response(head, body or b"".join(self._body), flags)
        if completed.excess_bytes:
            return self._decoded(response, body, None, completed.excess_bytes)
        return response

    def _decoded(
        self, response: Response, encoded: bytes, decoded: bytes | None, excess_bytes: int = 0
    ) -> Response:
        encodings = response.headers.getlist(b"Content-Encoding")
        known = DecodedBody(encoded, encodings, decoded, excess_bytes)
        self._context.decoded_bodies[response] = known
        return response

    def _finish_file(self, written: WrittenFile, head: ResponseHead) -> ResponseHead:
        """Give the file its name; return the head of the response as if no part of it had come
        before."""
        assert self._file is not None
        assert self._headers is not None
        was_resumed = self._file.order.offset > 0 and head.status == HTTPStatus.PARTIAL_CONTENT
        self._file_info = self._file.finish(written)
        # Scrapy's cache would keep an empty body.
        if self._context.crawler.settings.getbool("HTTPCACHE_ENABLED"):
            self._request.meta["dont_cache"] = True
        if written.encoding is not None:
            del self._headers["Content-Encoding"]
            if written.encoding:
                self._headers["Content-Encoding"] = written.encoding
                logger.warning(
                    "%s cannot be decoded by the workers, and is in %s as it came. For br and zstd "
                    "their Python needs the packages brotli and backports.zstd (Content-Encoding: "
                    "%s)",
                    self._request,
                    self._file.path,
                    written.encoding.decode("latin-1"),
                )
        if was_resumed:
            head = replace(head, status=HTTPStatus.OK)
            del self._headers["Content-Range"]
            self._headers["Content-Length"] = str(written.size)
        return head

    def _stopped(self) -> tuple[TransferStats, Response]:
        """Return what had come when a receiver raised StopDownload."""
        assert self.head is not None
        assert self.head.stats is not None
        assert self._stop is not None
        response = self._response(self.head, b"".join(self._body), ["download_stopped"])
        self._stop.response = response
        return self.head.stats, response

    def _too_large(self, outcome: TooLarge) -> DownloadCancelledError:
        if outcome.limit == MAX_BODY_BYTES:
            message = too_large_for_memory_message(outcome, self._request)
        else:
            message = size_message(outcome, "max", self._request)
        logger.warning(message)
        return DownloadCancelledError(message)

    def _failed(self, failed: Failed, slot: int, origin: Origin) -> Exception:
        request = self._request
        error = download_error(failed, origin.route)
        self._count(failed.stats, failed.kind if failed.kind.is_handshake else None)
        cause = self._context.stats.connection_failed(failed.stats, failed.kind)
        if cause is not None:
            origin.unconnected[cause] += 1
        if self._file is not None:
            if failed.kind is FailureKind.FILE:
                return cannot_write(self._file.path, failed.detail)
            if failed.kind is not FailureKind.INVALID_RESPONSE:
                self._context.files.keep(self._file, request, error, self.head)
        if isinstance(error, (HandshakeError, ConnectionDiedError)):
            request.meta[AVOID] = slot
        if isinstance(error, ConnectionDiedError):
            request.meta[FRESH] = True
        if isinstance(error, Http2ProtocolError):
            request.meta[HTTP1_ORIGIN] = origin.route.origin
        if failed.kind is FailureKind.DATALOSS:
            self._context.warn_of_dataloss(request)
        return error

    def _count(self, transfer: TransferStats, failed: FailureKind | None = None) -> None:
        self._context.stats.transferred(transfer)
        if self._request.url.startswith("https:"):
            self._context.stats.handshakes(transfer, failed)

    def _response(self, head: ResponseHead, body: bytes, flags: list[str] | None) -> Response:
        # Receivers of headers_received may have kept theirs.
        headers = Headers(self._headers) if self._headers else make_headers(head.headers)
        url = self._request.url
        if "#" in url:
            url = urldefrag(url).url
        if head.tls is not None:
            host = urlparse_cached(self._request).hostname or ""
            for line in tls_messages(host, head.tls, head.certificate):
                logger.debug(line)
        response = response_class(headers, url, body)(
            url=url,
            status=head.status,
            body=body,
            flags=flags,
            certificate=head.certificate,
            ip_address=_address(head.ip) if head.ip else None,
            protocol=head.protocol,
        )
        # As an argument they would be copied, one by one.
        response.headers = headers
        return response


def info_of(
    transfer: TransferStats, slot: int, attempt: int, file: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Make `response.meta["curl_safe_info"]`.

    Keys:
        worker: number of the worker
        connection_reused: whether the request found an idle connection
        handshake_time: seconds; `None` on a reused or a plain connection
        time_to_first_byte: seconds
        wire_bytes_sent: as libcurl counts them, without TLS
        wire_bytes_received: as libcurl counts them, without TLS
        attempt: 1 for the first try
        file: if the body went to a file: a dict with its `path`, its `size`, its `sha256`, and its
            `encoding` if the workers could not decode it
    """
    first_byte = transfer.first_byte_at
    info: dict[str, Any] = {
        "worker": slot,
        "connection_reused": transfer.connects == 0,
        "handshake_time": transfer.handshake_time,
        "time_to_first_byte": first_byte if first_byte is not None else transfer.ended_at,
        "wire_bytes_sent": transfer.bytes_sent,
        "wire_bytes_received": transfer.bytes_received,
        "attempt": attempt,
    }
    if file is not None:
        info["file"] = file
    return info

"""Gives responses the bodies that the workers have decoded."""

from __future__ import annotations

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response, TextResponse

from ._crawl.decoded_bodies import DecodedBody, decoded_bodies_of
from ._crawl.file_target import FILE_FLAG
from ._crawl.scrapy_api import DecodedBodyMiddleware, copy_headers, response_class

_ENCODING = b"Content-Encoding"
_KNOWN_ATTRIBUTES = (Response.attributes, TextResponse.attributes)
_KEPT = [name for name in Response.attributes if name not in ("headers", "body")]


class HttpCompressionMiddleware(DecodedBodyMiddleware):
    """Scrapy's middleware of this name, which need not decode what a worker has decoded.

    Responses from elsewhere (Scrapy's cache, another handler, a middleware that makes its own) and
    bodies that a worker has left alone are decoded by Scrapy's code.

    Raises:
        NotConfigured: COMPRESSION_ENABLED is False.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler=crawler)
        self._bodies = decoded_bodies_of(crawler)
        self._maxsize = crawler.settings.getint("DOWNLOAD_MAXSIZE")
        self._warnsize = crawler.settings.getint("DOWNLOAD_WARNSIZE")

    def process_response(  # type: ignore[override]  # Scrapy passes no spider to it.
        self, request: Request, response: Response
    ) -> Request | Response:
        known = self._bodies.pop(response, None)
        if known is None:
            if FILE_FLAG in response.flags:
                # Scrapy would take the header from a file that a worker could not decode.
                return response
            return super().process_response(request, response)
        decoded = self._decoded(request, response, known)
        return self.process_known(request, response, known) if decoded is None else decoded

    def _decoded(self, request: Request, response: Response, known: DecodedBody) -> Response | None:
        """Return what Scrapy's code would, in a quarter of the time, if that has nothing to say."""
        body, encoded, headers = known.decoded, response.body, response.headers
        if (
            body is None
            or encoded is not known.encoded
            or type(response).attributes not in _KNOWN_ATTRIBUTES
            or headers.getlist(_ENCODING) != known.encodings
            or 0 < request.meta.get("download_maxsize", self._maxsize) < len(body)
            or len(encoded) < request.meta.get("download_warnsize", self._warnsize) <= len(body)
        ):
            return None
        new_headers = copy_headers(headers, without=_ENCODING)
        kind = response_class(new_headers, response.url, body)
        if isinstance(response, TextResponse) and not issubclass(kind, TextResponse):
            return None
        headers[_ENCODING] = []
        if self.stats:
            self.stats.inc_value("httpcompression/response_bytes", len(body))
            self.stats.inc_value("httpcompression/response_count")
        decoded = kind(body=body, **{name: getattr(response, name) for name in _KEPT})
        # In this way they are not copied once more.
        decoded.headers = new_headers
        return decoded

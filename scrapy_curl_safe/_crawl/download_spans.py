"""A span of OpenTelemetry for each download, and the durations of all.

The names are those of its semantic conventions for HTTP clients:
https://opentelemetry.io/docs/specs/semconv/http/
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.metrics import get_meter
from opentelemetry.trace import SpanKind, Status, StatusCode
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached

from .._version import __version__
from ..exceptions import HandshakeError
from .meta import CHECKS, CRASHES, REFUSALS, RETRIES
from .observed_metrics import SCOPE, SPIDER

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# Others are "_OTHER", since a name of a span or a label can have only so many values.
_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
_PORTS = {"http": 80, "https": 443}
# The keys of meta that count how often a request was sent before.
_RESENDS = ("retry_times", "redirect_times", RETRIES, CRASHES, REFUSALS)

_CREDENTIALS = re.compile(r"(?<=://)[^/?#]*@")
# The values of these are secrets: signatures of URLs, and what goes with them.
_SECRETS = re.compile(
    r"(?<=[?&])(AWSAccessKeyId|Signature|X-Amz-Signature|X-Amz-Credential|X-Amz-Security-Token|sig|"
    r"X-Goog-Signature)=[^&#]*"
)

Attributes = dict[str, Any]


class DownloadSpans:
    """Makes a span of each download.

    Args:
        crawler: of the downloads.
        download: what is done for each.
    """

    def __init__(
        self, crawler: Crawler, download: Callable[[Request], Awaitable[Response]]
    ) -> None:
        self._crawler = crawler
        self._download = download
        self._tracer = trace.get_tracer(SCOPE, __version__, schema_url=_SCHEMA)
        self._durations = get_meter(SCOPE, __version__, schema_url=_SCHEMA).create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    async def download_request(self, request: Request) -> Response:
        """Download a request."""
        began = perf_counter()
        attributes = _attributes(request)
        outcome: Attributes = {}
        method = attributes["http.request.method"]
        span = self._tracer.start_span(
            "HTTP" if method == "_OTHER" else method,
            parent_of(request),
            SpanKind.CLIENT,
            attributes | self._more_attributes(request),
        )
        try:
            response = await self._download(request)
        except BaseException as error:
            outcome["error.type"] = _name(error)
            if isinstance(error, HandshakeError):
                span.set_attribute("curl_safe.handshake.failure_kind", error.kind)
            text = str(error).replace(request.url, redacted(request.url))
            span.set_status(Status(StatusCode.ERROR, text))
            raise
        else:
            outcome = _of_response(response)
            if "error.type" in outcome:
                span.set_status(Status(StatusCode.ERROR))
            if span.is_recording():
                span.set_attributes(_of_connection(request, response))
            return response
        finally:
            seconds = perf_counter() - began
            context = trace.set_span_in_context(span)
            self._durations.record(seconds, attributes | outcome, context)
            span.set_attributes(outcome)
            span.end()

    def _more_attributes(self, request: Request) -> Attributes:
        """Return what a span says of a request and a metric does not."""
        attributes: Attributes = {"url.full": redacted(request.url)}
        if self._crawler.spider is not None:
            attributes[SPIDER] = self._crawler.spider.name
        if request.method not in _METHODS:
            attributes["http.request.method_original"] = request.method
        counts = [request.meta.get(key) for key in _RESENDS]
        # What a user has put there must not fail the download.
        resends = sum(count for count in counts if isinstance(count, int))
        if resends:
            attributes["http.request.resend_count"] = resends
        return attributes


def parent_of(request: Request) -> Context | None:
    """Return the context that the request's meta names; None for the current one."""
    options = request.meta.get("curl_safe")
    carrier = options.get("trace_context") if isinstance(options, dict) else None
    if carrier is None:
        return None
    try:
        return propagate.extract(CHECKS["trace_context"](carrier))
    except ValueError:  # which the download raises, too
        return None


def redacted(url: str) -> str:
    """Return a URL without its secrets."""
    if "@" in url:
        url = _CREDENTIALS.sub("REDACTED:REDACTED@", url, count=1)
    return _SECRETS.sub(r"\1=REDACTED", url) if "?" in url else url


def _attributes(request: Request) -> Attributes:
    parsed = urlparse_cached(request)
    attributes: Attributes = {
        "http.request.method": request.method if request.method in _METHODS else "_OTHER",
        "server.address": parsed.hostname or "",
    }
    try:
        port = parsed.port or _PORTS.get(parsed.scheme)
    except ValueError:  # which the download raises, too
        port = None
    if port:
        attributes["server.port"] = port
    return attributes


def _of_response(response: Response) -> Attributes:
    attributes: Attributes = {"http.response.status_code": response.status}
    name, _, version = (response.protocol or "").partition("/")
    if name == "HTTP":
        attributes["network.protocol.version"] = version
    if response.status >= 400:
        attributes["error.type"] = str(response.status)
    return attributes


def _of_connection(request: Request, response: Response) -> Attributes:
    attributes: Attributes = {}
    if response.ip_address is not None:
        attributes["network.peer.address"] = str(response.ip_address)
    info = request.meta.get("curl_safe_info")
    if info is not None:
        attributes["curl_safe.worker"] = info["worker"]
        attributes["curl_safe.connection_reused"] = info["connection_reused"]
        if info["handshake_time"] is not None:
            attributes["curl_safe.handshake.duration"] = info["handshake_time"]
    return attributes


def _name(error: BaseException) -> str:
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"

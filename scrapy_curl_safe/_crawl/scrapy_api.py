"""Everything that this package uses of Scrapy beyond its documented interface.

The next Scrapy may lack any of these names. What then takes its place is slower, or knows less, but
leads to the same pages:

    name                                     without it
    pydispatch.dispatcher.connections        signals count as having receivers: bodies are streamed
    scrapy.responsetypes.responsetypes       the Content-Type alone decides a response's class
    httpcompression.ACCEPTED_ENCODINGS       only gzip and deflate are asked for
    HttpCompressionMiddleware._handle_encoding, _compression._DecompressionMaxSizeExceeded
                                             of bodies that exceed a limit, Scrapy decodes a part
    http.Headers being a dict                headers are read and made with its own methods
    CookiesMiddleware.jars                   no cookie of Scrapy's jar is kept from a request, and
                                             none of a session for a continued crawl
    ExecutionEngine.downloader.active        a request that waits for a session keeps its place
    ExecutionEngine._slot.nextcall           a place that is given up is taken some seconds later
    ExecutionEngine.running, .start_time     the other one shows whether the engine has started
    ExecutionEngine.close_spider_async       a crawl that is closed ends with the reason "shutdown"
    ExecutionEngine.needs_backout, .scraper  only a crawl that is stopped shows that it is closing
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from http.cookiejar import Cookie
from typing import Any

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import NotConfigured, NotSupported
from scrapy.http import Headers, HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from scrapy.settings import Settings
from scrapy.utils.asyncio import call_later
from scrapy.utils.conf import build_component_list
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.misc import build_from_crawler, load_object

from .decoded_bodies import DecodedBody

try:
    from pydispatch import dispatcher
except ImportError:
    dispatcher = None
try:
    from scrapy.responsetypes import responsetypes
except ImportError:
    responsetypes = None  # type: ignore[assignment]
try:
    from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS
except ImportError:
    ACCEPTED_ENCODINGS = [b"gzip", b"deflate"]
try:
    from scrapy.utils._compression import _DecompressionMaxSizeExceeded
except ImportError:
    _DecompressionMaxSizeExceeded = None  # type: ignore[assignment,misc]

__all__ = [
    "DEFAULT_HEADERS",
    "OFFERED_ENCODINGS",
    "SUPPORTED_ENCODINGS",
    "DecodedBodyMiddleware",
    "DownloadSignals",
    "close_crawl",
    "cookiejars",
    "cookies_for",
    "copy_headers",
    "default_handler_path",
    "has_header",
    "header_items",
    "is_closing",
    "load_addons",
    "make_headers",
    "response_class",
    "wake_engine",
]

logger = logging.getLogger(__name__)

_defaults = Settings()
#: The headers that Scrapy sends unless somebody sets them, by lower-case name.
DEFAULT_HEADERS = {
    name.lower().encode(): value.encode()
    for name, value in {
        **_defaults.getdict("DEFAULT_REQUEST_HEADERS"),
        "User-Agent": _defaults["USER_AGENT"],
    }.items()
}
#: What HttpCompressionMiddleware decodes here, which depends on what is installed.
SUPPORTED_ENCODINGS = frozenset(ACCEPTED_ENCODINGS)
#: The Accept-Encoding header that it sends.
OFFERED_ENCODINGS = b", ".join(ACCEPTED_ENCODINGS)

# Signals


class DownloadSignals:
    """The signals that are sent while a download runs.

    Args:
        crawler: the crawler that sends them.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._signals = {signals.headers_received, signals.bytes_received}
        self._knows_receivers = self._probe()
        if not self._knows_receivers:
            logger.warning(
                "This Scrapy does not tell whether its signals headers_received and bytes_received "
                "have receivers. Each response is read as if they had, which is slower"
            )

    def have_receivers(self) -> bool:
        """Tell whether a receiver is, or may be, connected to one of them."""
        return not self._knows_receivers or self._has_receiver()

    def send(self, signal: object, **arguments: Any) -> Iterable[tuple[Any, Any]]:
        """Send one of them; return each receiver with what it returned, or its Failure."""
        crawler = self._crawler
        results: list[tuple[Any, Any]] = crawler.signals.send_catch_log(
            signal, spider=crawler.spider, **arguments
        )
        return results

    def _probe(self) -> bool:
        """Connect a receiver, and see whether that shows."""

        def receive() -> None: ...

        try:
            assert dispatcher is not None
            self._signals.add(dispatcher.Any)
            before = self._has_receiver()
            for signal in (signals.headers_received, signals.bytes_received):
                self._crawler.signals.connect(receive, signal)
                during = self._has_receiver()
                self._crawler.signals.disconnect(receive, signal)
                if not during or self._has_receiver() != before:
                    return False
        except Exception:  # An interface that nobody promised may have changed in any way.
            return False
        return True

    def _has_receiver(self) -> bool:
        # As dispatcher.getAllReceivers() would find out, which takes 6 µs, twice a request.
        assert dispatcher is not None
        connections = dispatcher.connections
        return not (
            self._signals.isdisjoint(connections.get(id(self._crawler), ()))
            and self._signals.isdisjoint(connections.get(id(dispatcher.Any), ()))
        )


# Headers and responses


@lru_cache(1024)
def _title(name: bytes) -> bytes:
    return name.title()


def _make_headers_quickly(pairs: list[tuple[bytes, bytes]]) -> Headers:
    lists: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        lists.setdefault(_title(name), []).append(value)
    headers = Headers()
    dict.update(headers, lists)
    return headers


def _make_headers_slowly(pairs: list[tuple[bytes, bytes]]) -> Headers:
    headers = Headers()
    for name, value in pairs:
        headers.appendlist(name, value)
    return headers


def _are_headers_dicts() -> bool:
    pairs = [(b"a-b", b"1"), (b"A-B", b"2"), (b"etag", b"3")]
    try:
        return _make_headers_quickly(pairs) == _make_headers_slowly(pairs)
    except Exception:  # see above
        return False


_HEADERS_ARE_DICTS = _are_headers_dicts()


def make_headers(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """Return `Headers(pairs)`, in a quarter of the time: each name is normalized only once."""
    return _make_headers_quickly(pairs) if _HEADERS_ARE_DICTS else _make_headers_slowly(pairs)


def copy_headers(headers: Headers, without: bytes) -> Headers:
    """Return a copy of `headers` without one of them, of which the name is given in title case."""
    return make_headers(
        [
            (name, value)
            for name, values in header_items(headers)
            if name != without
            for value in values
        ]
    )


def header_items(headers: Headers) -> Iterable[tuple[bytes, list[bytes]]]:
    """Return the items of `headers`, without normalizing each name again."""
    return dict.items(headers) if _HEADERS_ARE_DICTS else headers.items()


def has_header(headers: Headers, name: bytes) -> bool:
    """Tell whether `name in headers`, in a fifth of the time."""
    if _HEADERS_ARE_DICTS:
        return dict.__contains__(headers, _title(name))
    return name in headers


@lru_cache(1024)
def _class_of(content_type: bytes, content_encoding: bytes | None) -> type[Response]:
    if responsetypes is not None:
        found: type[Response] = responsetypes.from_content_type(content_type, content_encoding)
        return found
    if content_encoding:
        return Response
    mime_type = content_type.partition(b";")[0].strip().lower()
    if mime_type in (b"text/html", b"application/xhtml+xml"):
        return HtmlResponse
    if mime_type.endswith((b"/xml", b"+xml")):
        return XmlResponse
    if mime_type.endswith((b"/json", b"+json")):
        return JsonResponse
    return TextResponse if mime_type.startswith(b"text/") else Response


def response_class(headers: Headers, url: str, body: bytes) -> type[Response]:
    """Return what `responsetypes.from_args` would, which looks only at the Content-Type where that
    decides."""
    content_type = headers.get(b"Content-Type")
    if content_type is not None:
        found = _class_of(content_type, headers.get(b"Content-Encoding"))
        if found is not Response:
            return found
    if responsetypes is None:
        return Response
    guessed: type[Response] = responsetypes.from_args(headers=headers, url=url, body=body)
    return guessed


# Compression


class DecodedBodyMiddleware(HttpCompressionMiddleware):
    """Scrapy's middleware, which may be told what comes of a body."""

    _known: DecodedBody | None = None

    def process_known(self, request: Request, response: Response, known: DecodedBody) -> Any:
        """Do what `process_response` does, for a body that a worker has decoded."""
        self._known = known
        try:
            return super().process_response(request, response)
        finally:
            self._known = None

    def _handle_encoding(self, body: bytes, *args: Any, **kwargs: Any) -> Any:
        known, (encodings, limit) = self._known, args if len(args) == 2 else (None, 0)
        if known is not None and body is known.encoded and encodings == known.encodings:
            decoded = known.decoded
            if (
                decoded is None
                and known.excess_bytes > limit
                and _DecompressionMaxSizeExceeded is not None
            ):
                raise _DecompressionMaxSizeExceeded(known.excess_bytes, limit)
            if decoded is not None and not 0 < limit < len(decoded):
                return decoded, []
        return super()._handle_encoding(body, *args, **kwargs)


# Settings


def default_handler_path(crawler: Crawler, scheme: str) -> str:
    """Return the import path of Scrapy's own download handler for a scheme.

    Raises:
        NotSupported: Scrapy has none, or does not name it.
    """
    path = crawler.settings.getdict("DOWNLOAD_HANDLERS_BASE").get(scheme)
    if not isinstance(path, str):
        raise NotSupported(f"DOWNLOAD_HANDLERS_BASE has no handler for {scheme}")
    return path


def cookies_for(crawler: Crawler, request: Request) -> Iterable[Cookie] | None:
    """Return the jar from which Scrapy takes a request's cookies; None if it uses none."""
    jars = cookiejars(crawler)
    if jars is None or request.meta.get("dont_merge_cookies"):
        return None
    jar: Iterable[Cookie] = jars[request.meta.get("cookiejar")]
    return jar


def cookiejars(crawler: Crawler) -> Any:
    """Return Scrapy's jars by their keys, of which each is made if need be; None if it has none."""
    try:
        middleware = crawler.get_downloader_middleware(CookiesMiddleware)
    except RuntimeError:  # A handler by itself, without an engine.
        return None
    return getattr(middleware, "jars", None)


def load_addons(crawler: Crawler) -> None:
    """Let the add-ons update the settings of a crawler that does not run.

    Raises:
        ValueError: an add-on of this package found a wrong setting.
    """
    for path in build_component_list(crawler.settings["ADDONS"]):
        try:
            addon = build_from_crawler(load_object(path), crawler)
            if hasattr(addon, "update_settings"):
                addon.update_settings(crawler.settings)
        except NotConfigured as error:
            logger.warning("The add-on %s is not used: %s", path, error)


# The engine


def close_crawl(crawler: Crawler, reason: str) -> None:
    """Close the spider. If the crawl is still starting, wait until it runs.

    Args:
        reason: the crawl's `finish_reason`. It is "shutdown" if the engine accepts no reason.
    """

    def close() -> None:
        engine = crawler.engine
        assert engine is not None
        if not hasattr(engine, "close_spider_async"):
            deferred_from_coro(crawler.stop_async())
        elif getattr(engine, "running", True):
            deferred_from_coro(engine.close_spider_async(reason=reason))
        elif crawler.crawling:
            # The engine runs only some turns of the loop after `engine_started`. If it is closed
            # before that, it ends without waiting for its download handlers; if it is closed later,
            # it has begun to send requests.
            call_later(0, close)

    if _has_started(crawler):
        close()
    else:
        crawler.signals.connect(close, signals.engine_started, weak=False)


def is_closing(crawler: Crawler) -> bool:
    """Tell whether the crawl is being closed: it sends nothing more from its scheduler."""
    if not _has_started(crawler):
        return False
    engine = crawler.engine
    if not getattr(engine, "running", True):
        return True
    scraper = getattr(getattr(engine, "scraper", None), "slot", None)
    parts = (engine, scraper, getattr(engine, "downloader", None))
    # The engine takes none either while one of its parts has too many.
    is_full, *are_full = [getattr(part, "needs_backout", bool)() for part in parts]
    return is_full and not any(are_full)


def wake_engine(crawler: Crawler) -> None:
    """Let the engine look for requests to send."""
    slot = getattr(crawler.engine, "_slot", None)
    schedule = getattr(getattr(slot, "nextcall", None), "schedule", None)
    if schedule is not None:
        schedule()


def _has_started(crawler: Crawler) -> bool:
    try:
        engine = crawler.engine
    except RuntimeError:  # Scrapy's answer as long as there is none
        return False
    return engine is not None and (
        getattr(engine, "start_time", None) is not None or getattr(engine, "running", False)
    )

"""What this package uses of Scrapy beyond its documented interface, in one place."""

from __future__ import annotations

from functools import lru_cache

from pydispatch import dispatcher
from scrapy import signals
from scrapy.addons import AddonManager
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS
from scrapy.http import Headers, Response
from scrapy.responsetypes import responsetypes
from scrapy.settings import default_settings
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import deferred_from_coro
from scrapy.utils.url import add_http_if_no_scheme

__all__ = [
    "DEFAULT_HEADERS",
    "OFFERED_ENCODINGS",
    "SUPPORTED_ENCODINGS",
    "add_http_if_no_scheme",
    "close_crawl",
    "default_handler_path",
    "is_heard",
    "load_addons",
    "make_headers",
    "response_class",
]

#: The headers that Scrapy sends unless somebody sets them, by lower-case name.
DEFAULT_HEADERS = {
    name.lower().encode(): value.encode()
    for name, value in {
        **default_settings.DEFAULT_REQUEST_HEADERS,
        "User-Agent": default_settings.USER_AGENT,
    }.items()
}
#: What HttpCompressionMiddleware decodes here, which depends on what is installed.
SUPPORTED_ENCODINGS = frozenset(ACCEPTED_ENCODINGS)
#: The Accept-Encoding header that it sends.
OFFERED_ENCODINGS = b", ".join(ACCEPTED_ENCODINGS)

_HEARD = {signals.headers_received, signals.bytes_received, dispatcher.Any}


def is_heard(crawler: Crawler) -> bool:
    """Tell whether a receiver is connected to a signal that is sent while a download runs."""
    # As dispatcher.getAllReceivers() would find out, which takes 6 µs, twice a request.
    connections = dispatcher.connections
    return not (
        _HEARD.isdisjoint(connections.get(id(crawler), ()))
        and _HEARD.isdisjoint(connections.get(id(dispatcher.Any), ()))
    )


@lru_cache(1024)
def _title(name: bytes) -> bytes:
    return name.title()


def make_headers(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """Return `Headers(pairs)`, in a quarter of the time: names are normalized once for all."""
    lists: dict[bytes, list[bytes]] = {}
    for name, value in pairs:
        lists.setdefault(_title(name), []).append(value)
    headers = Headers()
    dict.update(headers, lists)
    return headers


@lru_cache(1024)
def _class_of(content_type: bytes, content_encoding: bytes | None) -> type[Response]:
    return responsetypes.from_content_type(content_type, content_encoding)


def response_class(headers: Headers, url: str, body: bytes) -> type[Response]:
    """Return what `responsetypes.from_args` does, which looks no further where the Content-Type
    decides."""
    content_type = headers.get(b"Content-Type")
    if content_type is not None:
        found = _class_of(content_type, headers.get(b"Content-Encoding"))
        if found is not Response:
            return found
    return responsetypes.from_args(headers=headers, url=url, body=body)


def default_handler_path(crawler: Crawler, scheme: str) -> str:
    """Return the import path of Scrapy's own download handler for a scheme."""
    path: str = crawler.settings["DOWNLOAD_HANDLERS_BASE"][scheme]
    return path


def load_addons(crawler: Crawler) -> None:
    """Let the add-ons of a crawler that does not run update its settings.

    Raises:
        ValueError: an add-on of this package found a wrong setting.
    """
    AddonManager(crawler).load_settings(crawler.settings)


def close_crawl(crawler: Crawler, reason: str) -> None:
    """Close the spider, or, where the crawl is still starting, as soon as it runs."""

    def close() -> None:
        engine = crawler.engine
        assert engine is not None
        if engine.running:
            deferred_from_coro(engine.close_spider_async(reason=reason))
        elif crawler.crawling:
            # The engine runs some turns of the loop after `engine_started`. One that is closed
            # before that ends without waiting for its download handlers, and later has begun with
            # its requests.
            call_later(0, close)

    if _has_started(crawler):
        close()
    else:
        crawler.signals.connect(close, signals.engine_started, weak=False)


def _has_started(crawler: Crawler) -> bool:
    try:
        engine = crawler.engine
    except RuntimeError:  # Scrapy's answer as long as there is none
        return False
    return engine is not None and engine.start_time is not None

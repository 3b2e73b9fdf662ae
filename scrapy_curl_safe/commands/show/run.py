"""Sends a request through a crawl of the project, to a site on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.settings import BaseSettings
from twisted.python.failure import Failure

from ..._crawl.browser_names import check_browsers
from ...settings import Settings
from .local_site import Arrival, LocalSite

if TYPE_CHECKING:
    from scrapy.crawler import CrawlerProcessBase

# The order of the middleware nearest to the downloader.
_LAST = 100_000
_ADDON = "scrapy_curl_safe.Addon"
# Only this request goes out, and nothing is stored.
_SETTINGS: dict[str, Any] = {
    "CURL_SAFE_WORKERS": 1,
    "EXTENSIONS": {},
    "FEEDS": {},
    "HTTPCACHE_ENABLED": False,
    "ITEM_PIPELINES": {},
    "JOBDIR": None,
    "RETRY_ENABLED": False,
    "ROBOTSTXT_OBEY": False,
    "TELNETCONSOLE_ENABLED": False,
}


@dataclass(frozen=True)
class ShowOptions:
    """The request to show.

    Attributes:
        url: of the request.
        kind: what the request is; None to guess it.
        initiator: URL of the page that asks; None for a typed address.
        impersonate: a curl_cffi target; None for the target of the settings.
    """

    url: str
    kind: str | None = None
    initiator: str | None = None
    impersonate: str | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """The request's `meta["curl_safe"]`."""
        given = {"as": self.kind, "from": self.initiator, "impersonate": self.impersonate}
        return {"verify": False, **{key: value for key, value in given.items() if value}}


class NothingCameError(Exception):
    """Says why the request did not go out."""


def parse_url(text: str) -> str:
    """Return an http or https URL; a missing scheme is added.

    Raises:
        ValueError: the text is not such a URL.
    """
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        is_site = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_site = False
    if not is_site:
        raise ValueError(f"{text!r} is no URL of http or https")
    return url


def show_request(
    process: CrawlerProcessBase, settings: BaseSettings, options: ShowOptions
) -> Arrival:
    """Send a request as a crawl would, and return what arrives.

    Args:
        process: runs the crawl.
        settings: of the process.

    Raises:
        NothingCameError: nothing arrives.
    """
    for name, value in _SETTINGS.items():
        settings.set(name, value, priority="cmdline")
    addons = dict(settings["ADDONS"])
    if not any(_is_ours(addon) for addon in addons):
        settings.set("ADDONS", {**addons, _ADDON: 500}, priority="cmdline")
    middlewares = settings["DOWNLOADER_MIDDLEWARES"]
    settings.set("DOWNLOADER_MIDDLEWARES", {**middlewares, _StaysHere: _LAST}, priority="cmdline")
    try:
        check_browsers(Settings.load(settings))
    except ValueError as error:
        raise NothingCameError(str(error)) from error
    failures: list[str] = []
    with LocalSite() as site:
        process.crawl(_ShowSpider, shown=options, proxy=site.proxy, failures=failures)
        process.start()
        if site.arrival is None:
            raise NothingCameError(failures[0] if failures else "the crawl sent nothing")
        return site.arrival


def _is_ours(addon: Any) -> bool:
    path = addon if isinstance(addon, str) else f"{addon.__module__}.{addon.__qualname__}"
    return path.startswith("scrapy_curl_safe.")


class _ShowSpider(Spider):
    name = "curlsafe"
    shown: ShowOptions
    proxy: str
    failures: list[str]

    async def start(self) -> AsyncIterator[Request]:
        yield Request(
            self.shown.url,
            meta={"curl_safe": self.shown.meta},
            errback=self.failed,
            dont_filter=True,
        )

    def parse(self, response: Response) -> None:
        """Ignore the response."""

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure.getErrorMessage())


class _StaysHere:
    """Sends all requests to the site on this machine, whatever proxies the project has."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> _StaysHere:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        assert isinstance(self._crawler.spider, _ShowSpider)
        request.meta["proxy"] = self._crawler.spider.proxy

"""Picks a browser for each session, which keeps it."""

from __future__ import annotations

import logging
from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler

from ._crawl.compat import foreign_options
from ._crawl.identity import IDENTITY_KEYS, drop_identity
from ._crawl.meta import PICKED
from ._crawl.sessions.assignment import choice, seed_of
from .settings import Settings

logger = logging.getLogger(__name__)


class RandomBrowserMiddleware:
    """Picks one of CURL_SAFE_BROWSERS for each session key, which keeps it: in later crawls of the
    spider, and on other machines, too. A request that specifies its own browser keeps that.

    Its order must be above that of HttpProxyMiddleware (750), which sets the proxy:
    ``DOWNLOADER_MIDDLEWARES = {"scrapy_curl_safe.RandomBrowserMiddleware": 760}``.

    Headers that name another browser (User-Agent and Sec-CH-UA) are removed: they would contradict
    the handshake.

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        settings = Settings.load(crawler.settings)
        self._crawler = crawler
        self._browsers = settings.browsers
        self._compat = settings.compat
        self._has_noted = False
        # A hash in place of a table: a crawl may have any number of sessions.
        self._seed = seed_of(crawler.settings["BOT_NAME"], crawler.spidercls.name)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> RandomBrowserMiddleware:
        return cls(crawler)

    def session_key(self, request: Request) -> Any:
        """Return a key that tells sessions apart: by default the proxy with its credentials, and
        the cookiejar. Override it to define sessions in another way.

        Returns:
            A value whose ``repr`` is the same for requests of the same session.
        """
        return (
            request.meta.get("proxy"),
            request.headers.get("Proxy-Authorization"),
            request.meta.get("cookiejar"),
        )

    def process_request(self, request: Request) -> None:
        options = request.meta.get("curl_safe", {})
        if not isinstance(options, dict):
            return
        if any(key in options for key in IDENTITY_KEYS) and PICKED not in request.meta:
            return
        if self._compat:
            foreign = foreign_options(request.meta, self._crawler.spider)
            if foreign is False or any(key in foreign for key in IDENTITY_KEYS):
                return
        key = repr(self.session_key(request))
        browser = self._browsers[choice(self._seed, key, len(self._browsers))]
        request.meta["curl_safe"] = {**options, "impersonate": browser}
        request.meta[PICKED] = True
        somebodys = drop_identity(request)
        if somebodys is not None and not self._has_noted:
            self._has_noted = True
            logger.info(
                "The %s of %s is not sent, and that of no other request: each session has its "
                "browser's own",
                somebodys.decode("latin-1"),
                request,
            )

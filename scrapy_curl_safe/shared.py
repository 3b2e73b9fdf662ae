"""What the handlers of one crawler share: Scrapy builds a handler for each scheme."""

from __future__ import annotations

import gc
import logging
from typing import Any
from weakref import WeakKeyDictionary

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import deferred_from_coro

from .figures import Figures
from .identity import make_profile
from .pool.eventloop import running_event_loop
from .pool.pool import Pool
from .settings import Settings
from .wire import encode_profile

logger = logging.getLogger(__name__)

_shared: WeakKeyDictionary[Crawler, Shared] = WeakKeyDictionary()


class Shared:
    """Settings, figures and the pool of a crawler.

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._users = 0
        self.settings = Settings.load(crawler.settings)
        loop = running_event_loop()
        self.figures = Figures(crawler.stats, loop.call_soon)
        #: Of a request that asks for nothing of its own.
        self.profile = make_profile(Request("data:,"), {}, self.settings)
        self.encoded_profile = encode_profile(self.profile)
        self.pool = Pool(loop, self.settings, self.figures, self._profiles(), self._give_up)
        # The stats are dumped before the handlers are closed.
        crawler.signals.connect(self.figures.set_rates, signals.spider_closed)
        # All but the first, not before: a crawl that fails on its way here closes no handler.
        crawler.signals.connect(self._spider_opened, signals.spider_opened)

    def _spider_opened(self) -> None:
        self.pool.start()
        # What is loaded by now stays, and a full round of the collector need not look at it:
        # that was a tenth of a crawl's time. Once a process, since what is there at the start
        # of another crawl may be garbage of the first.
        if not gc.get_freeze_count():
            gc.freeze()

    def _profiles(self) -> list[tuple[str, bytes]]:
        browsers = [
            (f"CURL_SAFE_BROWSERS has {browser!r}", self._encoded({"impersonate": browser}))
            for browser in self.settings.browsers
        ]
        default = f"CURL_SAFE_IMPERSONATE is {self.settings.impersonate!r}"
        return [(default, self.encoded_profile), *browsers]

    def _encoded(self, options: dict[str, Any]) -> bytes:
        return encode_profile(make_profile(Request("data:,"), options, self.settings))

    @classmethod
    def enter(cls, crawler: Crawler) -> Shared:
        """Get it, made if need be; each caller leaves it once."""
        shared = _shared.get(crawler)
        if shared is None:
            shared = _shared[crawler] = cls(crawler)
        shared._users += 1
        return shared

    async def leave(self) -> None:
        """The last to leave ends the workers."""
        self._users -= 1
        if not self._users:
            del _shared[self._crawler]
            await self.pool.close()

    def _give_up(self, reason: str) -> None:
        logger.error("Closing the crawl, no worker can be had: %s", reason)
        close_crawl(self._crawler, "curl_safe_no_worker")


def shared_by(crawler: Crawler) -> Shared | None:
    """None where no handler of this crawler is ours."""
    return _shared.get(crawler)


def close_crawl(crawler: Crawler, reason: str) -> None:
    """Close the spider, or, where the crawl is still starting, as soon as it runs."""

    def close() -> None:
        engine = crawler.engine
        assert engine is not None
        if engine.running:
            deferred_from_coro(engine.close_spider_async(reason=reason))
        elif crawler.crawling:
            # It runs some turns of the loop after `engine_started`. One that is closed before that
            # ends without waiting for its download handlers, and later has begun with its requests.
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

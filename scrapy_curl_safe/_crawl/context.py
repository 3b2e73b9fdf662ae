"""The part that the handlers of one crawler share, since Scrapy builds one for each scheme."""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.settings import BaseSettings

from .._ipc.messages import Hello
from .._platform.environment import AUTHORITY_VARIABLES
from .._pool.launcher import WorkerLauncher
from .._pool.origins import OriginRegistry
from .._pool.pool import Pool
from .._pool.worker_limits import WorkerLimits
from ..settings import Settings
from .browser_names import check_browsers, named_browsers
from .browser_targets import BrowserTargets
from .compat import FOREIGN_KEYS
from .components import is_derived
from .decoded_bodies import decoded_bodies_of
from .event_loop import running_event_loop
from .file_target import FileTargets
from .head_builder import HeadBuilder
from .installed_browsers import load_installed_browsers
from .other_handlers import SCHEMES, other_handler
from .profile import EncodedProfile, encoded_profile
from .scrapy_api import (
    SUPPORTED_ENCODINGS,
    DecodedBodyMiddleware,
    DownloadSignals,
    close_crawl,
)
from .scrapys_words import dataloss_message, key_log_message
from .start_log import StartLog, picks_browsers
from .stats import CrawlStats
from .unknown_names import unknown_settings

logger = logging.getLogger(__name__)

# Curl sessions and idle connections of one worker, or of two: enough for proxy users and origins
# that take turns to find theirs again. More workers keep no more in all, down to the least each,
# since proxies and origins may limit the connections of a client.
_MOST_SESSIONS = 512
_MOST_IDLE = 1024
_LEAST_SESSIONS = _LEAST_IDLE = 64
# Requests at once where CONCURRENT_REQUESTS names fewer, or none.
_LEAST_IN_FLIGHT = 64
_LONGEST_HEARTBEAT_INTERVAL_SECONDS = 1.0

_FOREIGN = (
    "%s has no effect, since another handler's keys count only with CURL_SAFE_COMPAT = True. Set "
    'that, or use meta["curl_safe"]'
)

_contexts: WeakKeyDictionary[Crawler, CrawlContext] = WeakKeyDictionary()
_registries: WeakKeyDictionary[Crawler, OriginRegistry] = WeakKeyDictionary()


class CrawlContext:
    """Settings, stats, origins and pool of a crawler.

    Args:
        crawler: whose they are.
        handler: this package's handler.

    Attributes:
        installed_browsers: the fingerprints beside curl_cffi's targets.
        profile: of a request that asks for nothing of its own.
        targets: the browsers whose headers are computed.
        heads: builds the heads of their requests.
        decoded_bodies: that the middleware has not taken yet.
        files: that bodies go to.

    Raises:
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler, handler: type) -> None:
        assert crawler.stats is not None
        self.crawler = crawler
        self._users = 0
        self._warned_of_dataloss = False
        self._noted_keys: set[str] = set()
        self.settings = settings = Settings.load(crawler.settings)
        check_browsers(settings)
        for name, meant in unknown_settings(crawler.settings):
            end = f": {meant}" if meant else ""
            logger.warning("There is no setting %s, so it has no effect%s", name, end)
        self.files = FileTargets(crawler, settings)
        self.signals = DownloadSignals(crawler)
        loop = running_event_loop()
        # Without https there may be nothing to do at all.
        self._starts_early = other_handler(crawler.settings, "https", handler) is None
        start_log = StartLog(
            settings,
            _schemes(crawler.settings, handler),
            picks_browsers=picks_browsers(crawler.settings),
        )
        self.stats = CrawlStats(crawler.stats, loop.call_soon, start_log)
        self.origins = origins_of(crawler, settings)
        if settings.downloader_client_tls_ciphers and settings.impersonate is not None:
            logger.warning(
                "DOWNLOADER_CLIENT_TLS_CIPHERS replaces the browser's ciphers, and so a server can "
                "tell that no browser made the handshake. With DEFAULT the browser's are offered"
            )
        self.installed_browsers = load_installed_browsers()
        self.profile = self._profile({})
        self.heads = HeadBuilder(crawler)
        self.decoded_bodies = decoded_bodies_of(crawler)
        launcher = WorkerLauncher.capture(settings.python)
        _check_key_log(launcher.environment.get("SSLKEYLOGFILE"))
        if settings.download_verify_certificates:
            _check_authorities(launcher.environment)
        self.pool = Pool(
            loop,
            launcher,
            self._hello(),
            WorkerLimits(
                count=settings.workers,
                hang_timeout_seconds=settings.worker_hang_timeout,
                max_requests=settings.worker_max_requests,
                max_memory_mb=settings.worker_max_memory_mb,
                requests_at_once=settings.concurrent_requests,
                prewarm=self._starts_early,
            ),
            adaptive=settings.adaptive,
            active_size_bytes=settings.scraper_slot_max_active_size,
            events=self.stats,
            on_exhausted=self._on_exhausted,
        )
        self.targets = BrowserTargets(loop, self.pool.fetch)
        # The stats are dumped before the handlers are closed.
        crawler.signals.connect(self.stats.set_rates, signals.spider_closed)
        # Not before: a crawl that fails on its way there closes no handler.
        crawler.signals.connect(self._spider_opened, signals.spider_opened)

    @classmethod
    def acquire(cls, crawler: Crawler, handler: type) -> CrawlContext:
        """Return the context of a crawler, made if need be; each caller releases it once."""
        context = _contexts.get(crawler)
        if context is None:
            context = _contexts[crawler] = cls(crawler, handler)
        context._users += 1
        return context

    async def release(self) -> None:
        """Stop the workers if this was the last user."""
        self._users -= 1
        if not self._users:
            del _contexts[self.crawler]
            await self.pool.close()
            self.files.close()

    def warn_of_dataloss(self, request: Request) -> None:
        """Log once how to get responses whose body ended early."""
        if self._warned_of_dataloss:
            return
        self._warned_of_dataloss = True
        logger.warning(dataloss_message(request.url))

    def note_foreign_keys(self, request: Request) -> None:
        """Log once each key of other handlers in a request's meta that has no effect here."""
        keys = FOREIGN_KEYS.intersection(request.meta) - self._noted_keys
        if keys:
            self._noted_keys |= keys
            names = " and ".join(f'meta["{key}"]' for key in sorted(keys))
            logger.warning(_FOREIGN, f"{names} of {request}")

    def _spider_opened(self) -> None:
        if not self.settings.compat and getattr(self.crawler.spider, "curl_cffi_options", None):
            logger.warning(_FOREIGN, "The spider's curl_cffi_options")
        if self._starts_early:
            self.pool.start()
        # What is loaded by now stays, and a full round of the garbage collector need not look at
        # it, which takes a tenth of a crawl's time. Once a process: what is there at the start of
        # another crawl may be garbage of the first.
        if not gc.get_freeze_count():
            gc.freeze()

    def _hello(self) -> Hello:
        settings = self.settings
        interval = min(_LONGEST_HEARTBEAT_INTERVAL_SECONDS, settings.worker_hang_timeout / 4)
        return Hello(
            profiles=self._profiles(),
            heartbeat_interval_seconds=interval,
            max_sessions=_share(_LEAST_SESSIONS, _MOST_SESSIONS, settings.workers),
            # A worker may have all that is in flight. (By default libcurl keeps four idle
            # connections for each transfer that runs at the moment one ends, so after a lull it
            # would close most.)
            max_in_flight=max(_LEAST_IN_FLIGHT, settings.concurrent_requests),
            max_idle=max(
                _share(_LEAST_IDLE, _MOST_IDLE, settings.workers), settings.concurrent_requests
            ),
            max_memory_mb=settings.worker_max_memory_mb,
            encodings=_encodings(self.crawler) if settings.decode else [],
        )

    def _profiles(self) -> list[tuple[str, bytes]]:
        return [
            (label, self._profile({"impersonate": browser}).encoded)
            for label, browser in named_browsers(self.settings)
        ]

    def _profile(self, options: dict[str, Any]) -> EncodedProfile:
        request = Request("data:,")
        return encoded_profile(request, options, self.settings, self.installed_browsers)

    def _on_exhausted(self, reason: str) -> None:
        logger.error("The crawl is closed, since no worker can be had: %s", reason)
        close_crawl(self.crawler, "curl_safe_no_worker")


def _share(least: int, most: int, workers: int) -> int:
    return max(least, min(most, 2 * most // workers))


def _schemes(settings: BaseSettings, handler: type) -> list[str]:
    handlers = settings.getdict("DOWNLOAD_HANDLERS")
    return [scheme for scheme in SCHEMES if is_derived(handlers.get(scheme), handler)]


def _encodings(crawler: Crawler) -> list[bytes]:
    """Return what Scrapy can decode, if it takes decoded bodies from the workers."""
    settings, spider = crawler.settings, crawler.spider
    if (
        not settings.getbool("COMPRESSION_ENABLED")
        or not any(
            order is not None and is_derived(component, DecodedBodyMiddleware)
            for component, order in settings.getwithbase("DOWNLOADER_MIDDLEWARES").items()
        )
        # Only Scrapy's own middleware knows these two attributes, which are deprecated.
        or hasattr(spider, "download_maxsize")
        or hasattr(spider, "download_warnsize")
    ):
        return []
    return sorted({*SUPPORTED_ENCODINGS, b"x-gzip"})


def _check_key_log(path: str | None) -> None:
    """Warn of a file for TLS keys that no worker can write: libcurl would say nothing."""
    if path:
        try:
            with open(path, "ab"):
                pass
        except OSError as error:
            logger.warning(key_log_message(path, error))


def _check_authorities(environment: Mapping[str, str]) -> None:
    """Warn of files of certificate authorities that cannot be read: others are used without a word,
    or none."""
    for name in AUTHORITY_VARIABLES:
        if path := environment.get(name):
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                logger.warning(
                    "%s names %s, which cannot be read (%s): its authorities are not known to the "
                    "workers. Correct the path",
                    name,
                    path,
                    error.strerror,
                )


def context_of(crawler: Crawler) -> CrawlContext | None:
    """Return the context of a crawler; None if no handler of it is ours."""
    return _contexts.get(crawler)


def origins_of(crawler: Crawler, settings: Settings) -> OriginRegistry:
    """Return the registry of a crawler's origins, made if need be.

    The middleware has one also where another package's handler downloads.
    """
    registry = _registries.get(crawler)
    if registry is None:
        most = settings.concurrent_requests or _LEAST_IN_FLIGHT
        registry = _registries[crawler] = OriginRegistry(most, settings.adaptive_floor)
    return registry

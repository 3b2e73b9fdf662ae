"""Turns failed handshakes into Scrapy retries.

The middleware comes after Scrapy's RetryMiddleware (at 560, against 550), so it sees an exception
first, and handles the failures that it has a rule for: failed handshakes, lost workers and dead
reused connections. It counts retries of handshakes separately from Scrapy's, so that a page which
needed four of them still has all of Scrapy's retries left for a 503. Refused connections are left
to Scrapy, but it may wait before: the origin may only be starting.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any, Literal

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import DownloadConnectionRefusedError, NotConfigured
from scrapy.http import Response
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.misc import load_object
from twisted.internet.defer import Deferred

from ._crawl.backoff import backoff, backoff_steps
from ._crawl.compat import foreign_options
from ._crawl.context import origins_of
from ._crawl.foreign_responses import note_foreign_response
from ._crawl.meta import CRASHES, GAVE_UP, REJECTIONS, RETRIES, UNSENT, reset_if_given_up
from ._crawl.profile import route_of
from ._crawl.retry_rules import RetryDecision, decide
from ._ipc.failures import FailureKind
from ._pool.origins import Route
from .exceptions import OriginUnavailableError, WorkerCrashedError
from .handler import CurlSafeDownloadHandler
from .settings import Settings

# What the last retry of a request waits for, in addition, if its origin has never answered: it may
# only be starting.
_START_SECONDS = 3.0
# So long after its first refused connection it may only be starting, as long as a breaker takes to
# count an origin as dead.
_MAY_START_SECONDS = 15.0

# More returns than a request from the scheduler ever needs before the crawl is closed.
_MOST_UNSENT = 5

logger = logging.getLogger(__name__)


class HandshakeRetryMiddleware:
    """See https://docs.scrapy.org/en/latest/topics/downloader-middleware.html.

    Attributes:
        process_response: there is one only if another handler downloads, too.

    Raises:
        NotConfigured: RETRY_ENABLED is False.
        ValueError: a setting is wrong.
    """

    process_response: Callable[[Request, Response], Response]

    def __init__(self, crawler: Crawler) -> None:
        settings = Settings.load(crawler.settings)
        if not settings.retry_enabled:
            raise NotConfigured("RETRY_ENABLED is False")
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._settings = settings
        self._origins = origins_of(crawler, settings)
        # A request that waits here keeps its place in CONCURRENT_REQUESTS. Beyond this number,
        # requests of the same origin, through any proxy, do not wait, so that others can go on.
        at_once = settings.concurrent_requests or 64
        self._most_waiting = max(1, at_once // 2)
        # A crawl of many sites, of which some are dead, does not wait for more of them.
        self._most_starting = max(2, at_once // 8)
        # Each method of a middleware costs Scrapy 5 µs per request.
        if not _downloads_all(crawler):
            self.process_response = self._process_response

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> HandshakeRetryMiddleware:
        return cls(crawler)

    # There is no process_request: the handler does its work.

    def _process_response(self, request: Request, response: Response) -> Response:
        reset_if_given_up(request.meta)
        # The handler itself has learned from its own responses, whatever the middlewares' order.
        if "curl_safe_info" not in request.meta and "cached" not in response.flags:
            note_foreign_response(request, self._route(request), self._origins, self._stats)
        return response

    async def process_exception(self, request: Request, exception: Exception) -> Request | None:
        reset_if_given_up(request.meta)
        if isinstance(exception, WorkerCrashedError) and exception.worker is None:
            return await self._return_unsent(request)
        decision = decide(exception)
        if decision is None:
            if isinstance(exception, DownloadConnectionRefusedError):
                await self._wait_for_start(request)
            return None
        route = self._route(request)
        retry = None
        if decision.rule.max_retries != 0 and not request.meta.get("dont_retry", False):
            if decision.is_rejection:
                retry = self._retry_rejected(request, route, decision)
            elif decision.kind:
                retry = self._retry_handshake(request, route, decision)
            elif decision.is_crash:
                retry = self._retry_crash(request, decision)
            else:
                retry = self._retry(request, decision)
        if retry is None:
            self._give_up(request, decision)
            return None
        if isinstance(exception, OriginUnavailableError):
            await self._wait(route, retry.meta[REJECTIONS], exception.seconds)
            return retry
        self._origins.get(route).retries_in_a_row += 1
        tries = request.meta.get(RETRIES, 0) + 1
        more = 0.0
        is_proven = self._origins.is_proven(route)
        is_last = tries == self._most_retries(request, route, decision)
        if decision.kind is FailureKind.SYSCALL and is_last and not is_proven:
            more = _START_SECONDS
        await self._wait(route, tries, more)
        return retry

    async def _return_unsent(self, request: Request) -> Request | None:
        """Return a request that found no worker unchanged: the crawl is about to close, and the
        scheduler keeps the request. The number of returns is limited, since requests that do not
        come from the scheduler (robots.txt, files of a media pipeline) would be tried for ever and
        keep the crawl open."""
        unsent = request.meta.get(UNSENT, 0) + 1
        if unsent > _MOST_UNSENT:
            return None
        await self._wait(self._route(request), unsent)
        return request.replace(dont_filter=True, meta={**request.meta, UNSENT: unsent})

    def _route(self, request: Request) -> Route:
        options: dict[str, Any] | Literal[False] = {}
        if self._settings.compat:
            with contextlib.suppress(ValueError):  # another handler accepted what ours refuses
                options = foreign_options(request.meta, self._crawler.spider)
        return route_of(request, options or {})

    def _retry_handshake(
        self, request: Request, route: Route, decision: RetryDecision
    ) -> Request | None:
        """Return a retry of the request, unless its retries are used up."""
        most = self._most_retries(request, route, decision)
        if not most:
            return None
        retries = request.meta.get(RETRIES, 0)
        retry = self._retry_counted(request, decision, retries, most)
        if retry is not None:
            retry.meta[RETRIES] = retries + 1
            if not retries:
                self._stats.inc_value("curl_safe/handshake/retried_request_count")
            self._stats.inc_value("curl_safe/handshake/retry_count")
        return retry

    def _most_retries(self, request: Request, route: Route, decision: RetryDecision) -> int:
        """Return how often a request may be retried whose handshakes fail."""
        most: int | None = request.meta.get("max_retry_times")
        if most is None:
            most = self._settings.handshake_retry_times
            breaker = self._origins.get(route).breaker
            # A dead origin fails fast. (A local failure does not mean that it is dead, and while
            # the breaker is open, it is the breaker that finds out.)
            is_doubtful = breaker.seems_dead or not breaker.is_open
            is_local = decision.kind is FailureKind.LOCAL
            if is_doubtful and not is_local and not self._origins.is_proven(route):
                most = min(most, self._settings.retry_times)
        if decision.rule.max_retries is not None:
            most = min(most, decision.rule.max_retries)
        return most

    def _retry_rejected(
        self, request: Request, route: Route, decision: RetryDecision
    ) -> Request | None:
        """Return a retry of a request that was not tried, which is none of its tries. Rejections
        have a count of their own, and end where the origin seems dead."""
        most = request.meta.get("max_retry_times")
        if most is None:
            most = self._settings.handshake_retry_times
        seems_dead = self._origins.get(route).breaker.seems_dead
        if not most or (seems_dead and not self._origins.is_proven(route)):
            return None
        rejections = request.meta.get(REJECTIONS, 0)
        retry = self._retry_counted(request, decision, rejections, most)
        if retry is not None:
            retry.meta[REJECTIONS] = rejections + 1
            retry.meta.setdefault(RETRIES, 0)
        return retry

    def _retry_crash(self, request: Request, decision: RetryDecision) -> Request | None:
        """Return a retry of the request. It is not to blame for the death of a worker until it has
        ended a worker that it had to itself.
        """
        if request.meta.get("max_retry_times") == 0:
            return None
        crashes = request.meta.get(CRASHES, 0)
        return self._retry_counted(request, decision, crashes, crashes + 1)

    def _retry_counted(
        self, request: Request, decision: RetryDecision, retries: int, most: int
    ) -> Request | None:
        """Retry through Scrapy's function, which counts `retry_times`, with our own count."""
        counted = request.replace(meta={**request.meta, "retry_times": retries})
        retry = self._retry(counted, decision, most)
        if retry is not None:
            del retry.meta["retry_times"]
            if "retry_times" in request.meta:
                retry.meta["retry_times"] = request.meta["retry_times"]
        return retry

    def _retry(
        self, request: Request, decision: RetryDecision, most: int | None = None
    ) -> Request | None:
        assert self._crawler.spider is not None
        return get_retry_request(
            request,
            spider=self._crawler.spider,
            reason=decision.rule.reason,
            max_retry_times=most,
            priority_adjust=request.meta.get("priority_adjust"),
        )

    def _give_up(self, request: Request, decision: RetryDecision) -> None:
        if decision.kind is not None:
            self._stats.inc_value("curl_safe/handshake/gave_up_count")
        if not request.meta.get("dont_retry", False):
            # RetryMiddleware sees the exception next, and must not start over.
            request.meta["dont_retry"] = True
            request.meta[GAVE_UP] = True

    async def _wait_for_start(self, request: Request) -> None:
        """Wait before Scrapy retries a request whose connection was refused, if the origin may only
        be starting."""
        meta, route = request.meta, self._route(request)
        tries = meta.get("retry_times", 0) + 1
        most = meta.get("max_retry_times", self._settings.retry_times)
        waiting = self._origins.waiting
        if (
            tries > most
            or meta.get("dont_retry", False)
            or route.proxy is not None
            or self._origins.is_proven(route)
            or (len(waiting) >= self._most_starting and route.origin not in waiting)
        ):
            return
        origin, now = self._origins.get(route), time.monotonic()
        if origin.refused_at is None:
            origin.refused_at = now
        if now - origin.refused_at < _MAY_START_SECONDS:
            origin.retries_in_a_row += 1
            await self._wait(route, tries, _START_SECONDS if tries == most else 0.0)

    async def _wait(self, route: Route, failures: int, more: float = 0.0) -> None:
        """Wait before a retry.

        Args:
            failures: of the request.
            more: seconds to wait in addition, unless the longest wait is shorter.
        """
        settings, origin = self._settings, self._origins.get(route)
        is_proven = self._origins.is_proven(route)
        # An origin that may only be starting is waited for by all, for some seconds.
        may_skip = is_proven or not more
        if may_skip and self._origins.waiting[route.origin] >= self._most_waiting:
            return
        if settings.adaptive:
            failures = backoff_steps(failures, origin.retries_in_a_row)
        seconds = backoff(
            failures,
            settings.handshake_backoff,
            settings.handshake_backoff_max,
            random.random(),
        )
        if is_proven and not settings.adaptive:
            # The adaptive limit spreads the retries of an origin better than a budget.
            more = origin.retry_budget.reserve(time.monotonic())
        seconds += min(more, settings.handshake_backoff_max)
        self._origins.waiting[route.origin] += 1
        try:
            turn: Deferred[None] = Deferred()
            call_later(seconds, turn.callback, None)
            await maybe_deferred_to_future(turn)
        finally:
            self._origins.waiting[route.origin] -= 1
            if not self._origins.waiting[route.origin]:
                del self._origins.waiting[route.origin]


def _downloads_all(crawler: Crawler) -> bool:
    """Tell whether this package's handler, and no other, downloads both schemes."""
    handlers = crawler.settings.getdict("DOWNLOAD_HANDLERS")
    return all(
        handlers.get(scheme) is not None
        and load_object(handlers[scheme]) is CurlSafeDownloadHandler
        for scheme in ("http", "https")
    )

"""Failed handshakes become Scrapy retries.

It stands behind Scrapy's RetryMiddleware (560 to its 550), so it sees an exception first,
and takes the failures that it knows: those of handshakes, of worker processes and of
HTTP/2 connections that died. It counts the retries of handshakes apart from Scrapy's, so
that a page which needed four of them still has all of Scrapy's for an answer of 503.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter, OrderedDict
from typing import NamedTuple

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import NotConfigured
from scrapy.http import Response
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from .backoff import backoff, retry_budget, steps
from .errors import (
    TREATMENTS,
    ConnectionDiedError,
    HandshakeError,
    OriginRestsError,
    WorkerCrashedError,
    classify,
)
from .identity import origin_of
from .meta import CRASHES, GAVE_UP, RETRIES, start_anew_if_given_up
from .settings import Settings

logger = logging.getLogger(__name__)

# Of origins that are remembered; the longest unused are forgotten.
_MOST_ORIGINS = 65_536


class Failure(NamedTuple):
    """
    Attributes:
        reason: in Scrapy's `retry/reason_count/{reason}`.
        kind: of a failed handshake; None for any other failure.
        crash: whether it is the worker's end, or that none can be had.
        most_retries: None for as many as the settings say.
    """

    reason: str
    kind: str | None = None
    most_retries: int | None = None
    crash: bool = False


def failure_of(exception: BaseException) -> Failure | None:
    """What the middleware does about an exception; None for nothing.

    Of other curl_cffi download handlers it knows what they raise, or raise from.
    """
    if isinstance(exception, HandshakeError):
        kind: str | None = exception.kind
    elif isinstance(exception, WorkerCrashedError):
        reason = "worker_hung" if exception.hung else "worker_crashed"
        # One that has even ended a worker of its own would end any.
        return Failure(reason, crash=True, most_retries=0 if exception.alone else None)
    elif isinstance(exception, ConnectionDiedError):
        return Failure("connection_died")
    else:
        kind = _foreign_kind(exception)
    if kind is None:
        return None
    if kind == "connection_died":
        return Failure(kind)
    treatment = TREATMENTS[kind]
    return Failure(treatment.reason, kind, treatment.most_retries)


def _foreign_kind(exception: BaseException) -> str | None:
    for error in (exception, exception.__cause__):
        code = getattr(error, "code", None)
        if isinstance(code, int) and type(error).__module__.startswith("curl_cffi"):
            return classify(int(code), str(error), during_handshake=False)
    return None


class _Origin:
    def __init__(self) -> None:
        #: Whether a handshake with it was ever completed.
        self.proven = False
        self.budget = retry_budget()
        self.failures_in_a_row = 0


class HandshakeRetryMiddleware:
    """See https://docs.scrapy.org/en/latest/topics/downloader-middleware.html

    Raises:
        NotConfigured: RETRY_ENABLED is False.
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        settings = Settings.load(crawler.settings)
        if not settings.retry_enabled:
            raise NotConfigured("RETRY_ENABLED is False")
        assert crawler.stats is not None
        self._crawler = crawler
        self._stats = crawler.stats
        self._settings = settings
        self._origins: OrderedDict[str, _Origin] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        # A request that waits here keeps its place in CONCURRENT_REQUESTS: past this many
        # those of one origin come back without a wait, so that others go on.
        self._most_waiting = max(1, (settings.concurrent_requests or 64) // 2)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> HandshakeRetryMiddleware:
        return cls(crawler)

    # What a request needs on its way there is done by the handler, or here once it is back:
    # each method of a middleware costs 5 µs a request in Scrapy.

    def process_response(self, request: Request, response: Response) -> Response:
        start_anew_if_given_up(request.meta)
        if "cached" not in response.flags:
            origin = self._origin(origin_of(request))
            origin.proven = True
            origin.failures_in_a_row = 0
            origin.budget.give_back()
            if request.meta.pop(RETRIES, 0):
                self._stats.inc_value("curl_safe/handshake/recovered_count")
        return response

    async def process_exception(self, request: Request, exception: Exception) -> Request | None:
        start_anew_if_given_up(request.meta)
        failure = failure_of(exception)
        if failure is None:
            return None
        retry = None
        if not request.meta.get("dont_retry", False):
            if failure.kind:
                retry = self._retry_handshake(request, failure)
            elif failure.crash:
                retry = self._retry_crash(request, failure)
            else:
                retry = self._retry(request, failure)
        if retry is None:
            self._give_up(request, failure)
            return None
        origin = origin_of(request)
        self._origin(origin).failures_in_a_row += 1
        rest = exception.seconds if isinstance(exception, OriginRestsError) else 0.0
        await self._wait(origin, request.meta.get(RETRIES, 0) + 1, rest)
        return retry

    def _retry_handshake(self, request: Request, failure: Failure) -> Request | None:
        """The request once more, unless it has had all the tries that it may."""
        most = request.meta.get("max_retry_times")
        if most is None:
            most = self._settings.handshake_retry_times
            # A dead origin fails fast. (Nothing on this machine says that it is dead.)
            if failure.kind != "local" and not self._origin(origin_of(request)).proven:
                most = min(most, self._settings.retry_times)
        if failure.most_retries is not None:
            most = min(most, failure.most_retries)
        if not most:
            return None
        retries = request.meta.get(RETRIES, 0)
        retry = self._retry_counted(request, failure, retries, most)
        if retry is not None:
            retry.meta[RETRIES] = retries + 1
            self._stats.inc_value("curl_safe/handshake/retry_count")
        return retry

    def _retry_crash(self, request: Request, failure: Failure) -> Request | None:
        """The request once more: the end of a worker is no fault of the request until it has
        ended one that it had for itself. Where no worker can be had the crawl is about to
        close; the scheduler then keeps the request.
        """
        if failure.most_retries == 0 or request.meta.get("max_retry_times") == 0:
            return None
        crashes = request.meta.get(CRASHES, 0)
        return self._retry_counted(request, failure, crashes, crashes + 1)

    def _retry_counted(
        self, request: Request, failure: Failure, retries: int, most: int
    ) -> Request | None:
        """Scrapy's function counts `retry_times`; these retries have a count of their own."""
        counted = request.replace(meta={**request.meta, "retry_times": retries})
        retry = self._retry(counted, failure, most)
        if retry is not None:
            del retry.meta["retry_times"]
            if "retry_times" in request.meta:
                retry.meta["retry_times"] = request.meta["retry_times"]
        return retry

    def _retry(self, request: Request, failure: Failure, most: int | None = None) -> Request | None:
        assert self._crawler.spider is not None
        return get_retry_request(
            request,
            spider=self._crawler.spider,
            reason=failure.reason,
            max_retry_times=most,
            priority_adjust=request.meta.get("priority_adjust"),
        )

    def _give_up(self, request: Request, failure: Failure) -> None:
        if failure.kind is not None:
            self._stats.inc_value("curl_safe/handshake/gave_up_count")
        if not request.meta.get("dont_retry", False):
            # RetryMiddleware is next to see the exception, and must not start again.
            request.meta["dont_retry"] = True
            request.meta[GAVE_UP] = True

    async def _wait(self, origin: str, failures: int, rest: float) -> None:
        if self._waiting[origin] >= self._most_waiting:
            return
        settings, state = self._settings, self._origin(origin)
        if settings.adaptive:
            failures = steps(failures, state.failures_in_a_row)
        seconds = backoff(
            failures,
            settings.handshake_backoff,
            settings.handshake_backoff_max,
            random.random(),
        )
        if state.proven:
            # Of an origin that never answered nobody need wait for the end of its rest.
            # The adaptive limit spreads its retries better than a budget.
            more = rest if settings.adaptive else state.budget.reserve(time.monotonic())
            seconds += min(more, settings.handshake_backoff_max)
        self._waiting[origin] += 1
        try:
            turn: Deferred[None] = Deferred()
            call_later(seconds, turn.callback, None)
            await maybe_deferred_to_future(turn)
        finally:
            self._waiting[origin] -= 1
            if not self._waiting[origin]:
                del self._waiting[origin]

    def _origin(self, name: str) -> _Origin:
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = _Origin()
            if len(self._origins) > _MOST_ORIGINS:
                self._origins.popitem(last=False)
        else:
            self._origins.move_to_end(name)
        return origin

"""Requests that wait for a session."""

from __future__ import annotations

import time
from collections.abc import Callable
from weakref import WeakSet

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DontCloseSpider
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.asyncio import call_later
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from ..exceptions import NoSessionError
from .meta import REFUSED, WAITED, give_up_sessions
from .places import Places
from .scrapy_api import is_closing
from .sessions.session import VisitorSession

# A request waits no longer before it goes back to the scheduler, where it is kept if the crawl is
# stopped.
_LONGEST_WAIT_SECONDS = 5.0
# The same for one that keeps its place, since there is soon a session for it, or since too many
# others wait already.
_LONGEST_WAIT_IN_PLACE_SECONDS = 1.0
_WAIT_IN_PLACE_SECONDS = 0.2
# In all, the time in the scheduler apart.
_MOST_SECONDS = 3600.0
# What going back counts for at least.
_LEAST_COUNTED_SECONDS = 1.0
# Between two looks at whether the crawl is being closed, of which no signal tells.
_LOOK_SECONDS = 0.25


class SessionWaits:
    """Lets requests wait for some seconds at a time, and then go back to the scheduler.

    Those that did not come from there (robots.txt, files of a media pipeline) are back at once.
    When the crawl is being closed they fail, since it would not end before.

    Args:
        crawler: whose they are.
        most: requests that may wait without a place at once.
    """

    def __init__(self, crawler: Crawler, most: int) -> None:
        self._crawler = crawler
        self._places = Places(crawler, most)
        # Requests that went back, and which the scheduler has not got.
        self._unscheduled: WeakSet[Request] = WeakSet()
        crawler.signals.connect(self._spider_idle, signals.spider_idle)
        crawler.signals.connect(self._scheduled, signals.request_scheduled)

    async def find(
        self, request: Request, origin: str, look: Callable[[], VisitorSession | float]
    ) -> VisitorSession | Request:
        """Return a session for a request, or the request that goes back in its place.

        Args:
            look: returns a session, or the seconds until there may be one.

        Raises:
            NoSessionError: it has waited for too long, or the crawl is being closed.
        """
        waited = 0.0
        while True:
            found = look()
            if isinstance(found, VisitorSession):
                request.meta.pop(WAITED, None)
                request.meta.pop(REFUSED, None)
                return found
            if waited >= _LONGEST_WAIT_IN_PLACE_SECONDS:
                break
            if found > _LONGEST_WAIT_IN_PLACE_SECONDS:
                waited += await self._wait_without_place(request, found)
                break
            waited += found
            await _sleep(found)
        return self._back(request, origin, waited)

    async def _wait_without_place(self, request: Request, seconds: float) -> float:
        """Wait without a place, if that can be, and not for too long; return for how long."""
        if is_closing(self._crawler):
            return 0.0
        if not self._places.leave(request):
            await _sleep(_WAIT_IN_PLACE_SECONDS)
            return _WAIT_IN_PLACE_SECONDS
        began = time.monotonic()
        end = began + min(seconds, _LONGEST_WAIT_SECONDS)
        try:
            while (now := time.monotonic()) < end and not is_closing(self._crawler):
                await _sleep(min(_LOOK_SECONDS, end - now))
        finally:
            self._places.take_back(request)
        return time.monotonic() - began

    def _back(self, request: Request, origin: str, waited: float) -> Request:
        meta = request.meta
        is_unscheduled = request.callback is NO_CALLBACK or request in self._unscheduled
        if is_unscheduled and is_closing(self._crawler):
            give_up_sessions(meta)
            raise NoSessionError(f"{origin}: the crawl is closing, and no session is free")
        before = meta.get(WAITED, 0.0)
        waited = before + max(waited, _LEAST_COUNTED_SECONDS)
        if waited > _MOST_SECONDS:
            give_up_sessions(meta)
            raise NoSessionError(f"{origin}: no session could be had for an hour")
        back = request.replace(
            priority=request.priority - (not before),
            dont_filter=True,
            meta={**meta, WAITED: waited},
        )
        self._unscheduled.add(back)
        return back

    def _scheduled(self, request: Request) -> None:
        self._unscheduled.discard(request)

    def _spider_idle(self) -> None:
        """Keep the crawl open: the engine does not see requests that wait without a place."""
        if self._places.have_waiting():
            raise DontCloseSpider


async def _sleep(seconds: float) -> None:
    turn: Deferred[None] = Deferred()
    call_later(seconds, turn.callback, None)
    await maybe_deferred_to_future(turn)

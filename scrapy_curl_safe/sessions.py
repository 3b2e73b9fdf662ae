"""Gives each request a session: a proxy, a cookiejar and a browser that stay together."""

from __future__ import annotations

import logging
import time
from typing import Any

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import NotConfigured
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached

from ._crawl.compat import foreign_options
from ._crawl.identity import IDENTITY_KEYS, drop_identity
from ._crawl.meta import (
    BOUND,
    REFUSALS,
    REFUSED,
    SESSION,
    give_up_sessions,
    reset_if_no_session,
)
from ._crawl.own_identity import OwnProxiesWarning, has_own_cookiejar, has_own_proxy, is_users_own
from ._crawl.profile import origin_of
from ._crawl.session_files import (
    drop_jar,
    fill_jar,
    read_jar,
    read_sessions,
    session_file,
    write_sessions,
)
from ._crawl.session_pools import make_session_pool, shown_proxy
from ._crawl.session_waits import SessionWaits
from ._crawl.sessions.blocked import BlockedPolicy
from ._crawl.sessions.proxy_failures import BAD_CREDENTIALS, ProxyFailure, all_rest, failure_of
from ._crawl.sessions.retry_after import retry_after
from ._crawl.sessions.saved import dump, load
from ._crawl.sessions.session import VisitorSession
from .settings import Settings

logger = logging.getLogger(__name__)

# Sessions that a request may lose before it is given up, unless max_retry_times says otherwise.
_MOST_REFUSALS = 10
# What may say "not now".
_MAY_ASK_TO_WAIT = (429, 503)


class SessionMiddleware:
    """Turned on by CURL_SAFE_SESSIONS. See
    https://docs.scrapy.org/en/latest/topics/downloader-middleware.html

    Its order (585) is below those of the middlewares that send cookies, set proxies, follow
    redirects and decode bodies, and above those that retry.

    Raises:
        NotConfigured: CURL_SAFE_SESSIONS is not set.
        ValueError: a setting is wrong.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._settings = settings = Settings.load(crawler.settings)
        if settings.sessions is None:
            raise NotConfigured
        self._crawler = crawler
        self._file = session_file(crawler)
        self._saved = None if self._file is None else read_sessions(self._file)
        crawl_id = None if self._saved is None else self._saved["crawl_id"]
        self._pool = make_session_pool(crawler, settings, settings.sessions, crawl_id)
        self._policy: Any = (settings.sessions.blocked or BlockedPolicy)()
        self._waits = SessionWaits(crawler, max(64, 4 * settings.concurrent_requests))
        self._own_proxies = OwnProxiesWarning()
        self._all_rest = False
        for receiver, signal in (
            (self._spider_opened, signals.spider_opened),
            (self._spider_closed, signals.spider_closed),
            (self._reached_downloader, signals.request_reached_downloader),
            (self._left_downloader, signals.request_left_downloader),
        ):
            crawler.signals.connect(receiver, signal)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> SessionMiddleware:
        return cls(crawler)

    # A session for a request

    async def process_request(self, request: Request) -> Request | None:
        meta = request.meta
        reset_if_no_session(meta)
        options = meta.get("curl_safe")
        if options is None:
            options = {}
        if not isinstance(options, dict) or urlparse_cached(request).scheme not in (
            "http",
            "https",
        ):
            return None
        name = options.get("session")
        if name is None:
            if is_users_own(meta):
                self._own_proxies.note(has_own_proxy(meta, meta.get(BOUND) or {}))
                return None
        elif not isinstance(name, str) or not name:
            return None  # The handler says so.
        self._own_proxies.note(False)
        origin = origin_of(request)
        session = self._continued(meta, name, origin, time.monotonic())
        if session is None:
            found = await self._acquire(request, name, origin)
            if isinstance(found, Request):
                return found
            session = found
        self._bind(request, options, session)
        return None

    def _continued(
        self, meta: dict[str, Any], name: str | None, origin: str, now: float
    ) -> VisitorSession | None:
        """Return the session of a request that is the same as before: redirected or retried."""
        last = self._pool.get(meta.get(SESSION))
        if last is None or last.name != name or meta[BOUND]["depth"] != meta.get("depth"):
            return None
        return self._pool.resume(last.id, origin, now)

    async def _acquire(
        self, request: Request, name: str | None, origin: str
    ) -> VisitorSession | Request:
        meta = request.meta

        def look() -> VisitorSession | float:
            now = time.monotonic()
            found = self._pool.acquire(
                origin, now, name=name, avoid=meta.get(REFUSED), may_move=SESSION in meta
            )
            if isinstance(found, float):
                self._note_rest(now, found)
            return found

        return await self._waits.find(request, origin, look)

    def _bind(self, request: Request, options: dict[str, Any], session: VisitorSession) -> None:
        """Set what the session has, unless the user has set it for the request."""
        meta = request.meta
        before = meta.get(BOUND) or {}
        bound: dict[str, Any] = {"depth": meta.get("depth")}
        if session.proxy is not None and not has_own_proxy(meta, before):
            meta["proxy"] = session.proxy.url
            # Of another proxy with the same address.
            request.headers.pop(b"Proxy-Authorization", None)
            bound["proxy"] = session.proxy.label
        if not has_own_cookiejar(meta, before):
            meta["cookiejar"] = bound["cookiejar"] = session.cookiejar
        options = {**options, "session": session.name}
        if before.get("impersonate") is not None:
            options.pop("impersonate", None)
        if not self._has_identity(request, options):
            browser = session.browser
            options["impersonate"] = bound["impersonate"] = browser.impersonate
            if browser.languages:
                bound["languages"] = list(browser.languages)
            if session.user_agent is not None:
                bound["user_agent"] = session.user_agent
            drop_identity(request)
        meta["curl_safe"] = options
        meta[BOUND] = bound
        meta[SESSION] = session.id

    def _has_identity(self, request: Request, options: dict[str, Any]) -> bool:
        if any(key in options for key in IDENTITY_KEYS):
            return True
        if not self._settings.compat:
            return False
        foreign = foreign_options(request.meta, self._crawler.spider)
        return foreign is False or any(key in foreign for key in IDENTITY_KEYS)

    # What became of it

    def process_response(self, request: Request, response: Response) -> Request | Response:
        session = self._pool.get(request.meta.get(SESSION))
        if session is None and SESSION in request.meta:
            # It was dropped meanwhile, and the cookies of this response have made its jar anew.
            drop_jar(self._crawler, request.meta[BOUND].get("cookiejar"))
        if session is None or "cached" in response.flags or _is_for_robots(request):
            return response
        origin, now = origin_of(request), time.monotonic()
        reason = self._policy.reason(response)
        if response.status in _MAY_ASK_TO_WAIT:
            seconds = retry_after(response.headers.get(b"Retry-After"), time.time())
            if seconds is not None:
                self._pool.rest(session, origin, now + seconds)
                if reason is None:
                    return response
                # It was not refused, but asked to wait.
                self._pool.asked_to_wait(session, origin, reason)
                return self._retry(request, session, "session_blocked") or response
        if reason is None:
            self._pool.succeeded(session, origin)
            self._all_rest = False
            # The next page may have the meta of this one.
            request.meta.pop(REFUSALS, None)
            return response
        if response.status == 407 and session.proxy is not None:
            self._proxy_failed(session, origin, BAD_CREDENTIALS, now)
        else:
            self._pool.blocked(session, origin, reason, now)
        if self._is_wanted(request, response):
            return response
        return self._retry(request, session, "session_blocked") or response

    def process_exception(self, request: Request, exception: Exception) -> Request | None:
        session = self._pool.get(request.meta.get(SESSION))
        if session is None:
            return None
        origin, now = origin_of(request), time.monotonic()
        if (
            session.proxy is not None
            and shown_proxy(request.meta.get("proxy")) == session.proxy.label
        ):
            failure = failure_of(exception)
            if failure is not None:
                self._proxy_failed(session, origin, failure, now)
                return self._retry(request, session, "session_proxy")
        reason = self._policy.reason(exception)
        if reason is None:
            return None
        self._pool.blocked(session, origin, reason, now)
        return self._retry(request, session, "session_blocked")

    def _proxy_failed(
        self, session: VisitorSession, origin: str, failure: ProxyFailure, now: float
    ) -> None:
        self._pool.proxy_failed(session, origin, failure.cause, now)
        assert session.proxy is not None
        session.proxy.last_failure = failure.words

    def _is_wanted(self, request: Request, response: Response) -> bool:
        """Tell whether a callback takes responses of this status."""
        if request.meta.get("handle_httpstatus_all"):
            return True
        wanted = request.meta.get(
            "handle_httpstatus_list", getattr(self._crawler.spider, "handle_httpstatus_list", ())
        )
        return response.status in wanted

    def _retry(self, request: Request, session: VisitorSession, reason: str) -> Request | None:
        """Return a retry in another session, or, of a name that a user gave, in its next."""
        meta = request.meta
        if meta.get("dont_retry", False):
            return None
        most = meta.get("max_retry_times", _MOST_REFUSALS)
        refusals = meta.get(REFUSALS, 0)
        counted = request.replace(meta={**meta, "retry_times": refusals})
        assert self._crawler.spider is not None
        retry = get_retry_request(
            counted,
            spider=self._crawler.spider,
            reason=reason,
            max_retry_times=most,
            priority_adjust=meta.get("priority_adjust"),
        )
        if retry is None:
            give_up_sessions(meta)
            return None
        del retry.meta["retry_times"]
        if "retry_times" in meta:
            retry.meta["retry_times"] = meta["retry_times"]
        retry.meta[REFUSALS] = refusals + 1
        retry.meta[REFUSED] = session.id
        if session.group is not None:
            options = dict(retry.meta["curl_safe"])
            options.pop("session", None)
            retry.meta["curl_safe"] = options
        return retry

    def _note_rest(self, now: float, seconds: float) -> None:
        """Log once that all proxies rest."""
        proxies = self._pool.proxies
        if self._all_rest or not proxies or self._pool.resting(now) < len(proxies):
            return
        self._all_rest = True
        logger.warning("%s", all_rest(proxies, seconds))

    # Signals

    def _reached_downloader(self, request: Request) -> None:
        self._pool.change_in_flight(request.meta.get(SESSION), 1, time.monotonic())

    def _left_downloader(self, request: Request) -> None:
        self._pool.change_in_flight(request.meta.get(SESSION), -1, time.monotonic())

    def _spider_opened(self) -> None:
        saved, self._saved = self._saved, None
        if saved is None:
            return
        for session, cookies in load(self._pool, saved, time.monotonic(), time.time()):
            fill_jar(self._crawler, session.cookiejar, cookies)
        # A crawl that is killed has given its sessions other cookies than these.
        assert self._file is not None
        self._file.unlink(missing_ok=True)

    def _spider_closed(self) -> None:
        self._own_proxies.close()
        if self._file is not None:
            state = dump(
                self._pool,
                time.monotonic(),
                time.time(),
                lambda key: read_jar(self._crawler, key),
            )
            write_sessions(self._file, state)


def _is_for_robots(request: Request) -> bool:
    return urlparse_cached(request).path == "/robots.txt"

"""Builds the head of a request as the browser would send it."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable
from functools import lru_cache
from http.cookiejar import Cookie
from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.spidermiddlewares.referer import RefererMiddleware

from .._ipc.messages import Fetch, HeaderPairs
from .browser.classify import guess_kind
from .browser.cookies import crumbs, same_site_of, sends_cookie
from .browser.own_headers import HeaderConflict
from .browser.referrer import DEFAULT_POLICY, Trim, referer
from .browser.request import NAVIGATIONS, BrowserRequest, Kind, root_of
from .browser.sites import web_origin
from .browser.target import Target
from .browser_head import OwnHeaders, encoded_head
from .file_pages import file_pages_of
from .initiators import Asked, asked, browser_policy, note_own_referer, note_page, note_response
from .scrapy_api import cookies_for, has_header, header_items
from .visited_origins import HttpVersion, VisitedOrigins

logger = logging.getLogger(__name__)

_HIDES_ALL = "no-referrer"
_ANY_ORIGIN = "https://any"

# The headers that give a script away.
_TELLING = {name.encode(): name for name in ("x-requested-with", "content-type", "accept")}


class HeadBuilder:
    """Builds the heads of a crawl's requests.

    Args:
        crawler: the crawl's crawler. The crawl must have begun before the first request is built.
    """

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._visited = VisitedOrigins()
        self._pages = file_pages_of(crawler)
        self._policy: str | None = browser_policy(crawler.settings.get("REFERRER_POLICY") or "")
        self._sets_referer: bool | None = None
        self._warned_of_conflict = False

    def build(
        self,
        fetch: Fetch,
        request: Request,
        options: dict[str, Any],
        headers: HeaderPairs,
        target: Target,
        key: tuple[str, bytes],
        *,
        http_version: str | None,
    ) -> None:
        """Build the head of a request.

        Args:
            fetch: receives the head.
            options: the checked options of the request's meta.
            headers: those that are not Scrapy's defaults; None as a value keeps one from being
                sent.
            key: the request's origin and encoded profile.
            http_version: the value in the request's profile.

        Raises:
            ValueError: the URL of the request or of its initiator is not valid.
        """
        own, cookie, own_referer = _without_cookie_and_referer(headers)
        kind = options.get("as") or _kind_of(request, own)
        how = self._asked(request, options, own_referer)
        initiator = how.initiator
        root = root_of(request.url)
        if (
            initiator is None
            and kind == "page"
            and request.method == "GET"
            and not how.redirects
            and root.startswith("https://")
        ):
            # Typed into the address bar: the head is the same for all origins.
            root = _ANY_ORIGIN
        # Part of the key in the cache of heads, and therefore without paths. By position, since
        # keywords would take a microsecond.
        browser_request = BrowserRequest(
            kind,
            root,
            request.method,
            None if initiator is None else root_of(initiator),
            how.policy or DEFAULT_POLICY,
            how.redirects,
            how.clicked,
            "soft" if how.is_reload and kind == "page" else None,
            how.was_post,
            self._visited.hints(key),
        )
        version: HttpVersion | None
        if http_version == "v1":
            version = 1
        elif request.url.startswith("https:"):
            version = self._visited.version(key)
        else:
            version = 2 if http_version == "v2_prior_knowledge" else 1
        head = encoded_head(target, browser_request, own, version)
        fetch.browser_head = head.message
        if head.conflict is not None:
            self.warn_of_conflict(request, head.conflict)
        if cookie:
            if not head.has_all_cookies:
                cookie = self._filtered(cookie, request, browser_request)
            fetch.cookie = cookie
        if how.has_own_referer or how.policy is None:
            fetch.referer = own_referer or None
        elif head.shows_initiator and initiator is not None:
            fetch.referer = _whole(initiator) or None
        else:
            fetch.referer = head.referer

    def warn_of_conflict(self, request: Request, conflict: HeaderConflict) -> None:
        """Log once that a request's own headers contradict the impersonated browser."""
        if self._warned_of_conflict:
            return
        self._warned_of_conflict = True
        logger.warning(
            "%s contradicts the impersonated browser, which a site can tell: %s. Other "
            "requests may do so, too. You can %s",
            request,
            *conflict,
        )

    def response_received(
        self,
        request: Request,
        options: dict[str, Any],
        response: Response,
        key: Hashable,
    ) -> None:
        """Learn from a response.

        Args:
            options: the checked options of the request's meta.
            key: the request's origin and encoded profile.
        """
        self._visited.answered(key, response.protocol)
        if has_header(response.headers, b"Accept-CH"):
            own = tuple((n, v[0] if v else None) for n, v in header_items(request.headers))
            # Browsers heed it only in responses to navigations.
            if (options.get("as") or _kind_of(request, own)) in NAVIGATIONS:
                asks_for = b",".join(response.headers.getlist(b"Accept-Ch")).decode("latin-1")
                self._visited.asked_for_hints(key, asks_for)
        note_response(request, response)

    def _asked(self, request: Request, options: dict[str, Any], own_referer: bytes | None) -> Asked:
        how = asked(request.meta, options, self._policy)
        if not self._has_referer_middleware():
            how = how._replace(policy=_HIDES_ALL)
        if how.initiator is not None or "from" in options:
            # Scrapy sets no Referer on a request that no callback has yielded, so a missing one
            # does not mean that the user wants none.
            named = "from" in options and own_referer is None
            return how._replace(has_own_referer=False) if named else how
        if how.has_own_referer and own_referer:
            page = own_referer.decode("latin-1")
            if _has_origin(page):
                note_own_referer(request, page)
                return how._replace(initiator=page)
        if request.callback is NO_CALLBACK:
            page_of_file = self._pages.page_of(request.url)
            if page_of_file is not None:
                note_page(request, page_of_file)
                return how._replace(initiator=page_of_file, has_own_referer=False)
        return how

    def _has_referer_middleware(self) -> bool:
        """Tell whether Scrapy sets a Referer. If it does not, the user wants none."""
        if self._sets_referer is None:
            try:
                found = self._crawler.get_spider_middleware(RefererMiddleware)
            except RuntimeError:  # A handler by itself, without an engine.
                return True
            self._sets_referer = found is not None
        return self._sets_referer

    def _filtered(
        self, header: bytes, request: Request, browser_request: BrowserRequest
    ) -> bytes | None:
        """Leave out the cookies of Scrapy's jar that a browser would not send."""
        jar = cookies_for(self._crawler, request)
        if jar is None:
            return header
        known = list(jar)
        explicit = _names_of(request.cookies)
        kept = [
            crumb
            for crumb in crumbs(header.decode("latin-1"))
            if crumb.partition("=")[0] in explicit or _is_sent(crumb, known, browser_request)
        ]
        return "; ".join(kept).encode("latin-1") or None


def _without_cookie_and_referer(
    headers: HeaderPairs,
) -> tuple[OwnHeaders, bytes | None, bytes | None]:
    """Return the headers except Cookie and Referer, and the values of these two."""
    if not headers:
        return (), b"", None
    cookies, referrers = [], []
    own = []
    for pair in headers:
        name = pair[0].lower()
        if name == b"cookie":
            cookies.append(pair[1] or b"")
        elif name == b"referer":
            referrers.append(pair[1])
        else:
            own.append(pair)
    return tuple(own), b"; ".join(cookies), referrers[0] if referrers else None


@lru_cache(1024)
def _whole(initiator: str) -> bytes:
    """Return the Referer that shows a page's whole URL, which all links of the page share."""
    return (referer(initiator, Trim.FULL) or "").encode()


def _kind_of(request: Request, own: OwnHeaders) -> Kind:
    has_callback = request.callback is not NO_CALLBACK
    if not own and has_callback and request.method == "GET":
        return "page"
    telling = {}
    for name, value in own:
        lower = name.lower()
        if lower in _TELLING and value is not None:
            telling[_TELLING[lower]] = value.decode("latin-1")
    return guess_kind(request.method, request.url, telling, has_callback)


def _has_origin(page: str) -> bool:
    try:
        return web_origin(page) is not None
    except ValueError:  # of its port
        return False


def _names_of(cookies: Any) -> set[str]:
    """Return the names of the cookies that were set on a request itself."""
    if isinstance(cookies, dict):
        return set(map(str, cookies))
    return {str(cookie.get("name")) for cookie in cookies}


def _is_sent(crumb: str, jar: Iterable[Cookie], request: BrowserRequest) -> bool:
    name, _, value = crumb.partition("=")
    same = [cookie for cookie in jar if cookie.name == name and (cookie.value or "") == value]
    return not same or any(
        sends_cookie(request, same_site_of(cookie), cookie.secure) for cookie in same
    )

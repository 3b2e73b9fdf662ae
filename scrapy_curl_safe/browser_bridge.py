"""Moves a session into a real browser and back. Knows no browser's library: cookies, proxies and
options have the form that Playwright gives them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http.cookiejar import Cookie
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scrapy import Request
from scrapy.crawler import Crawler

from ._crawl.browser.cookies import is_http_only, same_site_of
from ._crawl.context import context_of
from ._crawl.profile import encoded_profile
from ._crawl.scrapy_api import cookiejars
from ._crawl.session_pools import session_pool_of, shown_proxy
from ._crawl.sessions.adopted import adopt
from ._crawl.sessions.health import Proxy
from ._crawl.sessions.pool import SessionPool
from ._crawl.sessions.session import VisitorSession

_NO_EXPIRY = -1
# http.cookiejar appends it to the names of hosts without a dot.
_LOCAL = ".local"


async def session_for_browser(crawler: Crawler, name: str) -> dict[str, Any]:
    """Return what a browser has to have to go on as a session.

    Args:
        name: of the session, as `meta["curl_safe"]["session"]` has it.

    Returns:
        The options of Playwright's `browser.new_context`: `storage_state` with the cookies,
        `user_agent`, and where the session has them `proxy` and `locale`.

    Raises:
        ValueError: there are no sessions, or that one has ended.
    """
    session = adopt(_pool_of(crawler), name, None, None, time.monotonic())
    jars = cookiejars(crawler)
    cookies = [] if jars is None else [_as_browsers(cookie) for cookie in jars[session.cookiejar]]
    options: dict[str, Any] = {"storage_state": {"cookies": cookies, "origins": []}}
    if session.user_agent is None:
        session.user_agent = await _user_agent(crawler, session)
    if session.user_agent is not None:
        options["user_agent"] = session.user_agent
    if session.proxy is not None:
        options["proxy"] = _browsers_proxy(session.proxy.url)
    if session.browser.languages:
        options["locale"] = session.browser.languages[0]
    return options


def session_from_browser(
    crawler: Crawler,
    name: str,
    cookies: Iterable[Mapping[str, Any]] | Mapping[str, Any],
    *,
    user_agent: str | None = None,
    proxy: str | Mapping[str, str] | None = None,
) -> None:
    """Let a session go on as a browser was: with its cookies, its User-Agent and its proxy.

    If the session has another User-Agent or proxy and was used with it, it ends, and the next one
    of the name gets these.

    Args:
        name: of the session, as `meta["curl_safe"]["session"]` has it.
        cookies: what Playwright's `context.cookies()` or `context.storage_state()` returns.
        user_agent: None for that of the session.
        proxy: a URL, or a dict as Playwright takes it; None for that of the session.

    Raises:
        ValueError: there are no sessions; or the name is not a user's, and its session has ended or
            has another proxy or User-Agent; or the headers are not those that a browser would send;
            or the proxy has no server, or a cookie no name, value or domain. (Requests of a session
            with the User-Agent of another browser's family fail for that reason.)
    """
    pool = _pool_of(crawler)
    listed = cookies["cookies"] if isinstance(cookies, Mapping) else cookies
    scrapys = [_as_scrapys(cookie) for cookie in listed]
    known = None if proxy is None else _known_proxy(pool, proxy)
    context = context_of(crawler)
    sends_any = context is None or context.settings.browser_headers == "context"
    now = time.monotonic()
    session = adopt(pool, name, known, user_agent, now, sends_user_agent=sends_any)
    jars = cookiejars(crawler)
    if jars is not None:
        for cookie in scrapys:
            jars[session.cookiejar].set_cookie(cookie)


def _pool_of(crawler: Crawler) -> SessionPool:
    pool = session_pool_of(crawler)
    if pool is None:
        raise ValueError("the crawl has no sessions: they take CURL_SAFE_SESSIONS")
    return pool


async def _user_agent(crawler: Crawler, session: VisitorSession) -> str | None:
    """Return the User-Agent of a session's browser, which only a worker knows."""
    context = context_of(crawler)
    if context is None:
        return None
    options = {"impersonate": session.browser.impersonate}
    profile = encoded_profile(
        Request("data:,"), options, context.settings, context.installed_browsers
    )
    await context.targets.learn(profile)
    target = context.targets.get(profile)
    return None if target is None else target.value("user-agent")


def _known_proxy(pool: SessionPool, proxy: str | Mapping[str, str]) -> Proxy:
    """Return the proxy of the pool that is meant; otherwise a new one."""
    wanted = _browsers_proxy(proxy) if isinstance(proxy, str) else dict(proxy)
    if not wanted.get("server"):
        raise ValueError(f"proxy is a dict of {', '.join(wanted) or 'nothing'}: it takes server")
    wanted.pop("bypass", None)
    for known in pool.proxies:
        if _browsers_proxy(known.url) == wanted:
            return known
    server = urlsplit(wanted["server"] if "://" in wanted["server"] else f"//{wanted['server']}")
    user = ""
    if "username" in wanted:
        user = f"{quote(wanted['username'], '')}:{quote(wanted.get('password', ''), '')}@"
    url = f"{server.scheme or 'http'}://{user}{server.netloc}"
    return Proxy(url, shown_proxy(url) or "")


def _browsers_proxy(url: str) -> dict[str, str]:
    parts = urlsplit(url if "://" in url else f"http://{url}")
    user, at, location = parts.netloc.rpartition("@")
    # The names of a resolver at the proxy, which a browser uses anyway.
    scheme = {"socks5h": "socks5", "socks4a": "socks4"}.get(parts.scheme, parts.scheme)
    proxy = {"server": f"{scheme}://{location}"}
    if at:
        name, _, password = user.partition(":")
        proxy |= {"username": unquote(name), "password": unquote(password)}
    return proxy


def _as_browsers(cookie: Cookie) -> dict[str, Any]:
    """Return a cookie as Playwright gives it."""
    return {
        "name": cookie.name,
        "value": cookie.value or "",
        "domain": _browsers_domain(cookie.domain),
        "path": cookie.path,
        "expires": _NO_EXPIRY if cookie.expires is None else cookie.expires,
        "httpOnly": is_http_only(cookie),
        "secure": cookie.secure,
        "sameSite": _browsers_same_site(cookie),
    }


def _browsers_domain(domain: str) -> str:
    host = domain.removesuffix(_LOCAL)
    return domain if "." in host else host


def _browsers_same_site(cookie: Cookie) -> str:
    """Return what a browser makes of a cookie's SameSite: Lax of a value that it does not know, and
    of None without Secure."""
    value = (same_site_of(cookie) or "").capitalize()
    return value if value == "Strict" or (value == "None" and cookie.secure) else "Lax"


def _as_scrapys(cookie: Mapping[str, Any]) -> Cookie:
    if missing := [key for key in ("name", "value", "domain") if key not in cookie]:
        raise ValueError(f"a cookie has no {' and no '.join(missing)}")
    domain, expires = cookie["domain"], cookie.get("expires", _NO_EXPIRY)
    is_whole_domain = domain.startswith(".")
    rest = {"SameSite": cookie["sameSite"]} if cookie.get("sameSite") else {}
    if cookie.get("httpOnly"):
        rest["HttpOnly"] = ""
    return Cookie(
        version=0,
        name=cookie["name"],
        value=cookie["value"],
        port=None,
        port_specified=False,
        domain=domain if "." in domain or ":" in domain else domain + _LOCAL,
        domain_specified=is_whole_domain,
        domain_initial_dot=is_whole_domain,
        path=cookie.get("path", "/"),
        path_specified=True,
        secure=bool(cookie.get("secure")),
        expires=None if expires == _NO_EXPIRY else int(expires),
        discard=expires == _NO_EXPIRY,
        comment=None,
        comment_url=None,
        rest=rest,
    )

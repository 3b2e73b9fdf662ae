"""The pool of sessions of a crawler, which its middleware and its monitor share."""

from __future__ import annotations

import secrets
from weakref import WeakKeyDictionary

from scrapy.crawler import Crawler

from .._proxy_url import without_credentials
from ..session_settings import SessionBrowser, SessionSettings
from ..settings import Settings
from .session_files import drop_jar
from .sessions.assignment import seed_of
from .sessions.health import Proxy
from .sessions.pool import SessionPool
from .stats import PREFIX

_pools: WeakKeyDictionary[Crawler, SessionPool] = WeakKeyDictionary()


def shown_proxy(url: str | None) -> str | None:
    """Return the URL of a proxy without credentials, the same before and after Scrapy's
    HttpProxyMiddleware."""
    return without_credentials(url).rstrip("/") if url else url


def make_session_pool(
    crawler: Crawler, settings: Settings, sessions: SessionSettings, crawl_id: str | None
) -> SessionPool:
    """Make the pool of a crawler.

    Args:
        crawl_id: of the crawl that this one continues; None for another one.

    Raises:
        ValueError: the function of CURL_SAFE_SESSIONS returns no list of proxies.
    """
    stats = crawler.stats
    assert stats is not None
    pool = _pools[crawler] = SessionPool(
        sessions,
        [Proxy(url, shown_proxy(url) or "") for url in sessions.load_proxies()],
        sessions.browsers or [SessionBrowser(browser) for browser in settings.browsers],
        seed_of(crawler.settings["BOT_NAME"], crawler.spidercls.name),
        crawl_id or secrets.token_hex(4),
        settings.download_timeout,
        on_dropped=lambda session: drop_jar(crawler, session.cookiejar),
        count=lambda key: stats.inc_value(PREFIX + key),
    )
    return pool


def session_pool_of(crawler: Crawler) -> SessionPool | None:
    """Return the pool of a crawler; None if it has none."""
    return _pools.get(crawler)

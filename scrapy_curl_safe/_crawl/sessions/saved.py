"""The form in which sessions are kept between two runs of a crawl. Pure: plain values, no files.

No credentials are in it: a proxy is known by a digest of its URL, which the settings have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from .health import Proxy
from .pool import SessionPool
from .session import Group, VisitorSession

VERSION = 1


def dump(
    pool: SessionPool, now: float, unix_time: float, cookies_of: Callable[[str], list[Any]]
) -> dict[str, Any]:
    """Return what `load` takes.

    Args:
        now: of the clock that the pool goes by.
        unix_time: the same moment.
        cookies_of: returns the cookies of a jar, as plain values.
    """
    return {
        "version": VERSION,
        "crawl_id": pool.crawl_id,
        "groups_made": pool.groups_made,
        "groups": {
            key: [group.id, group.opened, group.number, group.vacant]
            for key, group in pool.groups.items()
        },
        "sessions": [
            {
                "name": session.name,
                "generation": session.generation,
                "group": session.group,
                "proxy": _digest(session),
                "browser": _plain(session),
                "user_agent": session.user_agent,
                "born": session.born - now + unix_time,
                "requests": session.requests,
                "errors": session.errors,
                "ended": session.ended,
                "rests": {
                    origin: until - now + unix_time
                    for origin, until in session.rests.items()
                    if until > now
                },
                "cookies": cookies_of(session.cookiejar) if session.ended is None else [],
            }
            for session in pool.kept()
        ],
    }


def load(
    pool: SessionPool, state: dict[str, Any], now: float, unix_time: float
) -> Iterator[tuple[VisitorSession, list[Any]]]:
    """Take the sessions over into a pool with the same crawl id; yield each that has cookies.

    A session whose proxy or browser is not in the settings any more is left out.
    """
    pool.groups_made = state["groups_made"]
    for key, (group_id, opened, number, vacant) in state["groups"].items():
        group = pool.groups[key] = Group(group_id)
        group.opened, group.number, group.vacant = opened, number, list(vacant)
    known = {_digest_of(proxy): proxy for proxy in pool.proxies}
    for each in state["sessions"]:
        session = pool.revived(each["name"], each["generation"], each["group"])
        session.user_agent = each["user_agent"]
        if session.group is None and _digest(session) != each["proxy"]:
            # That of a browser's, as `adopt` has it.
            session.proxy = known.get(each["proxy"], session.proxy)
        is_same = (_digest(session), _plain(session)) == (each["proxy"], each["browser"])
        session.born = each["born"] - unix_time + now
        session.requests, session.errors = each["requests"], each["errors"]
        session.is_settled = True
        session.ended = each["ended"] if is_same else "settings"
        session.rests = {o: until - unix_time + now for o, until in each["rests"].items()}
        pool.restore(session)
        if session.ended is None and each["cookies"]:
            yield session, each["cookies"]


def _plain(session: VisitorSession) -> list[Any]:
    browser = session.browser
    return [browser.impersonate, list(browser.languages)]


def _digest(session: VisitorSession) -> str | None:
    return None if session.proxy is None else _digest_of(session.proxy)


def _digest_of(proxy: Proxy) -> str:
    return hashlib.blake2b(proxy.url.encode(), digest_size=8).hexdigest()

"""Sessions that a browser has begun. Pure."""

from __future__ import annotations

from .health import Proxy
from .pool import SessionPool
from .session import VisitorSession


def adopt(
    pool: SessionPool,
    name: str,
    proxy: Proxy | None,
    user_agent: str | None,
    now: float,
    *,
    sends_user_agent: bool = True,
) -> VisitorSession:
    """Return the session of a name, with that proxy and User-Agent.

    A session that has others, and has been used, ends: the next of the name gets these.

    Args:
        name: as requests name it.
        proxy: None for the session's own.
        user_agent: None for that of its browser.
        sends_user_agent: whether a session can send another than its browser's.

    Raises:
        ValueError: it is a session that no user has named, and has ended or has others; or it
            cannot send the User-Agent.
    """
    session = pool.get(name) if name.startswith("~") else pool.named(name, now)
    if session is None or session.ended is not None:
        raise ValueError(f"there is no session {name!r} any more")
    if _is_same(session, proxy, user_agent):
        session.settle()
        return session
    if not sends_user_agent and user_agent not in (None, session.user_agent):
        raise ValueError("another User-Agent takes CURL_SAFE_BROWSER_HEADERS = 'context'")
    if session.group is not None:
        raise ValueError(f"the session {name!r} has another proxy or User-Agent, which it keeps")
    if session.requests:
        pool.end(session, "replaced")
        session = pool.named(name, now)
    session.proxy = proxy or session.proxy
    session.user_agent = user_agent or session.user_agent
    session.settle()
    return session


def _is_same(session: VisitorSession, proxy: Proxy | None, user_agent: str | None) -> bool:
    has_proxy = proxy is None or (session.proxy is not None and proxy.url == session.proxy.url)
    return has_proxy and user_agent in (None, session.user_agent)

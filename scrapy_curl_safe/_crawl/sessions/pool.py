"""Chooses the session of each request, and ends sessions. Pure: the time is an argument.

A session is open until it has had its requests or its age (it then ends, but redirects and retries
of its requests still stay in it), or until it was refused too often in a row. In the place of one
that a user has named comes the next generation of that name, with another proxy and browser. In the
place of any other comes one with another name.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from ...session_settings import SessionBrowser, SessionSettings
from .assignment import choice, turn
from .health import Proxy
from .session import Group, VisitorSession

#: Stats, each below with a reason.
SESSION_ENDS = "session/end_count"
SESSION_BLOCKS = "session/block_count"
PROXY_FAILURES = "proxy/failure_count"

# Begins the names that are not a user's.
_OWN = "~"
_LEAST_WAIT_SECONDS = 0.01
# Rests in a row of a proxy, after which a session that a user has named gets another.
_MOST_RESTS = 3
# Between two looks at sessions whose first response is due.
_ALONE_WAIT_SECONDS = 0.05
# From the end of a download until the middlewares have taken the cookies.
_COOKIES_SECONDS = 1.0
# Ended sessions whose cookies are kept for requests that were redirected or are to be retried.
_MOST_ENDED = 1000
# Origins that a session leaves alone for a time, of which the oldest is forgotten.
_MOST_RESTING_ORIGINS = 1000
# Groups and their sessions, all counted: what a crawl of very many origins keeps.
_MOST_KEPT = 10_000


class SessionPool:
    """The sessions of a crawl.

    Args:
        settings: of the sessions.
        proxies: may be empty.
        browsers: one or more.
        seed: of the crawl.
        crawl_id: differs between crawls, since two of them may share a queue.
        trial_seconds: after which a trial request counts as lost.
        on_dropped: is told of each session whose cookies are not needed any more.
        count: is told the key of a stat that is one more.

    Attributes:
        alive: number of sessions that get requests.
        groups: of the sessions that no user has named, by their origin if each has its own; the
            one used last comes last.
        groups_made: how many there have been, which names them apart.
        proxies: in the order of the setting.
    """

    def __init__(
        self,
        settings: SessionSettings,
        proxies: Sequence[Proxy],
        browsers: Sequence[SessionBrowser],
        seed: bytes,
        crawl_id: str,
        trial_seconds: float,
        on_dropped: Callable[[VisitorSession], object],
        count: Callable[[str], object],
    ) -> None:
        self.crawl_id = crawl_id
        self.proxies = proxies
        self.groups: OrderedDict[str, Group] = OrderedDict()
        self.groups_made = 0
        self._in_groups = 0
        self._settings = settings
        self._browsers = browsers
        self._seed = seed
        self._trial_seconds = trial_seconds
        self._on_dropped = on_dropped
        self._count = count
        self._size = settings.size or max(1, len(proxies))
        self._named: dict[str, VisitorSession] = {}
        self._by_id: dict[str, VisitorSession] = {}
        self._ended_sessions: deque[VisitorSession] = deque()

    @property
    def alive(self) -> int:
        return len(self._by_id) - len(self._ended_sessions)

    def get(self, session_id: str | None) -> VisitorSession | None:
        return None if session_id is None else self._by_id.get(session_id)

    def resting(self, now: float) -> int:
        """Return the number of proxies that rest."""
        return sum(proxy.is_resting(now) for proxy in self.proxies)

    def worst_proxies(self, most: int) -> list[Proxy]:
        """Return the proxies with failures or blocks, the largest share of requests first."""
        bad = [proxy for proxy in self.proxies if proxy.failures or proxy.blocks]
        return sorted(bad, key=_badness, reverse=True)[:most]

    # Which session a request gets

    def acquire(
        self,
        origin: str,
        now: float,
        *,
        name: str | None = None,
        avoid: str | None = None,
        may_move: bool = False,
    ) -> VisitorSession | float:
        """Return the session for a request, or the seconds until there may be one.

        Args:
            name: that the request asks for.
            avoid: id of a session that it was blocked in.
            may_move: whether the name is not a user's wish: another session will do if that rests.
        """
        if name is not None and not name.startswith(_OWN):
            found: VisitorSession | float = self.named(name, now)
        else:
            own = None if name is None else self._by_id.get(name)
            if (
                own is None
                or own.ended is not None
                or self._expire(own, now)
                or (may_move and own.available_at(origin) > now)
            ):
                own = None
            found = own or self._choose(origin, now, avoid)
        if isinstance(found, float):
            return found
        at = found.available_at(origin)
        if at > now:
            return at - now
        if found.alone_until > now:
            return _ALONE_WAIT_SECONDS
        found.requests += 1
        self._begin(found, origin, now)
        most = self._settings.max_requests
        if most and found.requests >= most:
            self.end(found, "requests")
        return found

    def resume(self, session_id: str, origin: str, now: float) -> VisitorSession | None:
        """Return the session that a redirected or retried request was in, if it may stay there."""
        session = self._by_id.get(session_id)
        if session is None or session.is_refused or session.available_at(origin) > now:
            return None
        self._begin(session, origin, now)
        return session

    def _begin(self, session: VisitorSession, origin: str, now: float) -> None:
        if not session.is_settled:
            session.alone_until = now + self._trial_seconds
        if session.proxy is not None:
            session.proxy.begin(origin, now, self._trial_seconds)
        if session.group is not None and session.ended is None:
            self.groups[session.group].take_turn(session)

    def named(self, name: str, now: float) -> VisitorSession:
        """Return the session of a name that a user has given, opened if need be."""
        session = self._named.get(name)
        if session is not None and session.ended is None and not self._expire(session, now):
            return session
        generation = 1 if session is None else session.generation + 1
        # One whose proxy rests is passed over, each proxy at most once.
        for more in range(max(1, len(self.proxies))):
            proxy = self._proxy_of(name, generation + more)
            if proxy is None or not proxy.is_resting(now):
                generation += more
                break
        session = self._open(name, generation, None, now)
        self._named[name] = session
        return session

    def _choose(self, origin: str, now: float, avoid: str | None) -> VisitorSession | float:
        key = origin if self._settings.per == "origin" else ""
        group = self.groups.get(key)
        if group is None:
            self._drop_unused_groups()
            group = self.groups[key] = Group(self.groups_made)
            self.groups_made += 1
        else:
            self.groups.move_to_end(key)
        opened = self._open_vacant(key, group, origin, now)
        if opened is not None:
            return opened
        soonest, avoided = None, None
        for session in group.least_busy_first():
            if self._expire(session, now):
                return self._choose(origin, now, avoid)
            at = session.available_at(origin)
            if at > now:
                soonest = at if soonest is None else min(soonest, at)
            elif session.alone_until > now:
                soonest = now + _ALONE_WAIT_SECONDS
            elif session.id == avoid:
                avoided = session
            else:
                return session
        if avoided is not None:
            return avoided
        if soonest is None:
            soonest = min((proxy.available_at(origin) for proxy in self.proxies), default=now)
        return max(_LEAST_WAIT_SECONDS, soonest - now)

    def _open_vacant(
        self, key: str, group: Group, origin: str, now: float
    ) -> VisitorSession | None:
        if group.opened < self._size:
            group.opened += 1
            self._vacate(group)
        if now < group.vacant_at or not group.vacant:
            return None
        soonest = math.inf
        for place in range(len(group.vacant)):
            number = group.vacant[place]
            for _ in range(max(1, len(self.proxies))):
                name = f"{_OWN}{self.crawl_id}.{group.id}-{number}"
                proxy = self._proxy_of(name, 1)
                at = 0.0 if proxy is None else proxy.available_at(origin)
                soonest = min(soonest, at)
                if at <= now:
                    del group.vacant[place]
                    session = self._open(name, 1, key, now)
                    group.add(session)
                    self._in_groups += 1
                    return session
                if not self._settings.size:
                    break
                number = group.vacant[place] = group.number
                group.number += 1
        group.vacant_at = soonest
        return None

    def _drop_unused_groups(self) -> None:
        """Make place for a group: those that were not used for longest go, but for busy ones."""
        excess = len(self.groups) + self._in_groups - _MOST_KEPT
        unused: dict[str, list[VisitorSession]] = {}
        for key, group in self.groups.items():
            if excess <= 0:
                break
            if not group.is_busy():
                unused[key] = list(group.least_busy_first())
                excess -= 1 + len(unused[key])
        for key, sessions in unused.items():
            for session in sessions:
                self.end(session, "unused")
            del self.groups[key]

    def _proxy_of(self, name: str, generation: int) -> Proxy | None:
        if not self.proxies:
            return None
        number = turn(self._seed, name, len(self.proxies)) + generation - 1
        return self.proxies[number % len(self.proxies)]

    def _browser_of(self, name: str, generation: int) -> SessionBrowser:
        key = f"{name}#{generation}"
        return self._browsers[choice(self._seed, key, len(self._browsers))]

    def _open(self, name: str, generation: int, key: str | None, now: float) -> VisitorSession:
        session = self.revived(name, generation, key)
        session.born = now
        self._by_id[session.id] = session
        self._count("session/open_count")
        return session

    # What becomes of it

    def change_in_flight(self, session_id: str | None, change: int, now: float) -> None:
        """Note that one of its requests begins (1) or ends (-1)."""
        session = self.get(session_id)
        if session is None:
            return
        if change < 0 and not session.is_settled:
            session.alone_until = now + _COOKIES_SECONDS
        in_flight = max(0, session.in_flight + change)
        if session.group is not None and session.ended is None:
            self.groups[session.group].move(session, in_flight)
        else:
            session.in_flight = in_flight

    def succeeded(self, session: VisitorSession, origin: str) -> None:
        session.errors = 0
        session.settle()
        if session.proxy is not None:
            session.proxy.succeeded(origin)

    def blocked(self, session: VisitorSession, origin: str, reason: str, now: float) -> None:
        self._count(f"{SESSION_BLOCKS}/{reason}")
        session.settle()
        # Requests that were in flight as it was refused say no more of the proxy.
        if session.proxy is not None and not session.is_refused:
            session.proxy.blocked(origin, now)
        session.errors += 1
        if session.errors >= self._settings.max_errors:
            session.is_refused = True
            self.end(session, "blocked")

    def proxy_failed(self, session: VisitorSession, origin: str, cause: str, now: float) -> None:
        self._count(f"{PROXY_FAILURES}/{cause}")
        session.alone_until = 0.0
        assert session.proxy is not None
        rests = session.proxy.failed(origin, cause, now)
        # With one session per proxy, the next would have no other.
        if session.group is None or self._settings.size:
            most = _MOST_RESTS if session.group is None else 1
            if rests >= most:
                session.is_refused = True
                self.end(session, "proxy")

    def rest(self, session: VisitorSession, origin: str, until: float) -> None:
        """Send no request of a session to an origin before a time."""
        if len(session.rests) >= _MOST_RESTING_ORIGINS:
            del session.rests[next(iter(session.rests))]
        session.rests[origin] = max(until, session.rests.get(origin, 0.0))

    def asked_to_wait(self, session: VisitorSession, origin: str, reason: str) -> None:
        """Note a response that refused a request, but said when to come back."""
        self._count(f"{SESSION_BLOCKS}/{reason}")
        self.succeeded(session, origin)

    def _expire(self, session: VisitorSession, now: float) -> bool:
        age = self._settings.max_age
        if age and now - session.born >= age:
            self.end(session, "age")
            return True
        return False

    def end(self, session: VisitorSession, reason: str) -> None:
        if session.ended is not None:
            return
        session.ended = reason
        self._count(f"{SESSION_ENDS}/{reason}")
        if session.group is not None:
            group = self.groups[session.group]
            group.remove(session)
            self._in_groups -= 1
            self._vacate(group, session)
        self._ended_sessions.append(session)
        if len(self._ended_sessions) > _MOST_ENDED:
            oldest = self._ended_sessions.popleft()
            del self._by_id[oldest.id]
            self._on_dropped(oldest)

    # Kept

    def kept(self) -> list[VisitorSession]:
        """Return the sessions that a continued crawl must know: those that get requests, and of
        each name of a user the last one."""
        live = [session for session in self._by_id.values() if session.ended is None]
        return live + [session for session in self._named.values() if session.ended is not None]

    def revived(self, name: str, generation: int, group: str | None) -> VisitorSession:
        """Return a session as it was opened, for `restore`."""
        proxy, browser = self._proxy_of(name, generation), self._browser_of(name, generation)
        return VisitorSession(name, generation, group, proxy, browser, 0.0)

    def restore(self, session: VisitorSession) -> None:
        """Take over a session of the crawl that this one continues."""
        if session.group is None:
            self._named[session.name] = session
        elif session.ended is None:
            self.groups[session.group].add(session)
            self._in_groups += 1
        else:
            self._vacate(self.groups[session.group], session)
        if session.ended is None:
            self._by_id[session.id] = session

    def _vacate(self, group: Group, ended: VisitorSession | None = None) -> None:
        """Make place for a session, the first or in the place of another."""
        group.vacant_at = 0.0
        if ended is None or self._settings.size:
            group.vacant.append(group.number)
            group.number += 1
        else:
            # The next in line for the same proxy.
            number = int(ended.name.rpartition("-")[2])
            group.vacant.append(number + max(1, len(self.proxies)))


def _badness(proxy: Proxy) -> tuple[float, int]:
    bad = proxy.failures.total() + proxy.blocks
    return bad / max(1, proxy.requests), bad

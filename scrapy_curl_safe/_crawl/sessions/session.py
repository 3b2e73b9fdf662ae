"""A session and the set of those that take turns. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from ...session_settings import SessionBrowser
from .health import Proxy


class VisitorSession:
    """A proxy, a browser and the key of a cookiejar, kept together.

    Args:
        name: as requests name it.
        generation: counts the sessions that had the name before it, from 1.
        group: of the set that it belongs to; None if a user has named it.
        proxy: None for none.
        born: when it began.

    Attributes:
        requests: that were given to it, redirects and retries within it apart.
        errors: in a row.
        in_flight: requests that the downloader has.
        ended: why it gets no more requests; None while it does.
        is_refused: whether it ended by being refused, so that not even a redirect stays in it.
        rests: when it may be used again, by origin.
        alone_until: its first request has it for itself, so that its cookies come before others.
        is_settled: whether a response has come.
        user_agent: that it has in place of its browser's; None for that.
    """

    def __init__(
        self,
        name: str,
        generation: int,
        group: str | None,
        proxy: Proxy | None,
        browser: SessionBrowser,
        born: float,
    ) -> None:
        self.name = name
        self.generation = generation
        self.group = group
        self.proxy = proxy
        self.browser = browser
        self.born = born
        self.requests = 0
        self.errors = 0
        self.in_flight = 0
        self.ended: str | None = None
        self.is_refused = False
        self.rests: dict[str, float] = {}
        self.alone_until = 0.0
        self.is_settled = False
        self.user_agent: str | None = None

    @property
    def id(self) -> str:
        return self.name if self.generation == 1 else f"{self.name}#{self.generation}"

    @property
    def cookiejar(self) -> str:
        return f"curl_safe session {self.id}"

    def settle(self) -> None:
        """Let requests go out together: the first ones have brought their cookies."""
        self.is_settled, self.alone_until = True, 0.0

    def available_at(self, origin: str) -> float:
        own = self.rests.get(origin, 0.0)
        return own if self.proxy is None else max(own, self.proxy.available_at(origin))


class Group:
    """The sessions that requests of an origin, or of a crawl, are spread over.

    Args:
        id: no other group of the crawl has it, not even an earlier one of the same origin.

    Attributes:
        opened: how many have been opened at first.
        number: of the next one.
        vacant: numbers of sessions to open in the place of those that have ended.
        vacant_at: when the first of them has a proxy that does not rest.
    """

    def __init__(self, id: int) -> None:
        self.id = id
        self.opened = 0
        self.number = 0
        self.vacant: list[int] = []
        self.vacant_at = 0.0
        self._live: dict[int, OrderedDict[str, VisitorSession]] = {0: OrderedDict()}

    def add(self, session: VisitorSession) -> None:
        self._live.setdefault(session.in_flight, OrderedDict())[session.name] = session

    def remove(self, session: VisitorSession) -> None:
        self._live[session.in_flight].pop(session.name, None)

    def move(self, session: VisitorSession, in_flight: int) -> None:
        """Change how many requests of a session are in flight; it comes after all others that have
        as many."""
        if self._live[session.in_flight].pop(session.name, None) is not None:
            self._live.setdefault(in_flight, OrderedDict())[session.name] = session
        session.in_flight = in_flight

    def is_busy(self) -> bool:
        return any(sessions for in_flight, sessions in self._live.items() if in_flight)

    def take_turn(self, session: VisitorSession) -> None:
        """Let the others that are as busy come first."""
        self._live[session.in_flight].move_to_end(session.name)

    def least_busy_first(self) -> Iterator[VisitorSession]:
        for in_flight in sorted(self._live):
            yield from self._live[in_flight].values()

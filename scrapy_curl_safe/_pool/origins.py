"""A crawl's knowledge of each origin, in one registry keyed by origin and proxy."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from .._ipc.failures import FailureKind
from .aimd import AimdLimit, Handshake
from .circuit_breaker import Admission, CircuitBreaker
from .token_bucket import TokenBucket

# Beyond these numbers, the registry forgets the longest unused origins.
_MOST_ORIGINS = 16_384
_MOST_PROVEN = 65_536

# Spread the retries of an origin over time once they outnumber its responses; each response refunds
# one. At 30 % random loss 43 % of all requests are retries, and each of them is a page: up to 50 %
# loss nothing waits; beyond that the retries go out at a steady rate.
_RETRY_BURST = 100.0
_RETRIES_PER_SECOND = 10.0


class Route(NamedTuple):
    """The way to an origin. Behind a proxy, an origin counts as a different one."""

    #: Scheme, host and port (RFC 6454).
    origin: str
    #: URL of the proxy without credentials; None for no proxy.
    proxy: str | None

    def __str__(self) -> str:
        return f"{self.origin} by {self.proxy}" if self.proxy else self.origin


class HandshakeFailure(NamedTuple):
    """The last failure of an origin's handshakes, reported for handshakes that were not tried."""

    kind: FailureKind
    code: int
    detail: str


class Origin:
    """The state of one origin on one route.

    Args:
        route: how it is reached.
        most: initial limit on simultaneous handshakes.
        floor: lowest such limit.

    Attributes:
        limit: how many handshakes may be under way at once.
        breaker: whether any may be under way.
        handshakes_done: how many succeeded.
        failures: how many failed, by kind.
        unconnected: connections that were not made, so that none began, by cause as the stats name
            it.
        responses: how many came.
        has_proxy_user: whether a request had a user for the proxy.
        last_failure: the last one of a kind that the limiter acts on.
        retry_budget: spreads retries over time.
        retries_in_a_row: number of retries since the last response.
        refused_at: when it first refused a connection, if it had not answered before.
    """

    def __init__(self, route: Route, most: int, floor: int) -> None:
        self.route = route
        self.limit = AimdLimit(most, floor)
        self.breaker = CircuitBreaker()
        self.handshakes_done = 0
        self.failures: Counter[FailureKind] = Counter()
        self.unconnected: Counter[str] = Counter()
        self.responses = 0
        self.has_proxy_user = False
        self.last_failure = HandshakeFailure(FailureKind.SYSCALL, 0, "")
        self.retry_budget = TokenBucket(_RETRY_BURST, _RETRIES_PER_SECOND)
        self.retries_in_a_row = 0
        self.refused_at: float | None = None

    def __repr__(self) -> str:
        return f"<Origin {self.route}: {self.limit}, {self.breaker}>"

    @property
    def is_in_use(self) -> bool:
        return bool(self.limit.in_use or self.breaker.is_open)

    def admission(self, now: float) -> Admission:
        """Decide about a request that needs a new connection."""
        if self.breaker.is_open:
            return self.breaker.admission(now)
        return Admission.PERMITTED if self.limit.has_place(now) else Admission.QUEUED

    def retry_admission_in(self, now: float) -> float | None:
        """Return the seconds until a queued request may ask again even if no handshake ends; None
        if only the end of a handshake can help."""
        if self.breaker.is_open:
            return self.breaker.open_for(now)
        return self.limit.next_place_in(now)

    def acquire(self, now: float) -> Permit:
        """Let a handshake begin, after `admission` permitted it."""
        handshake = self.limit.acquire()
        self.breaker.begin(handshake, now)
        return Permit(self, handshake)


class Permit:
    """Ties a request to the limit and the breaker of its origin.

    Args:
        origin: of the request.
        handshake: as the limit counts it; None if it is not limited because an idle connection was
            expected, the request is in quarantine, or CURL_SAFE_ADAPTIVE is off.
    """

    __slots__ = ("_handshake", "origin")

    def __init__(self, origin: Origin, handshake: Handshake | None = None) -> None:
        self.origin = origin
        self._handshake = handshake

    def success(self) -> None:
        """Report that the handshake succeeded."""
        origin = self.origin
        origin.handshakes_done += 1
        if origin.breaker.success():
            origin.limit.reset_to_floor()
        else:
            origin.limit.success(self._handshake)

    def failure(self, failure: HandshakeFailure, now: float) -> bool:
        """Report that the handshake failed in a way that fewer simultaneous ones may prevent.

        Returns:
            Whether this opened the origin's breaker, or left it open.
        """
        origin, handshake = self.origin, self._handshake
        origin.last_failure = failure
        origin.limit.failure(handshake, now)
        # Above the floor, it is up to the limit to react.
        counts = handshake is not None and not (
            origin.breaker.has_succeeded and handshake.rank > origin.limit.floor
        )
        return origin.breaker.failure(handshake, now, counts=counts)

    def release(self) -> None:
        """End the handshake, after its `success` or `failure` if it had one. A second call does
        nothing."""
        handshake, self._handshake = self._handshake, None
        if handshake is not None:
            self.origin.limit.release(handshake)
            self.origin.breaker.end(handshake)


class OriginRegistry:
    """Remembers origins, and forgets the longest unused ones first.

    Args:
        most: requests that can be in flight at once, which is the initial limit of each origin.
        floor: lowest limit of each origin.
    """

    def __init__(self, most: int, floor: int) -> None:
        self._most = most
        self._floor = floor
        self._by_route: OrderedDict[Route, Origin] = OrderedDict()
        # By origin alone: a new proxy does not make an origin doubtful.
        self._proven: OrderedDict[str, None] = OrderedDict()
        #: By origin, whatever the proxies: requests that wait for their next retry.
        self.waiting: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<OriginRegistry of {len(self._by_route)} origins>"

    def __iter__(self) -> Iterator[Origin]:
        return iter(self._by_route.values())

    def get(self, route: Route) -> Origin:
        """Return the state of an origin, which is created if necessary."""
        origin = self._by_route.get(route)
        if origin is None:
            origin = self._by_route[route] = Origin(route, self._most, self._floor)
            if len(self._by_route) > _MOST_ORIGINS:
                self._forget_one()
        else:
            self._by_route.move_to_end(route)
        return origin

    def _forget_one(self) -> None:
        unused = next((r for r, origin in self._by_route.items() if not origin.is_in_use), None)
        if unused is not None:
            del self._by_route[unused]

    def response_received(self, origin: Origin) -> None:
        """Note that a request to an origin got a response."""
        origin.responses += 1
        origin.retries_in_a_row = 0
        origin.retry_budget.refund()
        self._proven[origin.route.origin] = None
        self._proven.move_to_end(origin.route.origin)
        if len(self._proven) > _MOST_PROVEN:
            self._proven.popitem(last=False)

    def is_proven(self, route: Route) -> bool:
        """Tell whether the origin has ever answered, through any proxy."""
        return route.origin in self._proven

    def worst(self, count: int) -> list[Origin]:
        """Return the origins with the most failed handshakes, and only those with failures."""
        failed = [origin for origin in self._by_route.values() if origin.failures]
        return sorted(failed, key=lambda origin: -origin.failures.total())[:count]

    def limited(self) -> list[Origin]:
        """Return the origins whose limit is below the initial one, or whose breaker is open, the
        lowest limit first."""
        origins = [
            origin
            for origin in self._by_route.values()
            if origin.limit.is_lowered or origin.breaker.is_open
        ]
        return sorted(origins, key=lambda origin: origin.limit.value)

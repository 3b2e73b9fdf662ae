"""Which worker gets a request. Pure policy: what it needs to know comes as arguments."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Protocol, TypeVar

from ..wire import Head

# How much busier than the idlest a worker may be and still be preferred for its warm
# connection: a handshake costs about as much as serving a few small pages.
_WARM_ALLOWANCE = 4


class Candidate(Protocol):
    @property
    def slot(self) -> int: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def warmth(self) -> Warmth: ...


_C = TypeVar("_C", bound=Candidate)


class Warmth:
    """About how many requests a worker can serve at once without a new connection, for each
    (origin, profile).

    An estimate: an origin may close a connection at any time, and says so to the worker
    alone. A wrong guess costs a handshake, and makes the next ones more cautious. After a few
    of them in a row the origin is taken to close each connection after one response.
    """

    _MOST_KEYS = 4096
    _MOST_CAUTION = 63
    _CLOSES_EACH = 7

    def __init__(self) -> None:
        self._idle: dict[Hashable, int] = {}
        # On how many new connections not to count after a wrong guess, and how many are left.
        self._caution: dict[Hashable, tuple[int, int]] = {}

    def has(self, key: Hashable) -> bool:
        return self._idle.get(key, 0) > 0

    def taken(self, key: Hashable) -> bool:
        """A request goes to the worker.

        Returns:
            Whether it should have a connection of its own. libcurl (8.23) would try the closed
            ones for a second, five for each request, before it makes a new one.
        """
        idle = self._idle.pop(key, 0)
        if idle:
            if idle > 1:
                self._idle[key] = idle - 1
            return False
        caution, left = self._caution.get(key, (0, 0))
        if caution < self._CLOSES_EACH:
            return False
        # Now and then the connection is kept, to find out whether it lasts by now.
        self._caution[key] = caution, left - 1 if left else caution
        return left > 0

    def returned(self, key: Hashable, *, reused: bool, was_warm: bool, room: int) -> None:
        """A request is over.

        Args:
            reused: whether it made no connection.
            was_warm: whether that was foreseen.
            room: how many the connection takes from now on: none where it is closed. One that
                is shared, as in HTTP/2, takes one more each time, as long as it holds.
        """
        caution, left = self._caution.pop(key, (0, 0))
        if reused:
            self._put(key, room)
            return
        closes_each = caution >= self._CLOSES_EACH
        if was_warm:
            # Those that were closed at one time are one wrong guess.
            if closes_each or not left:
                caution = left = min(self._MOST_CAUTION, 2 * caution + 1)
        elif left and not closes_each:
            left -= 1
        else:
            self._put(key, min(room, 1))
        if caution:
            self._caution[key] = caution, left
            if len(self._caution) > self._MOST_KEYS:
                del self._caution[next(iter(self._caution))]

    def _put(self, key: Hashable, count: int) -> None:
        if not count:
            return
        # Taken out and put back, a key moves behind those that were not used since.
        idle = self._idle.pop(key, 0)
        self._idle[key] = idle + count
        if len(self._idle) > self._MOST_KEYS:
            del self._idle[next(iter(self._idle))]


def choose(candidates: Iterable[_C], key: Hashable, avoid: int | None = None) -> _C | None:
    """The worker for a request, or None where there is none.

    Args:
        candidates: the workers that take requests.
        key: what a connection must match to be reused: origin and profile.
        avoid: slot of the worker that failed this request; taken only if it is the only one.
    """
    workers = list(candidates)
    if avoid is not None and len(workers) > 1:
        workers = [w for w in workers if w.slot != avoid]
    if not workers:
        return None
    idlest = min(workers, key=_load)
    busy = 2 * idlest.in_flight + _WARM_ALLOWANCE
    warm = [w for w in workers if w.warmth.has(key) and w.in_flight <= busy]
    return min(warm, key=_load) if warm else idlest


def _load(worker: Candidate) -> int:
    return worker.in_flight


def room_after(head: Head | None) -> int:
    """For how many more requests there is room on the connection of a response."""
    if head is None:  # it went ahead of the body
        return 1
    if not head.protocol.startswith("HTTP/1"):
        return 2
    # RFC 9112, section 9.3
    options = [value.lower() for name, value in head.headers if name.lower() == b"connection"]
    if head.protocol == "HTTP/1.0":
        return int(any(b"keep-alive" in value for value in options))
    return int(not any(b"close" in value for value in options))

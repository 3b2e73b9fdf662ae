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
    alone. A wrong guess costs a handshake, and makes the next ones more cautious.
    """

    _MOST_KEYS = 4096
    _MOST_CAUTION = 63

    def __init__(self) -> None:
        self._idle: dict[Hashable, int] = {}
        # On how many new connections not to count after a wrong guess, and how many are left.
        self._caution: dict[Hashable, tuple[int, int]] = {}

    def has(self, key: Hashable) -> bool:
        return self._idle.get(key, 0) > 0

    def taken(self, key: Hashable) -> None:
        if self._idle.get(key, 0) > 1:
            self._idle[key] -= 1
        else:
            self._idle.pop(key, None)

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
        if was_warm:
            caution = left = min(self._MOST_CAUTION, 2 * caution + 1)
        elif left:
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

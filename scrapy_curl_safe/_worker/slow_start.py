"""How many transfers may wait for a connection at once. Pure."""

from __future__ import annotations

from collections.abc import Hashable

# Most crawls have no more requests at once in a worker (64 in two). Theirs keep a connection each,
# so an origin that ends an HTTP/2 connection early (GOAWAY; nginx: keepalive_requests) ends one.
_FIRST = 32


class SlowStart:
    """Keeps a large burst of transfers from opening a connection each.

    An origin that speaks HTTP/2 takes a hundred requests on one connection, but libcurl knows that
    only when the first connection is established, and opens one for each transfer that starts
    before. So the first transfers start, and each that opens a connection makes room for two more,
    as in TCP (RFC 5681, section 3.1). If none gets one for a while, the room doubles all the same:
    connections that hang must not keep other transfers waiting.
    """

    def __init__(self) -> None:
        self._connecting: set[Hashable] = set()
        self._most = _FIRST

    def __repr__(self) -> str:
        return f"<SlowStart {self.connecting} connecting of at most {self._most}>"

    @property
    def connecting(self) -> int:
        return len(self._connecting)

    @property
    def has_room(self) -> bool:
        return len(self._connecting) < self._most

    def start(self, transfer: Hashable) -> None:
        """Count a transfer that has no connection yet."""
        self._connecting.add(transfer)

    def leave(self, transfer: Hashable) -> bool:
        """Note that a transfer has a connection, or is over; return False if that is known."""
        if transfer not in self._connecting:
            return False
        self._connecting.remove(transfer)
        return True

    def widen(self) -> None:
        """Make room for one more, since a transfer has opened a connection while others wait."""
        self._most += 1

    def double(self) -> None:
        """Make room, since others have waited for a while."""
        self._most *= 2

    def reset(self) -> None:
        """Begin anew, since no transfer waits any more."""
        self._most = _FIRST

"""How many transfers may wait for a connection at once. Pure."""

from __future__ import annotations

from collections.abc import Hashable

# As many connections as a browser opens to an origin before it knows that one is enough.
_FIRST = 6
# Transfers that find a connection at once widen the window no further than to this.
_MOST_BY_REUSE = 32


class SlowStart:
    """Keeps a burst of transfers from opening a connection each.

    An origin that speaks HTTP/2 takes a hundred requests on one connection, but libcurl knows that
    only when the first connection is established, and opens one for each transfer that starts
    before. So the first transfers start, and each that gets a connection makes room for two more,
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
        """Count a transfer that has a connection, or is over. Return False if it was counted."""
        if transfer not in self._connecting:
            return False
        self._connecting.remove(transfer)
        return True

    def widen(self, *, is_new: bool) -> None:
        """Make room for one more, since a transfer has got a connection while others wait.

        Args:
            is_new: whether the connection was opened for it.
        """
        if is_new or self._most < _MOST_BY_REUSE:
            self._most += 1

    def double(self) -> None:
        """Make room, since others have waited for a while."""
        self._most *= 2

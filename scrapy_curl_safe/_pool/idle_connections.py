"""An estimate of a worker's idle connections. Pure."""

from __future__ import annotations

from collections.abc import Hashable

from .._ipc.failures import HANDSHAKE_KINDS, FailureKind
from .._ipc.messages import Completed, Failed, Outcome, ResponseHead

_MOST_KEYS = 4096
_MOST_PENALTY = 255
# From this penalty on, the origin is taken to close each connection after one response.
_CLOSES_EACH = 7
# Failures of a request whose idle connection turned out to be gone.
_CONNECTION_GONE = {*HANDSHAKE_KINDS, FailureKind.CONNECTION_DIED} - {FailureKind.LOCAL}


class IdleConnections:
    """Estimates, for each key (origin and profile), how many requests a worker can serve without a
    new connection.

    An origin may close a connection at any time, and only the worker notices. A wrong guess costs a
    handshake, and its penalty makes the next guesses more careful. After a few wrong guesses in a
    row the origin is taken to close each connection after one response; if none of its connections
    was ever used again, after the first wrong guess. From then on one right guess proves little: it
    halves the penalty.
    """

    def __init__(self) -> None:
        self._idle: dict[Hashable, int] = {}
        # By key: how many new connections not to count on after a wrong guess, and how many of
        # them are left.
        self._penalties: dict[Hashable, tuple[int, int]] = {}
        # Keys of connections that were used again.
        self._proven: set[Hashable] = set()

    def __repr__(self) -> str:
        return f"<IdleConnections {sum(self._idle.values())} idle, {len(self._idle)} keys>"

    def has(self, key: Hashable) -> bool:
        return self._idle.get(key, 0) > 0

    def must_connect(self, key: Hashable) -> bool:
        """Count a request that goes to the worker, and tell whether it must open a connection.

        Without that, libcurl (8.23) would try closed connections for a second, five per request,
        before it opens one.
        """
        idle = self._idle.pop(key, 0)
        if idle:
            if idle > 1:
                self._idle[key] = idle - 1
            return False
        penalty, left = self._penalties.get(key, (0, 0))
        if penalty < _CLOSES_EACH:
            return False
        # Now and then the connection is kept, to find out whether it lasts now.
        self._penalties[key] = penalty, left - 1 if left else penalty
        return left > 0

    def learn(self, key: Hashable, outcome: Outcome, *, expected: bool, is_closed: bool) -> None:
        """Count a request by its outcome.

        Args:
            expected: whether an idle connection was expected for it.
            is_closed: whether its connection is closed afterwards in any case.
        """
        if isinstance(outcome, Completed):
            capacity = 0 if is_closed else capacity_after(outcome.head)
            reused = not outcome.stats.connects
            self.release(key, reused=reused, expected=expected, capacity=capacity)
        elif expected and isinstance(outcome, Failed) and outcome.kind in _CONNECTION_GONE:
            self.release(key, reused=False, expected=True, capacity=0, is_sure=False)

    def release(
        self, key: Hashable, *, reused: bool, expected: bool, capacity: int, is_sure: bool = True
    ) -> None:
        """Count a request that has ended.

        Args:
            reused: whether it opened no connection.
            expected: whether an idle connection was expected for it.
            capacity: how many requests its connection takes now; 0 if it is closed. A shared
                connection, as in HTTP/2, takes one more each time, as long as it lasts.
            is_sure: whether an expected connection was certainly closed after its last response.
        """
        penalty, left = self._penalties.pop(key, (0, 0))
        closes_each = penalty >= _CLOSES_EACH
        if reused:
            self._note_proven(key)
            self._put(key, capacity)
            if closes_each:
                self._penalties[key] = penalty // 2, penalty // 2
            return
        if expected and is_sure and not closes_each and key not in self._proven:
            penalty = left = _CLOSES_EACH
            self._idle.pop(key, None)
        elif expected:
            # Connections that were closed at the same time count as one wrong guess.
            if closes_each or not left:
                penalty = left = min(_MOST_PENALTY, 2 * penalty + 1)
        elif left and not closes_each:
            left -= 1
        else:
            self._put(key, min(capacity, 1))
        if penalty:
            self._penalties[key] = penalty, left
            if len(self._penalties) > _MOST_KEYS:
                del self._penalties[next(iter(self._penalties))]

    def _note_proven(self, key: Hashable) -> None:
        if key not in self._proven:
            if len(self._proven) == _MOST_KEYS:
                self._proven.clear()
            self._proven.add(key)

    def _put(self, key: Hashable, count: int) -> None:
        if not count:
            return
        # Removing and adding a key moves it behind those that were not used since.
        idle = self._idle.pop(key, 0)
        self._idle[key] = idle + count
        if len(self._idle) > _MOST_KEYS:
            del self._idle[next(iter(self._idle))]


def capacity_after(head: ResponseHead | None) -> int:
    """Return how many more requests the connection of a response takes (RFC 9112, section 9.3).

    Args:
        head: None if it was sent before the body.
    """
    if head is None:
        return 1
    if not head.protocol.startswith("HTTP/1"):
        return 2
    options = [
        value.lower()
        for name, value in head.headers
        # Lengths are quicker to compare than names.
        if len(name) == len(b"connection") and name.lower() == b"connection"
    ]
    if head.protocol == "HTTP/1.0":
        return int(any(b"keep-alive" in value for value in options))
    return int(not any(b"close" in value for value in options))

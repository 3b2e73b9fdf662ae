"""When a worker is started again. Pure policy: the clock comes as an argument."""

from __future__ import annotations

from ..backoff import Budget

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 10.0
_HOPELESS = 8

# At most 30 + 60 * 3 = 210 starts in any minute, whatever happens: one takes a quarter of a
# second of a core.
_BURST = 30.0
_PER_SECOND = 3.0


class Restarts:
    """Counts the starts in a row that brought up no worker.

    A worker that came up and died later is replaced at once, within a budget: something it
    met killed it. One that does not even come up will hardly do so by trying faster.
    """

    def __init__(self) -> None:
        self._failed_in_a_row = 0
        self._budget = Budget(_BURST, _PER_SECOND)

    def succeeded(self) -> None:
        self._failed_in_a_row = 0

    def failed(self) -> None:
        self._failed_in_a_row += 1

    def reserve(self, now: float) -> float:
        """Take the place of one start: seconds until it is its turn.

        Args:
            now: of a clock that only goes forward, in seconds.
        """
        wait = self._budget.reserve(now)
        if self._failed_in_a_row:
            doubled = _FIRST_WAIT * 2.0 ** (self._failed_in_a_row - 1)
            wait = max(wait, min(_LONGEST_WAIT, doubled))
        return wait

    @property
    def hopeless(self) -> bool:
        return self._failed_in_a_row >= _HOPELESS

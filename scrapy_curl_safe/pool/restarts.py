"""When a worker is started again. Pure policy."""

from __future__ import annotations

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 10.0
_HOPELESS = 8


class Restarts:
    """Counts the starts in a row that brought up no worker.

    A worker that came up and died later is replaced at once: something it met killed it.
    One that does not even come up will hardly do so by trying faster.
    """

    def __init__(self) -> None:
        self._failed_in_a_row = 0

    def succeeded(self) -> None:
        self._failed_in_a_row = 0

    def failed(self) -> None:
        self._failed_in_a_row += 1

    @property
    def wait(self) -> float:
        """Seconds before the next start."""
        if not self._failed_in_a_row:
            return 0.0
        return min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (self._failed_in_a_row - 1))

    @property
    def hopeless(self) -> bool:
        return self._failed_in_a_row >= _HOPELESS

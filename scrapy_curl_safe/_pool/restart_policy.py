"""Decides when a worker is started again. Pure: the clock comes as an argument."""

from __future__ import annotations

from .token_bucket import TokenBucket

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 10.0
# Eight workers that are started together fail together, if the system has no process left for a
# moment.
_MOST_FAILURES, _LEAST_SECONDS = 8, 5.0

# At most 30 + 60 * 3 = 210 starts in any minute; each takes a quarter of a second of a core.
_BURST = 30.0
_STARTS_PER_SECOND = 3.0


class RestartPolicy:
    """Delays starts, increasingly so while workers fail to come up.

    A worker that came up and exited later is replaced at once, within a budget, since some event
    ended it. A worker that does not even come up will hardly do so if it is restarted faster.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._failing_since = self._failing_until = 0.0
        self._starts = TokenBucket(_BURST, _STARTS_PER_SECOND)

    def start_succeeded(self) -> None:
        self._failures = 0

    def start_failed(self, now: float) -> None:
        """Note that a worker could not be started, or ended before it took requests.

        Args:
            now: a monotonic clock's time in seconds.
        """
        if not self._failures:
            self._failing_since = now
        self._failing_until = now
        self._failures += 1

    def reserve(self, now: float) -> float:
        """Claim one start and return the seconds until it is due.

        Args:
            now: a monotonic clock's time in seconds.
        """
        wait = self._starts.reserve(now)
        if self._failures:
            doubled = _FIRST_WAIT_SECONDS * 2.0 ** (self._failures - 1)
            wait = max(wait, min(_LONGEST_WAIT_SECONDS, doubled))
        return wait

    @property
    def exhausted(self) -> bool:
        """True once starts have failed so often and for so long that success is unlikely."""
        seconds = self._failing_until - self._failing_since
        return self._failures >= _MOST_FAILURES and seconds >= _LEAST_SECONDS

"""How long a retry waits. Pure policy: clock and dice come as arguments."""

from __future__ import annotations


def backoff(failures: int, first: float, longest: float, draw: float) -> float:
    """Seconds to wait after so many failures in a row: doubling, with full jitter, so that
    requests that failed together do not come back together.

    Args:
        failures: 1 or more.
        first: the longest wait after the first failure, in seconds.
        longest: the longest wait after any number of failures, in seconds.
        draw: random, from 0 to 1.
    """
    # Past 2**60 the doubling is long over, and a float would overflow.
    return draw * min(longest, first * 2.0 ** min(failures - 1, 60))


class RetryBudget:
    """Spreads the retries of one origin over time when they outnumber its successes.

    It delays and never drops: at 30 % random loss, 43 % of all requests are retries, and
    each of them is a page. Every success pays for one retry, so at up to 50 % loss nothing
    waits; beyond that the retries come at a steady rate.
    """

    _BURST = 100.0
    _PER_SECOND = 10.0

    def __init__(self) -> None:
        self._tokens = self._BURST
        self._now = 0.0

    def succeeded(self) -> None:
        self._tokens = min(self._BURST, self._tokens + 1.0)

    def reserve(self, now: float) -> float:
        """Take the place of one retry: seconds until it is its turn.

        Args:
            now: of a clock that only goes forward, in seconds.
        """
        if self._now:
            gained = (now - self._now) * self._PER_SECOND
            self._tokens = min(self._BURST, self._tokens + gained)
        self._now = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._PER_SECOND)

"""A token bucket that delays and never refuses. Pure: the clock comes as an argument."""

from __future__ import annotations


class TokenBucket:
    """Allows a burst, then a steady rate.

    Args:
        burst: the most tokens that it holds.
        per_second: the tokens added each second.
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._now = 0.0

    def refund(self) -> None:
        """Return one token."""
        self._tokens = min(self._burst, self._tokens + 1.0)

    def reserve(self, now: float) -> float:
        """Take one token and return the seconds until it may be used.

        Args:
            now: a monotonic clock's time in seconds.
        """
        if self._now:
            gained = (now - self._now) * self._per_second
            self._tokens = min(self._burst, self._tokens + gained)
        self._now = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._per_second)

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


def steps(failures: int, in_a_row: int) -> int:
    """How often the wait of a request doubles where a limit spreads the requests of its origin.

    A failure among others that are done is bad luck, or for the limit to see to. Those of one
    moment make a row, too, so the row counts by its doublings and not by its length.

    Args:
        failures: of this request.
        in_a_row: of its origin, none done between them.
    """
    return min(failures, in_a_row.bit_length())


class Budget:
    """So much at once, and so much a second after that. It delays, and never refuses.

    Args:
        burst: at most so many are saved up.
        per_second: so many come back.
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._now = 0.0

    def give_back(self) -> None:
        self._tokens = min(self._burst, self._tokens + 1.0)

    def reserve(self, now: float) -> float:
        """Take one: seconds until it may be used.

        Args:
            now: of a clock that only goes forward, in seconds.
        """
        if self._now:
            gained = (now - self._now) * self._per_second
            self._tokens = min(self._burst, self._tokens + gained)
        self._now = now
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self._per_second)


def retry_budget() -> Budget:
    """Spreads the retries of one origin over time when they outnumber its successes, each of
    which is to give one back.

    At 30 % random loss, 43 % of all requests are retries, and each of them is a page. At up
    to 50 % loss nothing waits; beyond that the retries come at a steady rate.
    """
    return Budget(burst=100.0, per_second=10.0)

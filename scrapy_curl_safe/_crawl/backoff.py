"""Computes the waits before retries. Pure: the dice come as an argument."""

from __future__ import annotations


def backoff(failures: int, first: float, longest: float, draw: float) -> float:
    """Return the seconds to wait after so many failures in a row.

    The wait doubles, with full jitter, so that requests that failed together do not come back
    together.

    Args:
        failures: 1 or more.
        first: longest wait after the first failure, in seconds.
        longest: longest wait after any number of failures, in seconds.
        draw: a random number from 0 to 1.
    """
    # Past 2**60 the doubling is long over, and a float would overflow.
    return draw * min(longest, first * 2.0 ** min(failures - 1, 60))


def backoff_steps(failures: int, in_a_row: int) -> int:
    """Return how often the wait of a request doubles where a limit spreads the requests of its
    origin.

    A failure among others that succeed is bad luck, or the limit's business. Failures of one moment
    make a row, too, so the row counts by its doublings and not by its length.

    Args:
        failures: of this request.
        in_a_row: failures of its origin since the last response.
    """
    return min(failures, max(1, in_a_row.bit_length()))

"""A histogram of durations in bounded memory."""

from __future__ import annotations

import math
from collections import Counter

_BUCKETS_PER_DECADE = 48
# Wide enough to be seen as a bar each.
_BUCKETS_PER_BAR = 4
# The buckets at the exported bounds: 1 ms, 2.15 ms, 4.64 ms, 10 ms, and so on to 100 s.
_EXPORTED_BOUNDS = range(-144, 97, 16)


class LogHistogram:
    """Counts durations in logarithmic buckets, each 5 % wider than the one before, so that a
    percentile is at most 5 % too high.

    Attributes:
        max: the longest duration, in seconds.
        total: the sum of all durations, in seconds.
    """

    _WIDTH = math.log(10) / _BUCKETS_PER_DECADE

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0
        self.max = 0.0
        self.total = 0.0

    def __repr__(self) -> str:
        return f"<LogHistogram of {self._count} durations up to {self.max:.3g} s>"

    def add(self, seconds: float) -> None:
        self._buckets[math.ceil(math.log(max(seconds, 1e-6)) / self._WIDTH)] += 1
        self._count += 1
        self.max = max(self.max, seconds)
        self.total += seconds

    def percentile(self, share: float) -> float:
        """Return the duration that this share of all does not exceed; 0.0 if there is none.

        Args:
            share: from 0 to 1.
        """
        needed = share * self._count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= needed:
                return min(self.max, math.exp(bucket * self._WIDTH))
        return 0.0

    def bars(self) -> list[tuple[float, float, int]]:
        """Return what a plot shows: bounds in seconds, each pair with the number of durations above
        the first and up to the second; without a gap from the shortest to the longest."""
        counts: Counter[int] = Counter()
        for bucket, count in self._buckets.items():
            counts[math.ceil(bucket / _BUCKETS_PER_BAR)] += count
        if not counts:
            return []
        width = _BUCKETS_PER_BAR * self._WIDTH
        return [
            (math.exp((bar - 1) * width), math.exp(bar * width), counts[bar])
            for bar in range(min(counts), max(counts) + 1)
        ]

    def cumulative(self) -> list[tuple[float, int]]:
        """Return bounds in seconds, rounded to three digits, each with the number of durations that
        do not exceed it; the last bound is infinite."""
        counts = [
            (
                float(f"{math.exp(bound * self._WIDTH):.3g}"),
                sum(count for bucket, count in self._buckets.items() if bucket <= bound),
            )
            for bound in _EXPORTED_BOUNDS
        ]
        return [*counts, (math.inf, self._count)]

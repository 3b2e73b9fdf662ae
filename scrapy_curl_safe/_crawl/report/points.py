"""The course of a crawl of any length, in bounded memory. Pure."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

# A screen is not wide enough for more.
_MOST_POINTS = 360


class Sample(NamedTuple):
    """The counts of a crawl at a moment, and what is there at that moment.

    Attributes:
        at: seconds since the crawl began.
        pages: responses so far.
        done: handshakes that have succeeded.
        failed: handshakes that have failed, by kind.
        retries: all of them, whatever the reason.
        in_flight: requests in the pool.
        limited: origins whose limit is lowered.
        lowest_limit: of these; None without any.
        given_up: requests that were given up, since handshakes failed.
    """

    at: float
    pages: int
    done: int
    failed: dict[str, int]
    retries: int
    in_flight: int
    limited: int
    lowest_limit: int | None
    given_up: int


NOTHING = Sample(0.0, 0, 0, {}, 0, 0, 0, None, 0)


class Point(msgspec.Struct, frozen=True):
    """A span of a crawl, with what happened in it.

    Attributes:
        end: seconds since the crawl began.
        seconds: how long the span was.
        pages: responses in it; `done`, `failed` (by kind), `retries` and `given_up` likewise.
        in_flight: the most requests at once.
        limited: the most origins at once whose limit was lowered.
        lowest_limit: the lowest limit; None if none was lowered.
    """

    end: float
    seconds: float
    pages: int
    done: int
    failed: dict[str, int]
    retries: int
    in_flight: int
    limited: int
    lowest_limit: int | None
    given_up: int

    def joined(self, later: Point) -> Point:
        """Return the point of both spans."""
        lowest = [p.lowest_limit for p in (self, later) if p.lowest_limit is not None]
        return Point(
            end=later.end,
            seconds=self.seconds + later.seconds,
            pages=self.pages + later.pages,
            done=self.done + later.done,
            failed=_sum(self.failed, later.failed, 1),
            retries=self.retries + later.retries,
            in_flight=max(self.in_flight, later.in_flight),
            limited=max(self.limited, later.limited),
            lowest_limit=min(lowest, default=None),
            given_up=self.given_up + later.given_up,
        )


class TimeSeries:
    """Makes points of samples: one for each interval. When there are too many, neighbours are
    joined, and the interval doubles.

    Args:
        most: points that are kept.
        interval: seconds of a point, at first.

    Attributes:
        points: in their order.
    """

    def __init__(self, most: int = _MOST_POINTS, interval: float = 1.0) -> None:
        self._most = most
        self.interval = interval
        self._before = NOTHING
        self.points: list[Point] = []

    def __repr__(self) -> str:
        return f"<TimeSeries of {len(self.points)} points, {self.interval:g} s each>"

    def add(self, sample: Sample) -> None:
        """Add what has happened since the last sample."""
        before, self._before = self._before, sample
        self._append(
            Point(
                end=sample.at,
                seconds=sample.at - before.at,
                pages=sample.pages - before.pages,
                done=sample.done - before.done,
                failed=_sum(sample.failed, before.failed, -1),
                retries=sample.retries - before.retries,
                in_flight=sample.in_flight,
                limited=sample.limited,
                lowest_limit=sample.lowest_limit,
                given_up=sample.given_up - before.given_up,
            )
        )
        while len(self.points) > self._most:
            self.interval *= 2
            points, self.points = self.points, []
            for point in points:
                self._append(point)

    def _append(self, point: Point) -> None:
        """Add a point, or join it to the last one if that has the same interval."""
        if self.points and self._interval_of(self.points[-1]) == self._interval_of(point):
            self.points[-1] = self.points[-1].joined(point)
        else:
            self.points.append(point)

    def _interval_of(self, point: Point) -> int:
        return math.ceil(point.end / self.interval)


def _sum(counts: dict[str, int], others: dict[str, int], sign: int) -> dict[str, int]:
    """Return the counts with the others added (1) or taken off (-1), those of 0 left out."""
    names = {**counts, **others}
    sums = {name: counts.get(name, 0) + sign * others.get(name, 0) for name in names}
    return {name: count for name, count in sums.items() if count}

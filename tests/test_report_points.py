"""The course of a crawl in bounded memory."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._crawl.report.points import Point, Sample, TimeSeries

WEEK_SECONDS = 7 * 86400


def sample(at: float, count: int = 0, **more: Any) -> Sample:
    """Return a sample with the same count of everything that adds up."""
    sampled = Sample(at, count, count, {"syscall": count}, count, 0, 0, None, count)
    return sampled._replace(**more)


def failed(points: list[Point]) -> Counter[str]:
    return sum((Counter(point.failed) for point in points), Counter())


def test_a_point_has_what_is_new() -> None:
    series = TimeSeries()
    series.add(sample(1.0, 3))
    series.add(sample(2.0, 3, in_flight=16))
    series.add(sample(3.5, 5, retries=4, limited=2, lowest_limit=7))
    assert series.points == [
        Point(1.0, 1.0, 3, 3, {"syscall": 3}, 3, 0, 0, None, 3),
        Point(2.0, 1.0, 0, 0, {}, 0, 16, 0, None, 0),
        Point(3.5, 1.5, 2, 2, {"syscall": 2}, 1, 0, 2, 7, 2),
    ]


def test_neighbours_are_joined_when_there_are_too_many() -> None:
    series = TimeSeries(most=4)
    for second in range(1, 6):
        limit = 9 - second if second > 1 else None
        series.add(sample(second, 10 * second, in_flight=second, lowest_limit=limit))
    assert series.interval == 2.0
    assert [(p.end, p.seconds, p.pages) for p in series.points] == [
        (2, 2, 20),
        (4, 2, 20),
        (5, 1, 10),
    ]
    # The most in flight, and the lowest of the limits.
    assert [(p.in_flight, p.lowest_limit) for p in series.points] == [(2, 7), (4, 5), (5, 4)]
    series.add(sample(6, 60))
    assert [p.end for p in series.points] == [2, 4, 6]


@given(
    st.lists(st.tuples(st.floats(0.0, 500.0), st.integers(0, 9)), max_size=300),
    st.integers(2, 20),
)
def test_nothing_is_lost_and_the_memory_is_bounded(
    steps: list[tuple[float, int]], most: int
) -> None:
    series, at, count = TimeSeries(most), 0.0, 0
    for seconds, new in steps:
        at += seconds
        count += new
        series.add(sample(at, count))
        assert len(series.points) <= most
    points = series.points
    assert sum(point.pages for point in points) == count
    assert failed(points)["syscall"] == count
    assert math.fsum(point.seconds for point in points) == pytest.approx(at)
    assert [point.end for point in points] == sorted(point.end for point in points)


def test_a_crawl_of_a_week() -> None:
    series = TimeSeries(most=360)
    # A sample each second is what a crawl takes; each tenth is enough here.
    for at in range(10, WEEK_SECONDS + 1, 10):
        series.add(sample(at, at, in_flight=at == 86400 and 999))
    assert 180 <= len(series.points) <= 360
    assert sum(point.pages for point in series.points) == WEEK_SECONDS
    # A peak of a second is still there.
    assert max(point.in_flight for point in series.points) == 999
    spans = {point.seconds for point in series.points[:-1]}
    assert len(spans) <= 2
    assert max(spans) <= 4096

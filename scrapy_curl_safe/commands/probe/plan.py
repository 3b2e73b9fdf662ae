"""What the probe does next. Pure: it says which step it wants and is given what came of it.

First a few handshakes at once; if some fail, others by other routes, which tell why; then more
and more at once, until all that were asked for are done or more fail than before. Then it looks
between the last two for how many are well.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator
from dataclasses import dataclass

from .steps import (
    LARGE,
    Route,
    Step,
    Wanted,
    better_routes,
    bracket,
    by_concurrency,
    merged,
    turning_point,
)

# The least that a crawl's adaptive limit leaves.
_LOW = 3
# Of all handshakes, the share for the growing concurrency; the rest looks for causes.
_SHARE = 0.8
_LEAST_OF_LEVEL = 8
# Of one route, where none is done at all, and where some are.
_FEW, _MANY = 8, 30
# Of all handshakes at most one part in so many for one such look.
_PARTS = 6
_SEARCHES = 2
# Kinds of failure that another ClientHello may spare.
_OF_HELLO = ("alert", "syscall", "timeout")
_CLOSE = 1.25

Steps = Generator[Wanted, Step, None]
OneStep = Generator[Wanted, Step, Step]


@dataclass(frozen=True)
class Bounds:
    """
    Attributes:
        handshakes: the most in all.
        concurrency: the most at once.
        has_proxy: whether there is a proxy to do without.
        hello: bytes of the browser's ClientHello; None if unknown.
    """

    handshakes: int
    concurrency: int
    has_proxy: bool = False
    hello: int | None = None

    @property
    def is_large(self) -> bool:
        """Whether a smaller ClientHello is there to compare with."""
        return self.hello is None or self.hello > LARGE


def plan(bounds: Bounds) -> Steps:
    """Yields each step that it wants, and takes what was measured. It wants no more handshakes
    than the bounds allow."""
    with contextlib.suppress(_SpentError):
        yield from _Plan(bounds).run()


def levels_of(bounds: Bounds) -> dict[int, int]:
    """How many handshakes to make at each concurrency, lowest first."""
    most = bounds.concurrency
    levels = [1, _LOW, *(math.ceil(most / 2**n) for n in range(16, -1, -1))]
    levels = [n for n in sorted(set(levels)) if n in (1, _LOW, most) or n >= 2 * _LOW]
    weights = {n: max(n, _LEAST_OF_LEVEL) for n in levels if n <= most}
    scale = _SHARE * bounds.handshakes / sum(weights.values())
    return {n: max(n, int(scale * weight)) for n, weight in weights.items()}


class _SpentError(Exception):
    """No handshake, or no time, is left."""


class _Plan:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._left = bounds.handshakes
        self._steps: list[Step] = []

    def run(self) -> Steps:
        levels = levels_of(self._bounds)
        low = [n for n in levels if n <= _LOW]
        for level in low:
            # Most of those that fail take the whole timeout.
            step = yield from self._ask(Route.GIVEN, level, levels[level], 2 * level)
            if step.is_local:
                return
        found = self._given()
        if not found.done:
            yield from self._compare(_FEW)
            return
        if found.failed:
            yield from self._look_closer(low)
            if better_routes(self._steps):
                return
        yield from self._climb({n: count for n, count in levels.items() if n > _LOW})
        turn = turning_point(self._levels())
        if turn is None or self._given().is_local:
            return
        if self._bounds.has_proxy:
            worst = self._levels()[-1]
            yield from self._ask(Route.DIRECT, worst.concurrency, worst.count)
            if better_routes(self._steps):
                return
        yield from self._search()

    def _climb(self, levels: dict[int, int]) -> Steps:
        """More and more at once, until more fail than before."""
        for level, count in levels.items():
            if turning_point(self._levels()) is not None:
                return
            step = yield from self._ask(Route.GIVEN, level, count, 2 * level)
            if step.is_local:
                return

    def _look_closer(self, low: list[int]) -> Steps:
        """Of few at once some fail: as many of each route as tell chance from a cause."""
        many = min(_MANY, self._bounds.handshakes // _PARTS)
        for level in low:
            made = sum(s.count for s in self._levels() if s.concurrency == level)
            if made < many:
                yield from self._ask(Route.GIVEN, level, many - made)
        if turning_point(self._levels()) is None and self._given().failed > 1:
            yield from self._compare(many)

    def _compare(self, count: int) -> Steps:
        """The same by other routes."""
        at_once = min(_LOW, self._bounds.concurrency)
        if self._bounds.has_proxy:
            step = yield from self._ask(Route.DIRECT, at_once, count, at_once)
            if step.done:
                return
        if self._given().kind not in _OF_HELLO:
            return
        if self._bounds.is_large:
            yield from self._ask(Route.SMALL, at_once, count, at_once)
        if not self._given().done:
            yield from self._ask(Route.OTHER, at_once, count, at_once)

    def _search(self) -> Steps:
        """How many at once are well, and are they still?"""
        before = len(self._steps)
        for _ in range(_SEARCHES):
            good, bad = self._bracket()
            if bad <= max(good * _CLOSE, good + 1):
                break
            middle = round(math.sqrt(good * bad))
            yield from self._ask(Route.GIVEN, middle, max(2 * middle, _LEAST_OF_LEVEL))
        good, _ = self._bracket()
        if all(step.concurrency != good for step in self._steps[before:]):
            yield from self._ask(Route.GIVEN, good, max(2 * good, _LEAST_OF_LEVEL))

    def _bracket(self) -> tuple[int, int]:
        levels = self._levels()
        return bracket(levels, turning_point(levels) or levels[-1].concurrency)

    def _ask(self, route: Route, concurrency: int, count: int, hopeless: int = 0) -> OneStep:
        count = min(count, self._left)
        if not count:
            raise _SpentError
        step = yield Wanted(route, min(concurrency, count), count, hopeless)
        if not step.count:
            raise _SpentError
        self._left -= step.count
        self._steps.append(step)
        return step

    def _levels(self) -> list[Step]:
        return by_concurrency(self._steps)

    def _given(self) -> Step:
        return merged(self._levels())

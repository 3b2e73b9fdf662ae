"""Plans the steps of a probe. Pure: the plan yields a step, and is sent its result.

First come a few handshakes at once; if some fail, the same in other variants, to find out why. Then
come more and more at once, until the requested concurrency is reached or more fail than before; and
then a search between the last two for the highest concurrency that works.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator
from dataclasses import dataclass

from .steps import (
    PlannedStep,
    ProbeVariant,
    Step,
    better_variants,
    bracket,
    by_concurrency,
    merged,
    turning_point,
)

# The lowest limit of a crawl's adaptive concurrency.
_LOW_CONCURRENCY = 3
# The share of all handshakes for the growing concurrency; the rest serves to find causes.
_CLIMB_SHARE = 0.8
_LEAST_PER_LEVEL = 8
# Handshakes of one variant if none has succeeded so far, and if some have.
_FEW, _MANY = 8, 30
# A closer look at one level or variant takes at most this fraction (1/6) of all handshakes.
_PARTS = 6
_SEARCHES = 2
# The search ends when the next higher concurrency is at most this many times as high.
_CLOSE = 1.25
# Kinds of failure that another ClientHello may prevent.
_HELLO_KINDS = ("alert", "syscall", "timeout")
# A larger ClientHello does not fit into one packet.
_LARGE_HELLO_BYTES = 1200

StepPlan = Generator[PlannedStep, Step, None]
_OneStep = Generator[PlannedStep, Step, Step]


@dataclass(frozen=True)
class Bounds:
    """The bounds of a plan.

    Attributes:
        handshakes: the most in all.
        concurrency: the most at once.
        has_proxy: whether there is a proxy that can be left out.
        hello_bytes: size of the browser's ClientHello; None if unknown.
    """

    handshakes: int
    concurrency: int
    has_proxy: bool = False
    hello_bytes: int | None = None

    @property
    def has_large_hello(self) -> bool:
        """True if a smaller ClientHello may do better."""
        return self.hello_bytes is None or self.hello_bytes > _LARGE_HELLO_BYTES


def plan_steps(bounds: Bounds) -> StepPlan:
    """Yield one step after the other, and receive its measurements. All steps together stay within
    the bounds."""
    with contextlib.suppress(_SpentError):
        yield from _Planner(bounds).run()


def plan_levels(bounds: Bounds) -> dict[int, int]:
    """Return how many handshakes to make at each concurrency, the lowest first."""
    most = bounds.concurrency
    levels = [1, _LOW_CONCURRENCY, *(math.ceil(most / 2**n) for n in range(16, -1, -1))]
    levels = [
        n
        for n in sorted(set(levels))
        if n in (1, _LOW_CONCURRENCY, most) or n >= 2 * _LOW_CONCURRENCY
    ]
    weights = {n: max(n, _LEAST_PER_LEVEL) for n in levels if n <= most}
    scale = _CLIMB_SHARE * bounds.handshakes / sum(weights.values())
    return {n: max(n, int(scale * weight)) for n, weight in weights.items()}


class _SpentError(Exception):
    """No handshakes, or no time, are left."""


class _Planner:
    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._left = bounds.handshakes
        self._steps: list[Step] = []

    def run(self) -> StepPlan:
        levels = plan_levels(self._bounds)
        low = [n for n in levels if n <= _LOW_CONCURRENCY]
        for level in low:
            # A failing handshake may take the whole timeout, so this gives up early.
            step = yield from self._ask(ProbeVariant.GIVEN, level, levels[level], 2 * level)
            if step.is_local:
                return
        found = self._given()
        if not found.done:
            yield from self._compare(_FEW)
            return
        if found.failed:
            yield from self._look_closer(low)
            if better_variants(self._steps):
                return
        yield from self._climb({n: count for n, count in levels.items() if n > _LOW_CONCURRENCY})
        turn = turning_point(self._levels())
        if turn is None or self._given().is_local:
            return
        if self._bounds.has_proxy:
            worst = self._levels()[-1]
            yield from self._ask(ProbeVariant.DIRECT, worst.concurrency, worst.count)
            if better_variants(self._steps):
                return
        yield from self._search()

    def _climb(self, levels: dict[int, int]) -> StepPlan:
        """Increase the concurrency until more fail than before."""
        for level, count in levels.items():
            if turning_point(self._levels()) is not None:
                return
            step = yield from self._ask(ProbeVariant.GIVEN, level, count, 2 * level)
            if step.is_local:
                return

    def _look_closer(self, low: list[int]) -> StepPlan:
        """Make enough handshakes of each variant to tell a cause from chance, since some fail even
        with few at once."""
        many = min(_MANY, self._bounds.handshakes // _PARTS)
        for level in low:
            made = sum(s.count for s in self._levels() if s.concurrency == level)
            if made < many:
                yield from self._ask(ProbeVariant.GIVEN, level, many - made)
        if turning_point(self._levels()) is None and self._given().failed > 1:
            yield from self._compare(many)

    def _compare(self, count: int) -> StepPlan:
        """Make the same handshakes in other variants."""
        at_once = min(_LOW_CONCURRENCY, self._bounds.concurrency)
        if self._bounds.has_proxy:
            step = yield from self._ask(ProbeVariant.DIRECT, at_once, count, at_once)
            if step.done:
                return
        if self._given().kind not in _HELLO_KINDS:
            return
        if self._bounds.has_large_hello:
            yield from self._ask(ProbeVariant.SMALL_HELLO, at_once, count, at_once)
        if not self._given().done:
            yield from self._ask(ProbeVariant.OTHER_BROWSER, at_once, count, at_once)

    def _search(self) -> StepPlan:
        """Find the highest concurrency that works, and check that it still does."""
        before = len(self._steps)
        for _ in range(_SEARCHES):
            good, bad = self._bracket()
            if bad <= max(good * _CLOSE, good + 1):
                break
            middle = round(math.sqrt(good * bad))
            yield from self._ask(ProbeVariant.GIVEN, middle, max(2 * middle, _LEAST_PER_LEVEL))
        good, _ = self._bracket()
        if all(step.concurrency != good for step in self._steps[before:]):
            yield from self._ask(ProbeVariant.GIVEN, good, max(2 * good, _LEAST_PER_LEVEL))

    def _bracket(self) -> tuple[int, int]:
        levels = self._levels()
        return bracket(levels, turning_point(levels) or levels[-1].concurrency)

    def _ask(
        self, variant: ProbeVariant, concurrency: int, count: int, give_up_after: int = 0
    ) -> _OneStep:
        count = min(count, self._left)
        if not count:
            raise _SpentError
        step = yield PlannedStep(variant, min(concurrency, count), count, give_up_after)
        if not step.count:
            raise _SpentError
        self._left -= step.count
        self._steps.append(step)
        return step

    def _levels(self) -> list[Step]:
        return by_concurrency(self._steps)

    def _given(self) -> Step:
        return merged(self._levels())

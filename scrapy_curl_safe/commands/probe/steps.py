"""The measurements of the probe, step by step, and their statistics. Pure.

A step is a number of handshakes of one variant, made with a certain concurrency.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Kinds of failure that are this machine's fault.
LOCAL_KINDS = frozenset({"local", "crashed"})
#: Kinds of failure that are the proxy's own, whatever the origin does.
PROXY_KINDS = frozenset({"proxy_refused", "proxy_unresolved", "proxy_auth", "proxy_tls"})

# The least share of the failures that decides for the proxy.
_NEARLY_ALL = 0.9
# Chances are computed at each of about six levels, and each may mislead.
_MOST_CHANCE = 0.001
_MOST_CHANCE_OF_VARIANT = 0.005
# By how much a median differs that is not only noise, nor this machine's own work.
_RISE, _LEAST_RISE_SECONDS = 2, 0.01


class ProbeVariant(str, enum.Enum):
    """A way to make a handshake. The values are part of the JSON."""

    GIVEN = "as given"
    DIRECT = "without the proxy"
    SMALL_HELLO = "small ClientHello"
    OTHER_BROWSER = "another browser"


@dataclass(frozen=True)
class PlannedStep:
    """A step of the plan.

    Attributes:
        variant: how each handshake is made.
        concurrency: how many handshakes are under way at once.
        count: how many are made in all.
        give_up_after: the step ends once this many have failed and none succeeded; 0 for never.
    """

    variant: ProbeVariant
    concurrency: int
    count: int
    give_up_after: int = 0


@dataclass(frozen=True)
class Step:
    """A completed step.

    Attributes:
        variant: how each handshake was made.
        concurrency: how many were under way at once.
        done: number of successful handshakes, whatever happened later.
        failures: number of failed ones, by kind: those of `HandshakeError`, and "unresolved",
            "refused", "unconnected", "proxy", "proxy_refused", "proxy_unresolved", "proxy_auth",
            "proxy_tls", "crashed" and "other".
        times: seconds that each successful one took.
        details: libcurl's message about the first failure of each kind.
    """

    variant: ProbeVariant
    concurrency: int
    done: int = 0
    failures: Mapping[str, int] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def count(self) -> int:
        return self.done + self.failed

    @property
    def failed_share(self) -> float:
        return self.failed / self.count if self.count else 0.0

    @property
    def kind(self) -> str | None:
        """The most frequent kind of failure; None if nothing failed."""
        return max(self.failures, key=lambda kind: self.failures[kind], default=None)

    @property
    def is_local(self) -> bool:
        """True if at least half of the failures are this machine's fault."""
        local = sum(count for kind, count in self.failures.items() if kind in LOCAL_KINDS)
        return local > 0 and 2 * local >= self.failed

    @property
    def is_proxys(self) -> bool:
        """True if nearly all failures are the proxy's own."""
        own = sum(count for kind, count in self.failures.items() if kind in PROXY_KINDS)
        return own > 0 and own >= _NEARLY_ALL * self.failed

    def time_at(self, share: float) -> float | None:
        """Return the time in seconds in which this share of the successful handshakes was done;
        None if none succeeded."""
        if not self.times:
            return None
        return sorted(self.times)[max(0, math.ceil(share * len(self.times)) - 1)]


def merged(steps: Iterable[Step]) -> Step:
    """Merge steps of one variant into one with their highest concurrency."""
    steps = list(steps)
    failures: Counter[str] = Counter()
    details: dict[str, str] = {}
    for step in steps:
        failures.update(step.failures)
        details = {**step.details, **details}
    return Step(
        steps[0].variant if steps else ProbeVariant.GIVEN,
        max((step.concurrency for step in steps), default=0),
        sum(step.done for step in steps),
        dict(failures),
        tuple(time for step in steps for time in step.times),
        details,
    )


def by_concurrency(steps: Iterable[Step]) -> list[Step]:
    """Return the steps as given, merged into one for each concurrency, the lowest first."""
    given = [step for step in steps if step.variant is ProbeVariant.GIVEN]
    levels = sorted({step.concurrency for step in given})
    return [merged(s for s in given if s.concurrency == level) for level in levels]


def is_worse(step: Step, than: Step, most_chance: float = _MOST_CHANCE) -> bool:
    """Tell whether a step failed more than another by more than chance: Fisher's exact test.

    Args:
        most_chance: the difference counts if its probability between equal steps is below this.
    """
    return _chance_of(step, than) < most_chance


def _chance_of(step: Step, than: Step) -> float:
    failed, count = step.failed + than.failed, step.count + than.count
    as_bad = sum(
        math.comb(failed, k) * math.comb(count - failed, step.count - k)
        for k in range(step.failed, min(failed, step.count) + 1)
    )
    return as_bad / math.comb(count, step.count)


def turning_point(levels: list[Step]) -> int | None:
    """Return the lowest concurrency from which more fail than below it; None if there is none."""
    splits = [
        (_chance_of(merged(levels[at:]), merged(levels[:at])), levels[at].concurrency)
        for at in range(1, len(levels))
    ]
    chance, concurrency = min(splits, default=(1.0, 0))
    return concurrency if chance < _MOST_CHANCE else None


def latency_rise(levels: list[Step]) -> Step | None:
    """Return the lowest level from which on half of the handshakes take much longer than at the
    first level; None if there is none."""
    first, rise = levels[0].time_at(0.5) or 0.0, None
    for level in reversed(levels[1:]):
        time = level.time_at(0.5)
        if time is None or time < max(_RISE * first, first + _LEAST_RISE_SECONDS):
            break
        rise = level
    return rise


def better_variants(steps: Iterable[Step]) -> set[ProbeVariant]:
    """Return the variants that fail less than the given one at the same concurrency."""
    steps = list(steps)
    given = {level.concurrency: level for level in by_concurrency(steps)}
    return {
        step.variant
        for step in steps
        if step.concurrency in given
        and is_worse(given[step.concurrency], step, _MOST_CHANCE_OF_VARIANT)
    }


def bracket(levels: list[Step], turn: int) -> tuple[int, int]:
    """Return the highest concurrency that works as well as those below the turning point, and the
    next one that was measured.

    By chance a few more may fail: half as many again plus 5 in 100, or a single one.
    """
    below = merged(level for level in levels if level.concurrency < turn)
    most = 1.5 * below.failed_share + 0.05
    good = levels[0].concurrency
    for level in levels[1:]:
        if level.failed > 1 and level.failed_share > most:
            return good, level.concurrency
        good = level.concurrency
    return min(good, below.concurrency), turn

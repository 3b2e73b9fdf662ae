"""What the probe measures: handshakes by one route, so many at once. Pure."""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Kinds of failure that are this machine's fault.
LOCAL = frozenset({"local", "crashed"})
#: Bytes: a ClientHello above this does not fit in one packet.
LARGE = 1200

# A turning point is looked for at each of some six levels.
_BY_CHANCE = 0.001


class Route(str, enum.Enum):
    GIVEN = "as given"
    DIRECT = "without the proxy"
    SMALL = "small ClientHello"
    OTHER = "another browser"


@dataclass(frozen=True)
class Wanted:
    """A step to be made.

    Attributes:
        concurrency: how many handshakes are under way at once.
        count: how many are made in all.
        hopeless: the step ends when so many have failed and none was done; 0 for never.
    """

    route: Route
    concurrency: int
    count: int
    hopeless: int = 0


@dataclass(frozen=True)
class Step:
    """A step that was made.

    Attributes:
        done: handshakes that were completed, whatever came after.
        failures: how many failed, by kind: those of `HandshakeError`, and "unresolved",
            "refused", "unconnected", "proxy", "crashed" and "other".
        times: seconds that each completed one took.
        details: what libcurl said of the first failure of each kind.
    """

    route: Route
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
        """The most frequent kind of failure; None where nothing failed."""
        return max(self.failures, key=lambda kind: self.failures[kind], default=None)

    @property
    def is_local(self) -> bool:
        """Whether half of what failed, or more, is this machine's fault."""
        local = sum(count for kind, count in self.failures.items() if kind in LOCAL)
        return local > 0 and 2 * local >= self.failed

    def time_at(self, share: float) -> float | None:
        """Seconds that this share of the completed handshakes did not exceed; None if there
        was none."""
        if not self.times:
            return None
        return sorted(self.times)[max(0, math.ceil(share * len(self.times)) - 1)]


def merged(steps: Iterable[Step]) -> Step:
    """All of them as one, with the highest concurrency; they are of one route."""
    steps = list(steps)
    failures: Counter[str] = Counter()
    details: dict[str, str] = {}
    for step in steps:
        failures.update(step.failures)
        details = {**step.details, **details}
    return Step(
        steps[0].route if steps else Route.GIVEN,
        max((step.concurrency for step in steps), default=0),
        sum(step.done for step in steps),
        dict(failures),
        tuple(time for step in steps for time in step.times),
        details,
    )


def by_concurrency(steps: Iterable[Step]) -> list[Step]:
    """Those of the given route, one for each concurrency, lowest first."""
    given = [step for step in steps if step.route is Route.GIVEN]
    levels = sorted({step.concurrency for step in given})
    return [merged(s for s in given if s.concurrency == level) for level in levels]


def is_worse(step: Step, than: Step, chance: float = 0.001) -> bool:
    """Whether more failed than this chance explains, were both alike: Fisher's exact test."""
    return _chance_of(step, than) < chance


def _chance_of(step: Step, than: Step) -> float:
    failed, count = step.failed + than.failed, step.count + than.count
    as_bad = sum(
        math.comb(failed, k) * math.comb(count - failed, step.count - k)
        for k in range(step.failed, min(failed, step.count) + 1)
    )
    return as_bad / math.comb(count, step.count)


def turning_point(levels: list[Step]) -> int | None:
    """The lowest concurrency from which on more fail than below it; None if there is none."""
    splits = [
        (_chance_of(merged(levels[at:]), merged(levels[:at])), levels[at].concurrency)
        for at in range(1, len(levels))
    ]
    chance, concurrency = min(splits, default=(1.0, 0))
    return concurrency if chance < _BY_CHANCE else None


def better_routes(steps: Iterable[Step]) -> set[Route]:
    """The other routes by which, with as many at once, fewer fail."""
    steps = list(steps)
    given = {level.concurrency: level for level in by_concurrency(steps)}
    return {
        step.route
        for step in steps
        if step.concurrency in given and is_worse(given[step.concurrency], step, 0.005)
    }


def bracket(levels: list[Step], turn: int) -> tuple[int, int]:
    """The highest concurrency that is as well as those below the turning point, and the next
    that was measured. A few more may fail by chance: half as many again, and 5 in 100, or one.
    """
    below = merged(level for level in levels if level.concurrency < turn)
    most = 1.5 * below.failed_share + 0.05
    good = levels[0].concurrency
    for level in levels[1:]:
        if level.failed > 1 and level.failed_share > most:
            return good, level.concurrency
        good = level.concurrency
    return min(good, below.concurrency), turn

"""Who waits for which origin: a limit and a queue for each route to an origin."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from ..errors import OriginRestsError
from .limit import Attempt, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import Job

# Routes that are remembered; of those that nobody uses the longest unused are forgotten.
_MOST_GATES = 16_384


class Route(NamedTuple):
    """What handshakes are counted by: behind a proxy an origin is another one."""

    origin: str
    #: Its URL, without credentials.
    proxy: str | None

    def __str__(self) -> str:
        return f"{self.origin} by {self.proxy}" if self.proxy else self.origin


class Line:
    """Those that wait at a gate: first the ones that failed before, so that none fails again and
    again while others, begun behind it, are what is too much for the origin.
    """

    def __init__(self) -> None:
        self._again: deque[Job] = deque()
        self._first: deque[Job] = deque()

    def __len__(self) -> int:
        return len(self._again) + len(self._first)

    def __iter__(self) -> Iterator[Job]:
        return chain(self._again, self._first)

    def append(self, job: Job) -> None:
        self._of(job).append(job)

    def popleft(self) -> Job:
        return (self._again or self._first).popleft()

    def remove(self, job: Job) -> None:
        self._of(job).remove(job)

    def extend(self, others: Line) -> None:
        self._again += others._again
        self._first += others._first

    def _of(self, job: Job) -> deque[Job]:
        return self._first if job.avoid is None else self._again


class Gate:
    """
    Attributes:
        limit: on the new connections to it.
        waiting: those that it does not let through yet.
        failures: how many handshakes failed, by kind.
    """

    def __init__(self, route: Route, limit: Limit) -> None:
        self.route = route
        self.limit = limit
        self.waiting = Line()
        self.failures: Counter[str] = Counter()
        self._last = ("syscall", 0, "")

    def failed(
        self, attempt: Attempt | None, kind: str, code: int, detail: str, now: float
    ) -> bool:
        """A handshake failed for which the limit is there. Whether the origin rests from now on."""
        self._last = (kind, code, detail)
        return self.limit.fail(attempt, now)

    def resting(self, now: float) -> OriginRestsError:
        """Why a request is not sent now."""
        kind, code, detail = self._last
        seconds = self.limit.rests_for(now)
        return OriginRestsError(
            kind, code, f"not tried for {seconds:.1f} s more: {detail}", self.route.origin, seconds
        )

    @property
    def is_used(self) -> bool:
        return bool(self.waiting or self.limit.under_way or self.limit.is_open)


class Gates:
    """
    Args:
        most: of requests at once.
        floor: of every limit.
    """

    def __init__(self, most: int, floor: int) -> None:
        self._most = most
        self._floor = floor
        self._by_route: OrderedDict[Route, Gate] = OrderedDict()

    def of(self, route: Route) -> Gate:
        gate = self._by_route.get(route)
        if gate is None:
            gate = self._by_route[route] = Gate(route, Limit(self._most, self._floor))
            if len(self._by_route) > _MOST_GATES:
                self._forget_one()
        else:
            self._by_route.move_to_end(route)
        return gate

    def _forget_one(self) -> None:
        unused = next((r for r, gate in self._by_route.items() if not gate.is_used), None)
        if unused is not None:
            del self._by_route[unused]

    def take_waiting(self) -> list[Job]:
        """All that wait, which then do so no longer."""
        taken = [job for gate in self._by_route.values() for job in gate.waiting]
        for gate in self._by_route.values():
            gate.waiting = Line()
        return taken

    def worst(self, count: int) -> list[Gate]:
        """Those with the most failed handshakes, none without."""
        failed = [gate for gate in self._by_route.values() if gate.failures]
        return sorted(failed, key=lambda gate: -gate.failures.total())[:count]

    def lowered(self) -> list[Gate]:
        """Those whose limit is not what it was, the lowest first."""
        gates = [gate for gate in self._by_route.values() if gate.limit.is_lowered]
        return sorted(gates, key=lambda gate: gate.limit.value)

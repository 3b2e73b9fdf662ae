"""Chooses the CPUs that the workers run on.

The kernel tends to wake a process on the CPU of the process that wrote to it. Workers would move to
the crawler's CPU, and either wait for the crawler there or hold it up. A busy crawler determines
the speed of the crawl, so its workers keep off its CPU. If the crawler has time to spare, or shares
its CPU with other crawls, they may run anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from .._platform.system import system

# Share of a CPU's time from which the crawler counts as busy.
_BUSY_LOAD = 0.7


def choose_cpus(allowed: frozenset[int], crawler_cpu: int, load: float) -> frozenset[int]:
    """Choose the CPUs for the workers.

    Args:
        allowed: CPUs that the crawler may run on.
        crawler_cpu: the CPU that it runs on.
        load: share of the time during which it ran.
    """
    others = allowed - {crawler_cpu}
    return others if others and load >= _BUSY_LOAD else allowed


class WorkerAffinity:
    """Keeps the workers on the chosen CPUs; does nothing if the system has no such call."""

    def __init__(self) -> None:
        self._chosen: frozenset[int] = frozenset()
        self._last_review = time.monotonic()
        self._last_thread_time = time.thread_time()
        # A crawl starts with a burst.
        self._choose(1.0)

    def apply(self, pid: int) -> None:
        """Move a new worker to the chosen CPUs."""
        if self._chosen:
            system.move_to_cpus(pid, self._chosen)

    def review(self, pids: Iterable[int]) -> None:
        """Choose again, depending on how busy the crawler was since the last review.

        Args:
            pids: of all workers.
        """
        now, thread_time = time.monotonic(), time.thread_time()
        load = (thread_time - self._last_thread_time) / (now - self._last_review)
        self._last_review, self._last_thread_time = now, thread_time
        if self._choose(load):
            for pid in pids:
                self.apply(pid)

    def _choose(self, load: float) -> bool:
        """Choose the CPUs, and return whether they have changed."""
        found = system.choosable_cpus()
        if found is None:
            return False
        before, self._chosen = self._chosen, choose_cpus(*found, load)
        return self._chosen != before

"""Which CPUs the workers run on (sched_setaffinity(2)).

The kernel likes to wake a process on the CPU of the one that wrote to it: workers would come to
the crawler's CPU, and there wait for the crawler, or make it wait for them and for the origin.
A crawl is as fast as its crawler where that has no time to spare, so the workers keep off its CPU
then. Where the crawler has time, or shares its CPU with other crawls, they may run anywhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

# The share of a CPU from which on the crawler has no time to spare.
_BUSY = 0.7


def choose_cpus(allowed: frozenset[int], crawler_cpu: int, load: float) -> frozenset[int]:
    """Choose the CPUs for the workers.

    Args:
        allowed: CPUs that the crawler may run on.
        crawler_cpu: the one that it runs on.
        load: the share of the time that it ran there.
    """
    others = allowed - {crawler_cpu}
    return others if others and load >= _BUSY else allowed


class WorkerAffinity:
    """Keeps the workers on the chosen CPUs; does nothing where the system has no such call."""

    def __init__(self) -> None:
        self._chosen: frozenset[int] = frozenset()
        self._reviewed = time.monotonic()
        self._ran = time.thread_time()
        # A crawl begins with a burst.
        self._choose(1.0)

    def apply(self, pid: int) -> None:
        """Move a new worker to the chosen CPUs."""
        if self._chosen:
            with contextlib.suppress(OSError):  # the process has ended
                os.sched_setaffinity(pid, self._chosen)

    def review(self, pids: Iterable[int]) -> None:
        """Choose anew, by how busy the crawler was since the last review.

        Args:
            pids: of all workers.
        """
        now, ran = time.monotonic(), time.thread_time()
        load = (ran - self._ran) / (now - self._reviewed)
        self._reviewed, self._ran = now, ran
        if self._choose(load):
            for pid in pids:
                self.apply(pid)

    def _choose(self, load: float) -> bool:
        """Return whether the choice is another one than before."""
        try:
            allowed = frozenset(os.sched_getaffinity(0))
            crawler_cpu = _cpu_of_this_thread()
        except (AttributeError, OSError):
            return False
        before, self._chosen = self._chosen, choose_cpus(allowed, crawler_cpu, load)
        return self._chosen != before


def _cpu_of_this_thread() -> int:
    """Read the CPU that this thread last ran on from /proc (proc_pid_stat(5))."""
    with open("/proc/thread-self/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[36])

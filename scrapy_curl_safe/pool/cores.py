"""Which cores the workers run on.

The kernel likes to wake a process on the core of the one that wrote to it: workers would come to
the crawler's core, and there wait for the crawler, or have the crawler wait for them and for the
origin's packets. A crawl is as fast as its crawler where that has no time to spare, so they leave
its core to it then. Where it has, or where other crawls have its core, too, they may go anywhere.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable

# Of a core, from which on the crawler has no time to spare.
_BUSY = 0.7


def choose(allowed: frozenset[int], core: int, load: float) -> frozenset[int]:
    """The cores for the workers.

    Args:
        allowed: those that the crawler may run on.
        core: the one it runs on.
        load: the share of the time that it ran there.
    """
    others = allowed - {core}
    return others if others and load >= _BUSY else allowed


class Cores:
    """Keeps processes on the cores that are chosen: sched_setaffinity(2). It does nothing where the
    system has no such thing."""

    def __init__(self) -> None:
        self._chosen: frozenset[int] = frozenset()
        self._reviewed = time.monotonic()
        self._ran = time.thread_time()
        # A crawl begins with a burst.
        self._choose(1.0)

    def place(self, pid: int) -> None:
        """Move a new worker there."""
        if self._chosen:
            with contextlib.suppress(OSError):  # it has ended
                os.sched_setaffinity(pid, self._chosen)

    def review(self, pids: Iterable[int]) -> None:
        """Choose anew, by what the crawler did since the last time.

        Args:
            pids: of all workers.
        """
        now, ran = time.monotonic(), time.thread_time()
        load = (ran - self._ran) / (now - self._reviewed)
        self._reviewed, self._ran = now, ran
        if self._choose(load):
            for pid in pids:
                self.place(pid)

    def _choose(self, load: float) -> bool:
        """Whether it is another choice than the last."""
        try:
            allowed = frozenset(os.sched_getaffinity(0))
            core = _core_of_this_thread()
        except (AttributeError, OSError):
            return False
        before, self._chosen = self._chosen, choose(allowed, core, load)
        return self._chosen != before


def _core_of_this_thread() -> int:
    """As proc_pid_stat(5) has it."""
    with open("/proc/thread-self/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[36])

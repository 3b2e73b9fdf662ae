"""Chooses the number of workers of a crawl whose settings name none. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .._platform.cgroups import GroupLimit, GroupLimits

# Resident memory of a crawl with no pages, as benchmarks/speed.py measures it.
CRAWLER_MB = 120
WORKER_MB = 40
#: Threads of the crawler: its own, and up to 10 for name lookups (REACTOR_THREADPOOL_MAXSIZE) and
#: pipelines.
CRAWLER_TASKS = 16
#: Threads of a worker: its own, and one that looks up a name where libcurl has no c-ares.
WORKER_TASKS = 2
# The successor of a worker starts before that ends.
_SUCCESSORS = 1

_MOST = 4
_LEAST_WITHOUT_LIMITS = 2


@dataclass(frozen=True)
class WorkerCount:
    """A number of workers.

    Attributes:
        count: the number.
        limit: of the container, because of which there are not more; None if another reason.
    """

    count: int
    limit: GroupLimit | None


def default_worker_count(cpus: int, limits: GroupLimits) -> WorkerCount:
    """Choose the number of workers.

    Args:
        cpus: that the crawl may use, by their number.
        limits: of its container.
    """
    allowed = [WorkerCount(min(_MOST, max(_LEAST_WITHOUT_LIMITS, cpus)), None)]
    if limits.cpus is not None:
        allowed.append(WorkerCount(max_busy(cpus, limits), limits.cpus))
    if limits.memory is not None:
        count = int(limits.memory.most - CRAWLER_MB) // WORKER_MB
        allowed.append(WorkerCount(max(1, count), limits.memory))
    if limits.tasks is not None:
        count = int(limits.tasks.most - CRAWLER_TASKS) // WORKER_TASKS - _SUCCESSORS
        allowed.append(WorkerCount(max(1, count), limits.tasks))
    return min(allowed, key=lambda allowed: allowed.count)


def max_busy(cpus: int, limits: GroupLimits) -> int:
    """Return beyond how many workers more of them only take turns."""
    most = max(_LEAST_WITHOUT_LIMITS, cpus)
    return most if limits.cpus is None else min(most, math.ceil(limits.cpus.most))


def needed_tasks(workers: int) -> int:
    """Return how many processes and threads a crawl has at most."""
    return CRAWLER_TASKS + (workers + _SUCCESSORS) * WORKER_TASKS

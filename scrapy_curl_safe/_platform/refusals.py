"""What the system has refused to this process, and what goes on without.

A container, a hardened service or an old kernel may refuse any optional facility. The module that
asks for one notes it here; what a system does not have at all (Landlock on macOS) is not noted.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum


class Facility(str, Enum):
    """An optional facility of the system, by the name that users see."""

    SHARED_MEMORY = "shared memory"
    SANDBOX = "sandbox"
    CORE_LIMIT = "core limit"
    DESCRIPTOR_LIMIT = "descriptor limit"
    PARENT_DEATH_SIGNAL = "parent-death signal"
    BATCH_SCHEDULING = "batch scheduling"
    AFFINITY = "CPU affinity"
    EPOLL = "epoll"
    PROC = "/proc"


#: By facility: the system call, and what a crawl is like without it.
WITHOUT: Mapping[Facility, tuple[str, str]] = {
    Facility.SHARED_MEMORY: (
        "memfd_create(2)",
        "large bodies reach the crawler by a socket, which takes longer",
    ),
    Facility.SANDBOX: (
        "landlock(7)",
        "a worker that something from the network took over could open files",
    ),
    Facility.CORE_LIMIT: (
        "setrlimit(2)",
        "if kernel.core_pattern is a program, it gets the cookies and passwords of a worker that "
        "crashes",
    ),
    Facility.DESCRIPTOR_LIMIT: ("setrlimit(2)", "a worker may run out of descriptors"),
    Facility.PARENT_DEATH_SIGNAL: (
        "prctl(2)",
        "a worker that hangs may outlive a crawler that was killed",
    ),
    Facility.BATCH_SCHEDULING: (
        "sched_setscheduler(2)",
        "workers interrupt the crawler more often",
    ),
    Facility.AFFINITY: ("sched_setaffinity(2)", "workers run on the crawler's CPU, too"),
    Facility.EPOLL: ("epoll_create(2)", "workers use poll(2), which takes longer"),
    Facility.PROC: (
        "proc(5)",
        "the memory of workers is not known, so CURL_SAFE_WORKER_MAX_MEMORY_MB has no effect",
    ),
}

_refusals: dict[Facility, int] = {}


def note_refusal(facility: Facility, reason: OSError | ValueError | int) -> None:
    """Note that the system refused a facility.

    Args:
        reason: an errno, or what was raised; a ValueError is what Python makes of a refused limit.
    """
    if isinstance(reason, OSError):
        reason = reason.errno or errno.EPERM
    elif isinstance(reason, ValueError):
        reason = errno.EPERM
    _refusals[facility] = reason


def noted_refusals() -> dict[Facility, int]:
    """Return what was refused so far, with the errno of each."""
    return dict(_refusals)


def describe_refusal(facility: Facility, reason: int) -> str:
    return f"{facility.value} ({WITHOUT[facility][0]}: {errno.errorcode.get(reason, reason)})"

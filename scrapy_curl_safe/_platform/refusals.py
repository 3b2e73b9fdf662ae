"""Notes what the system has refused to this process, and describes a crawl without it.

A container, a hardened service or an old kernel may refuse any optional facility. The module that
asks for one notes the refusal here; facilities that a system lacks altogether (Landlock on macOS)
are not noted, but have their place in the module of that system.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from enum import Enum


class Facility(str, Enum):
    """An optional facility of the system, under the name that users see."""

    SHARED_MEMORY = "shared memory"
    SANDBOX = "sandbox"
    CORE_LIMIT = "core limit"
    DESCRIPTOR_LIMIT = "descriptor limit"
    PARENT_DEATH_SIGNAL = "parent-death signal"
    BATCH_SCHEDULING = "batch scheduling"
    AFFINITY = "CPU affinity"
    EPOLL = "epoll"
    PROC = "/proc"
    TASK_INFO = "task information"


#: By facility: the system call, and what changes for a crawl without it.
WITHOUT: Mapping[Facility, tuple[str, str]] = {
    Facility.SHARED_MEMORY: (
        "memfd_create(2)",
        "large bodies reach the crawler through a socket, which takes longer",
    ),
    Facility.SANDBOX: (
        "landlock(7)",
        "a worker that was compromised from the network could open files",
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
    Facility.TASK_INFO: (
        "proc_pidinfo()",
        "the memory of workers is not known, so CURL_SAFE_WORKER_MAX_MEMORY_MB has no effect",
    ),
}

_refusals: dict[Facility, int] = {}


def note_refusal(facility: Facility, reason: OSError | ValueError | int) -> None:
    """Note that the system refused a facility.

    Args:
        reason: an errno, or the exception; Python raises ValueError for a refused limit.
    """
    if isinstance(reason, OSError):
        reason = reason.errno or errno.EPERM
    elif isinstance(reason, ValueError):
        reason = errno.EPERM
    _refusals[facility] = reason


def noted_refusals() -> dict[Facility, int]:
    """Return the refusals so far, each with its errno."""
    return dict(_refusals)


def describe_refusal(facility: Facility, reason: int) -> str:
    return f"{facility.value} ({WITHOUT[facility][0]}: {errno.errorcode.get(reason, reason)})"

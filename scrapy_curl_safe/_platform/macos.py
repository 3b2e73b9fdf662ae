"""macOS."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import resource
import select
import struct
import sys
from collections.abc import Iterator
from typing import Any

from . import posix
from .c_library import c_function
from .cgroups import GroupLimits
from .network import NetworkLimits
from .posix import (
    APART,
    OTHER_VARIABLES,
    PATH_VARIABLES,
    READABLE,
    WRITABLE,
    can_open_descriptor,
    can_watch,
    configuration_directory,
    copy_into,
    create_locked_file,
    describe_exit,
    kill_with_children,
    limit_unsent,
    open_copy,
    pass_descriptor,
    receive_with_descriptors,
    send_buffers,
    start_worker,
    take_inherited,
)
from .refusals import Facility, note_refusal
from .resolver import resolver_state

__all__ = [
    "APART",
    "CAN_REUSE_PORTS",
    "FIXES",
    "HAS_C_STREAMS",
    "LACKING",
    "NAME",
    "OTHER_VARIABLES",
    "PATH_VARIABLES",
    "READABLE",
    "WRITABLE",
    "available_megabytes",
    "can_open_descriptor",
    "can_watch",
    "choosable_cpus",
    "configuration_directory",
    "confine_worker",
    "copy_into",
    "create_locked_file",
    "create_poller",
    "create_shared_memory",
    "describe_exit",
    "discard",
    "group_limits",
    "kill_with_children",
    "library_of",
    "limit_unsent",
    "max_descriptors",
    "move_to_cpus",
    "network_limits",
    "open_copy",
    "open_descriptors",
    "pass_descriptor",
    "receive_with_descriptors",
    "resident_megabytes",
    "resolver_state",
    "send_buffers",
    "start_worker",
    "take_inherited",
    "tie_to_parent",
    "trim_memory",
    "usable_cpus",
]

NAME = "macOS"
#: Facilities that the system does not have at all.
LACKING: tuple[Facility, ...] = (
    Facility.SHARED_MEMORY,
    Facility.SANDBOX,
    Facility.PARENT_DEATH_SIGNAL,
    Facility.BATCH_SCHEDULING,
    Facility.AFFINITY,
)
#: Whether a server can have a port that was used a moment ago, and nobody else uses.
CAN_REUSE_PORTS = True
#: Whether the C library has streams that write to memory.
HAS_C_STREAMS = True
#: By the doctor's check: the command that mends what it finds.
FIXES = {
    "open files": "sudo sysctl kern.maxfilesperproc={wanted}",
    "local ports": "sudo sysctl net.inet.ip.portrange.first=16384",
}

# What every process may open (OPEN_MAX of sys/syslimits.h).
_OPEN_MAX = 10_240
_PROC_PIDTASKINFO = 4  # of sys/proc_info.h
_TASK_INFO_BYTES = 96  # struct proc_taskinfo
_MOST_EVENTS = 1024
# What the `select` of no other system has.
_kqueue: Any = select


# A worker's start


def tie_to_parent() -> None:
    """Have this process end with its parent, and not before: a worker notices the end of its
    crawler on their socket, unless the worker is stopped or its loop is blocked."""
    posix.leave_signals_to_parent()


def confine_worker() -> int:
    """Forbid core dumps, and let this process open as many descriptors as the system allows.

    Returns:
        How many descriptors it may open; `sys.maxsize` if there is no bound or it is unknown.
    """
    posix.forbid_core_dumps()
    return posix.raise_descriptor_limit(_possible_limits())


def _possible_limits() -> Iterator[int]:
    """Yield the limits of descriptors to try. The hard limit is often RLIM_INFINITY, which
    setrlimit(2) refuses as soft limit."""
    hard = posix.hard_descriptor_limit()
    if hard is None:
        return
    if hard != resource.RLIM_INFINITY:
        yield hard
    most = _sysctl("kern.maxfilesperproc")
    if most is not None:
        yield most
    yield _OPEN_MAX


def library_of(function: str) -> str | None:
    """Return None: which libraries are the system's own here, and which are not, is not known."""
    return None


# Descriptors


def max_descriptors() -> int:
    """Return how many descriptors a worker may open; `sys.maxsize` if unknown."""
    return next(_possible_limits(), sys.maxsize)


def open_descriptors() -> int:
    """Count this process's open descriptors; 0 if unknown."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


def create_poller() -> tuple[KqueuePoller, int]:
    """Return a poller, and the number of its timeout's units in a second."""
    return KqueuePoller(), 1


class KqueuePoller:
    """Tells which descriptors are ready, by kqueue(2), with the methods of `select.poll`."""

    def __init__(self) -> None:
        self._queue = _kqueue.kqueue()
        self._events: dict[int, int] = {}
        self._filters = {READABLE: _kqueue.KQ_FILTER_READ, WRITABLE: _kqueue.KQ_FILTER_WRITE}
        self._bits = {number: bit for bit, number in self._filters.items()}

    def register(self, fd: int, eventmask: int, /) -> None:
        # If a descriptor of this number was registered, closing that has made the system forget it.
        self._events.pop(fd, None)
        self.modify(fd, eventmask)

    def modify(self, fd: int, eventmask: int, /) -> None:
        changed = self._events.get(fd, 0) ^ eventmask
        self._events[fd] = eventmask
        changes = [
            _kqueue.kevent(
                fd, number, _kqueue.KQ_EV_ADD if eventmask & bit else _kqueue.KQ_EV_DELETE
            )
            for bit, number in self._filters.items()
            if changed & bit
        ]
        if changes:
            self._queue.control(changes, 0, 0)

    def unregister(self, fd: int, /) -> None:
        self.modify(fd, 0)
        del self._events[fd]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        ready: dict[int, int] = {}
        for event in self._queue.control(None, _MOST_EVENTS, timeout):
            ready[event.ident] = ready.get(event.ident, 0) | self._bits[event.filter]
        return list(ready.items())


# CPUs


def usable_cpus() -> int:
    """Count the CPUs."""
    return os.cpu_count() or 1


def choosable_cpus() -> tuple[frozenset[int], int] | None:
    """Return None: the system does not let processes choose their CPUs."""
    return None


def move_to_cpus(pid: int, cpus: frozenset[int]) -> None:
    """Do nothing, see `choosable_cpus`."""


# Containers


def group_limits() -> GroupLimits:
    """Return none: the system has no groups of processes with limits."""
    return GroupLimits()


# Memory


def resident_megabytes() -> int:
    """Return the resident memory of this process (proc_pidinfo() of libproc.h); 0 if unknown."""
    buffer = ctypes.create_string_buffer(_TASK_INFO_BYTES)
    try:
        ask = c_function(
            "proc_pidinfo",
            ctypes.c_int,
            *(ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int),
        )
    except AttributeError:
        note_refusal(Facility.TASK_INFO, errno.ENOSYS)
        return 0
    if ask(os.getpid(), _PROC_PIDTASKINFO, 0, buffer, _TASK_INFO_BYTES) < _TASK_INFO_BYTES:
        note_refusal(Facility.TASK_INFO, ctypes.get_errno())
        return 0
    _, resident = struct.unpack_from("=QQ", buffer)
    return int(resident) // 2**20


def available_megabytes() -> int | None:
    """Return None: what new processes could use depends on what the system would compress."""
    return None


def trim_memory() -> None:
    """Do nothing: the system takes spare memory back by itself."""


def create_shared_memory(size_bytes: int) -> int | None:
    """Return None: no memory here has a size that cannot change, and a process that reads past the
    end of shrunken memory is killed."""
    return None


def discard(memory: mmap.mmap, offset: int, size: int) -> None:
    """Do nothing, see `create_shared_memory`."""


# The network


def network_limits() -> NetworkLimits:
    """Read the limits of this system's network."""
    low, high = (_sysctl(f"net.inet.ip.portrange.{end}") for end in ("first", "last"))
    return NetworkLimits(ports=None if low is None or high is None else (low, high))


def _sysctl(name: str) -> int | None:
    """Read a number of sysctl(3); None if there is none of this name."""
    value = ctypes.c_int()
    size = ctypes.c_size_t(ctypes.sizeof(value))
    pointers = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    try:
        ask = c_function("sysctlbyname", ctypes.c_int, ctypes.c_char_p, *pointers, ctypes.c_size_t)
    except AttributeError:
        return None
    failed = ask(name.encode(), ctypes.byref(value), ctypes.byref(size), None, 0)
    return None if failed else value.value

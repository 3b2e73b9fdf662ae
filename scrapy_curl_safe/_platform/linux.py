"""Linux."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import sys
from pathlib import Path

from . import posix
from .c_library import c_function, call
from .cgroups import GroupLimits, read_group_limits
from .landlock import enter_sandbox
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

NAME = "Linux"
#: Facilities that the system does not have at all.
LACKING: tuple[Facility, ...] = ()
#: Whether a server can have a port that was used a moment ago, and nobody else uses.
CAN_REUSE_PORTS = True
#: Whether the C library has streams that write to memory.
HAS_C_STREAMS = True
#: By the doctor's check: the command that mends what it finds.
FIXES = {
    "open files": "ulimit -Hn {wanted} (as root; or LimitNOFILE={wanted} in a systemd unit)",
    "local ports": 'sysctl -w net.ipv4.ip_local_port_range="1024 65535"',
    "memory": (
        "allow {wanted} MB (docker run --memory {wanted}m, resources.limits.memory: {wanted}Mi in "
        "Kubernetes, or MemoryMax={wanted}M in a systemd unit)"
    ),
    "CPU quota": (
        "allow one CPU at least (docker run --cpus 1, resources.limits.cpu: 1 in Kubernetes, or "
        "CPUQuota=100% in a systemd unit)"
    ),
    "tasks": (
        "allow {wanted} (docker run --pids-limit {wanted}, podPidsLimit: {wanted} of the kubelet, "
        "or TasksMax={wanted} in a systemd unit)"
    ),
}

_PR_SET_PDEATHSIG = 1


# A worker's start


def tie_to_parent() -> None:
    """Have this process end with its parent, and not before (prctl(2), PR_SET_PDEATHSIG).

    A worker also notices the end of its crawler on their socket, unless the worker is stopped or
    its loop is blocked.
    """
    posix.leave_signals_to_parent()
    if call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL) < 0:
        note_refusal(Facility.PARENT_DEATH_SIGNAL, ctypes.get_errno())


def confine_worker() -> int:
    """Take from this process what a worker does not need: core dumps, precedence over other
    processes, and access to files. Let it open as many descriptors as the system allows.

    Call this while the process has one thread: others would not be restricted.

    Returns:
        How many descriptors it may open; `sys.maxsize` if there is no bound or it is unknown.
    """
    posix.forbid_core_dumps()
    use_batch_scheduling()
    most = raise_descriptor_limit()
    enter_sandbox()
    return most


def use_batch_scheduling() -> None:
    """Keep this process from interrupting others when it wakes up (sched(7), SCHED_BATCH).

    The crawler is the bottleneck of a crawl. A niceness would also let everything else on the
    machine interrupt this process.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except AttributeError:  # not every C library has it
        pass
    except OSError as error:
        note_refusal(Facility.BATCH_SCHEDULING, error)


def library_of(function: str) -> str | None:
    """Return the path of the library whose function of this name is called."""
    try:
        find = c_function("dladdr", ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(_SymbolInfo))
        address = ctypes.cast(getattr(ctypes.CDLL(None), function), ctypes.c_void_p)
    except AttributeError:
        return None
    info = _SymbolInfo()
    if not find(address, ctypes.byref(info)) or not info.path:
        return None
    return os.fsdecode(info.path)


class _SymbolInfo(ctypes.Structure):
    """The Dl_info of dladdr(3)."""

    _fields_ = (
        ("path", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


# Descriptors


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors, often 1,024, to the hard limit.

    Returns:
        The limit now in force; `sys.maxsize` if there is none or it is unknown.
    """
    hard = posix.hard_descriptor_limit()
    return posix.raise_descriptor_limit([] if hard is None else [hard])


def max_descriptors() -> int:
    """Return how many descriptors a worker may open; `sys.maxsize` if there is no bound or it is
    unknown."""
    hard = posix.hard_descriptor_limit()
    return sys.maxsize if hard in (None, resource.RLIM_INFINITY) else hard


def open_descriptors() -> int:
    """Count this process's open descriptors; 0 if unknown."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def create_poller() -> tuple[select.epoll | select.poll, int]:
    """Return a poller, and the number of its timeout's units in a second.

    It is epoll(7), which uses the same numbers as poll(2), or else that.
    """
    try:
        return select.epoll(), 1
    except AttributeError:  # not every Python has it
        pass
    except OSError as error:
        note_refusal(Facility.EPOLL, error)
    return posix.create_poller()


# CPUs


def usable_cpus() -> int:
    """Count the CPUs that this process may run on, or all of them if that is unknown."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count() or 1


def choosable_cpus() -> tuple[frozenset[int], int] | None:
    """Return the CPUs that this process may run on, and the one that this thread last ran on.

    Returns:
        None if the system does not let processes choose, or refuses it.
    """
    try:
        return frozenset(os.sched_getaffinity(0)), _cpu_of_this_thread()
    except AttributeError:  # not every C library has it
        return None
    except OSError as error:
        note_refusal(Facility.AFFINITY, error)
        return None


def _cpu_of_this_thread() -> int:
    """Return the CPU that this thread last ran on, from /proc (proc_pid_stat(5), field 39)."""
    with open("/proc/thread-self/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[36])


def move_to_cpus(pid: int, cpus: frozenset[int]) -> None:
    """Have a process run on some of the CPUs of `choosable_cpus`; do nothing if it has ended."""
    try:
        os.sched_setaffinity(pid, cpus)
    except ProcessLookupError:
        pass
    except OSError as error:
        note_refusal(Facility.AFFINITY, error)


# Containers


def group_limits() -> GroupLimits:
    """Read the limits of the container or the service that this process belongs to."""
    return read_group_limits(Path("/"))


# Memory


def resident_megabytes() -> int:
    """Return the resident memory of this process; 0 if unknown."""
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
    except OSError as error:
        note_refusal(Facility.PROC, error)
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def available_megabytes() -> int | None:
    """Return the memory that new processes can use (proc_meminfo(5), MemAvailable).

    Returns:
        None if unknown.
    """
    try:
        with open("/proc/meminfo") as meminfo:
            lines = dict(line.split(":", 1) for line in meminfo)
        return int(lines["MemAvailable"].split()[0]) // 1024
    except (KeyError, OSError):
        return None


def trim_memory() -> None:
    """Return malloc's spare memory to the system (malloc_trim(3))."""
    call("malloc_trim", 0)


def create_shared_memory(size_bytes: int) -> int | None:
    """Create memory that other processes can map (memfd_create(2)).

    Its size is sealed, since a process that reads past the end of shrunken memory is killed.

    Returns:
        A descriptor, which the caller owns; None if the system lacks or refuses such memory.
    """
    try:
        fd = os.memfd_create("scrapy_curl_safe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except AttributeError:  # not every Python has it
        return None
    except OSError as error:
        note_refusal(Facility.SHARED_MEMORY, error)
        return None
    try:
        os.ftruncate(fd, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
    except (AttributeError, OSError) as error:
        os.close(fd)
        if isinstance(error, OSError):
            note_refusal(Facility.SHARED_MEMORY, error)
        return None
    return fd


def discard(memory: mmap.mmap, offset: int, size: int) -> None:
    """Return the pages of a range of shared memory to the system (madvise(2), MADV_REMOVE).

    Afterwards they read as zeroes, or as before if the system does not take them back.
    """
    with contextlib.suppress(AttributeError, OSError):
        memory.madvise(mmap.MADV_REMOVE, offset, size)


# The network


def network_limits() -> NetworkLimits:
    """Read the limits of this system's network, as sysctl(8) shows them."""
    ports = read_sysctl("net.ipv4.ip_local_port_range")
    count = _number("net.netfilter.nf_conntrack_count")
    most = _number("net.netfilter.nf_conntrack_max")
    return NetworkLimits(
        ports=(ports[0], ports[1]) if ports is not None and len(ports) == 2 else None,
        tw_reuse=_number("net.ipv4.tcp_tw_reuse"),
        fin_timeout=_number("net.ipv4.tcp_fin_timeout"),
        conntrack=None if count is None or most is None else (count, most),
    )


def _number(name: str) -> int | None:
    numbers = read_sysctl(name)
    return numbers[0] if numbers is not None and len(numbers) == 1 else None


def read_sysctl(name: str) -> tuple[int, ...] | None:
    """Read a parameter of the kernel that consists of numbers.

    Args:
        name: such as `net.ipv4.tcp_fin_timeout`.

    Returns:
        None if the kernel has no such parameter, or does not reveal it.
    """
    try:
        text = Path("/proc/sys", *name.split(".")).read_text()
        return tuple(map(int, text.split()))
    except (OSError, ValueError):
        return None

"""What a worker asks of its kernel and C library. All of it is Linux's; elsewhere a worker
does without."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1

# Read when a name is looked up, and replaced by whoever manages the network.
_RESOLVER_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")


def end_with_the_crawler() -> None:
    """A worker sees the end of its crawler on their socket; this is for one that is stopped,
    or whose loop is blocked."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)


def give_way() -> None:
    """A worker that wakes up does not interrupt the crawler, which is what a crawl waits for: see
    sched(7), SCHED_BATCH. (With a niceness, too, whatever else runs on the machine would take a
    worker's core at each packet.)
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def forbid_core_dumps() -> None:
    """They would hold cookies and passwords. (Of one byte: zero does not stop a dump that
    core_pattern pipes to a program.)"""
    resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def raise_descriptor_limit() -> int:
    """As far as an unprivileged process may: the soft limit is often 1,024. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def resident_megabytes() -> int:
    """0 where the system has no /proc."""
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def trim_memory() -> None:
    """Give what the C library holds in reserve back to the system."""
    _call("malloc_trim", 0)


def open_descriptors() -> int:
    """0 where the system has no /proc."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def can_open_descriptor() -> bool:
    try:
        os.close(os.dup(0))
    except OSError:
        return False
    return True


def can_start_thread() -> bool:
    try:
        _thread.start_new_thread(lambda: None, ())
    except (RuntimeError, MemoryError):
        return False
    return True


def resolver_state() -> tuple[int, ...]:
    """Another one means that names may be looked up in another way."""
    return tuple(_inode(path) for path in _RESOLVER_FILES)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0


def _call(function: str, *arguments: int) -> None:
    with contextlib.suppress(AttributeError):  # another C library
        getattr(ctypes.CDLL(None), function)(*map(ctypes.c_ulong, arguments))

"""Measures memory, and creates memory that two processes share."""

from __future__ import annotations

import contextlib
import mmap
import os
import sys

from .c_library import call
from .refusals import Facility, note_refusal

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def resident_megabytes() -> int:
    """Return the resident memory of this process; 0 if unknown."""
    try:
        with open("/proc/self/statm") as statm:
            pages = int(statm.read().split()[1])
    except OSError as error:
        if sys.platform == "linux":
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
    except AttributeError:  # not Linux
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

"""Facts that the system knows about processes: who started them, and what they use."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import psutil

if sys.platform != "win32":
    import resource

T = TypeVar("T")
_TEMPORARY = "TEMP" if sys.platform == "win32" else "TMPDIR"


def worker_pids(marker: Path) -> list[int]:
    """Return the living worker processes with this path as TMPDIR, or TEMP on Windows."""
    found = []
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                command = [part.replace("\\", "/") for part in process.cmdline()]
                is_worker = any("scrapy_curl_safe/_worker" in part for part in command)
                if is_worker and process.environ().get(_TEMPORARY) == str(marker):
                    found.append(process.pid)
        except (psutil.Error, OSError):  # it is gone, or a zombie; or the system's own on Windows
            continue
    return sorted(found)


def owner_of_port(pids: list[int], port: int) -> int | None:
    """Return the process that has the TCP socket with this local port; None if none has it."""
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        if any(connection.laddr and connection.laddr.port == port for connection in connections):
            return pid
    return None


def children(pid: int | None = None) -> list[psutil.Process]:
    """Return the existing processes that this one (None: the calling one) has started."""
    return _ask(pid, psutil.Process.children, [])


def descendants(pid: int) -> list[psutil.Process]:
    """Return all descendants of a process."""
    return _ask(pid, lambda process: process.children(recursive=True), [])


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time that processes have used; 0 for those that are gone."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def resident_mb(pid: int) -> float:
    """Return how much memory of a process is resident, in MB; 0 if it is gone."""
    return _ask(pid, lambda process: process.memory_info().rss / 2**20, 0.0)


def proportional_mb(pid: int) -> float:
    """Return the proportional set size of a process in MB; 0 if it is gone. In the sum over several
    processes, memory that they share counts once."""
    return _ask(pid, lambda process: process.memory_full_info().pss / 2**20, 0.0)


def peak_memory_bytes() -> int:
    """Return the most memory of this process that was resident so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def descriptor_count(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if it is gone."""
    return _ask(pid, psutil.Process.num_fds, 0)


def _ask(pid: int | None, question: Callable[[psutil.Process], T], otherwise: T) -> T:
    try:
        return question(psutil.Process(pid))
    except (psutil.Error, FileNotFoundError):  # it is gone, or there is no /proc
        return otherwise

"""The processes below a crawl, as the system sees them."""

from __future__ import annotations

from pathlib import Path

import psutil


def worker_pids(marker: Path) -> list[int]:
    """Return the worker processes that live and have this path as TMPDIR."""
    found = []
    for process in psutil.process_iter():
        try:
            with process.oneshot():
                is_worker = any("scrapy_curl_safe/_worker" in part for part in process.cmdline())
                if is_worker and process.environ().get("TMPDIR") == str(marker):
                    found.append(process.pid)
        except psutil.Error:  # it is gone, or a zombie
            continue
    return sorted(found)


def owner_of_port(pids: list[int], port: int) -> int | None:
    """Return which of these processes has the TCP socket with this local port; None if none has."""
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections("tcp")
        except psutil.Error:
            continue
        if any(connection.laddr and connection.laddr.port == port for connection in connections):
            return pid
    return None


def resident_mb(pid: int) -> float:
    """Return how much memory of a process is resident, in MB; 0 if it is gone."""
    try:
        return psutil.Process(pid).memory_info().rss / 2**20
    except psutil.Error:
        return 0.0


def descriptor_count(pid: int) -> int:
    """Return how many descriptors a process has open; 0 if it is gone."""
    try:
        return psutil.Process(pid).num_fds()
    except psutil.Error:
        return 0

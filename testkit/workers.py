"""Workers as the pool sees them, without a process."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from scrapy_curl_safe._pool.worker import Worker


def a_worker(slot: int = 0, pid: int = 1000) -> Worker:
    """Return a worker that was started with this pid."""
    process: Any = SimpleNamespace(pid=pid)
    return Worker(slot, process, in_quarantine=False)

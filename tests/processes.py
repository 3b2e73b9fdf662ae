"""Which process is behind what an origin sees."""

from __future__ import annotations

import os
from pathlib import Path

from tests.crawling import Crawl


def worker_of(crawl: Crawl, port: int) -> int | None:
    """The worker of this crawl that has the TCP socket with this local port; None if it is
    gone, or the port is another's."""
    inode = _inode_of(port)
    for pid in crawl.workers():
        try:
            links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        if f"socket:[{inode}]" in links:
            return pid
    return None


def _inode_of(port: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].partition(":")[2], 16) == port:
            return fields[9]
    return None

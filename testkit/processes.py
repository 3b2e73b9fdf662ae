"""Which process is behind what an origin sees."""

from __future__ import annotations

import os
from pathlib import Path

from testkit.crawling import Crawl


def worker_of(crawl: Crawl, port: int) -> int | None:
    """The worker of this crawl that has the TCP socket with this local port; None if it is
    gone, or the port is another's."""
    wanted = {f"socket:[{inode}]" for inode in _inodes_of(port)}
    for pid in crawl.workers():
        try:
            links = [os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        if wanted.intersection(links):
            return pid
    return None


def _inodes_of(port: int) -> set[str]:
    """Several may have the port, to different peers; one of a process that is gone is 0."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {f[9] for f in lines if int(f[1].partition(":")[2], 16) == port and f[9] != "0"}

"""Crawls behind a network that is made bad: `unshare -mn python -m tests.in_namespace KIND`.

In network and mount namespaces of its own, so nothing else on the machine sees any of it.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.crawling import Crawl, Crawled
from tests.origins.raw import HOLD, RawOrigin
from tests.origins.tls import TlsOrigin


def raise_loopback() -> None:
    siocsifflags, iff_up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh", b"lo", iff_up))


def drop(what: str) -> None:
    """Have the kernel drop packets that match this on their way in."""
    rules = "table inet bad { chain in { type filter hook input priority 0; %s drop; }; }"
    subprocess.run(["nft", "-f", "-"], input=rules % what, text=True, check=True)


def crawl(*urls: str, **settings: object) -> Crawled:
    with tempfile.TemporaryDirectory() as directory:
        return Crawl(list(urls), settings, "asyncio", Path(directory), {}).finish(150)


def loss() -> None:
    """Five packets of a hundred are lost; TCP sees to it, and the retries to the rest."""
    drop("numgen random mod 100 < 5")
    with TlsOrigin(requests_per_connection=5) as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(300)),
            CONCURRENT_REQUESTS=32,
            CONCURRENT_REQUESTS_PER_DOMAIN=32,
            DOWNLOAD_TIMEOUT=20,
        )
    assert crawled.errors == [], crawled.errors
    assert sorted(r["number"] for r in crawled.responses) == list(range(300))


def dns() -> None:
    """The name server never answers: what needs it fails in time, and holds nobody up."""
    with (
        tempfile.NamedTemporaryFile("w") as resolv_conf,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind(("127.0.0.1", 53))
        resolv_conf.write("nameserver 127.0.0.1\n")
        resolv_conf.flush()
        subprocess.run(["mount", "--bind", resolv_conf.name, "/etc/resolv.conf"], check=True)
        with TlsOrigin() as origin:
            crawled = crawl(
                *(f"https://host{n}.example/" for n in range(8)),
                *(f"{origin.url}/{n}" for n in range(8, 60)),
                DOWNLOAD_TIMEOUT=2,
                RETRY_ENABLED=False,
            )
        assert server.recv(512)
    assert [e["type"] for e in crawled.errors] == ["DownloadTimeoutError"] * 8, crawled.errors
    assert sorted(r["number"] for r in crawled.responses) == list(range(8, 60))


def half_open() -> None:
    """The origin is there no more, and nobody says so: no FIN, no RST, no ACK."""

    def script(head: bytes):
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
        drop(f"tcp sport {origin.port}")
        yield HOLD

    with RawOrigin(script) as origin:
        crawled = crawl(origin.url, DOWNLOAD_TIMEOUT=2, RETRY_TIMES=1)
    (error,) = crawled.errors
    assert error["type"] in ("DownloadTimeoutError", "DownloadConnectionRefusedError"), error
    assert crawled.stats["retry/count"] == 1


if __name__ == "__main__":
    raise_loopback()
    {"loss": loss, "dns": dns, "half-open": half_open}[sys.argv[1]]()

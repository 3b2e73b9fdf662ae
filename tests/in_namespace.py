"""Crawls on a machine made to fail, in namespaces: `python -m tests.in_namespace KIND`."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from curl_cffi import Curl

from testkit.crawling import Crawl, Crawled, assert_all_pages, urls
from testkit.namespaces import bind, raise_loopback
from testkit.origins.raw import HOLD, Piece, RawOrigin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario
from testkit.waiting import wait_until


def drop(what: str) -> None:
    """Have the kernel drop incoming packets that match a rule."""
    rules = "table inet bad { chain in { type filter hook input priority 0; %s drop; }; }"
    subprocess.run(["nft", "-f", "-"], input=rules % what, text=True, check=True)


def crawl(
    *requests: str,
    meanwhile: Callable[[Crawl], None] = lambda crawl: None,
    scenario: Scenario | None = None,
    **settings: object,
) -> Crawled:
    with tempfile.TemporaryDirectory() as directory:
        crawl = Crawl(requests, settings, marker=Path(directory), scenario=scenario)
        meanwhile(crawl)
        return crawl.finish(150)


def loss() -> None:
    """Five of a hundred packets are lost. TCP repairs it, and retries do the rest."""
    drop("numgen random mod 100 < 5")
    with TlsOrigin(requests_per_connection=5) as origin:
        crawled = crawl(
            *urls(origin, 300),
            CONCURRENT_REQUESTS=32,
            CONCURRENT_REQUESTS_PER_DOMAIN=32,
            DOWNLOAD_TIMEOUT=20,
        )
    assert_all_pages(crawled, 300)


def dns() -> None:
    """The name server never answers. Requests that need it fail in time, and delay no others."""
    bind("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        with TlsOrigin() as origin:
            crawled = crawl(
                *(f"https://host{n}.example/" for n in range(8)),
                *urls(origin, 8, 60),
                DOWNLOAD_TIMEOUT=2,
                RETRY_ENABLED=False,
            )
        assert server.recv(512)
    assert [e["type"] for e in crawled.errors] == ["DownloadTimeoutError"] * 8, crawled.errors
    assert crawled.numbers == list(range(8, 60))


def half_open() -> None:
    """The origin vanishes without a FIN, an RST or an ACK."""

    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"
        drop(f"tcp sport {origin.port}")
        yield HOLD

    with RawOrigin(script) as origin:
        crawled = crawl(origin.url, DOWNLOAD_TIMEOUT=2, RETRY_TIMES=1)
    (error,) = crawled.errors
    assert error["type"] in ("DownloadTimeoutError", "DownloadConnectionRefusedError"), error
    assert crawled.stats["retry/count"] == 1


def assert_local(crawled: Crawled, requests: int, text: str) -> None:
    """Assert that failures were this machine's fault: retried until they passed, and counted as no
    origin's."""
    assert_all_pages(crawled, requests)
    failures = crawled.stat("handshake/failure_count")
    assert failures == crawled.stat("handshake/failure_count/local") > 0, crawled.stats
    assert crawled.stats["retry/reason_count/local_resources"] == failures
    assert crawled.stat("worker/recycle_count") > 0
    assert text in crawled.log


def ports() -> None:
    """All local ports are taken."""
    with TlsOrigin(delay=0.2) as origin:
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("40000 40007")
        crawled = crawl(
            *urls(origin, 60),
            CONCURRENT_REQUESTS=16,
            CONCURRENT_REQUESTS_PER_DOMAIN=16,
            CURL_SAFE_HANDSHAKE_RETRY_TIMES=100,
        )
    assert_local(crawled, 60, "Cannot assign requested address")


def threads() -> None:
    """A worker has no room for the stack of a thread, and needs one to look up a name."""
    names = [f"host{n}.example" for n in range(20)]
    bind("/etc/hosts", "".join(f"127.0.0.1 {name}\n" for name in names))

    def forbid_threads(crawl: Crawl) -> None:
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        for pid in crawl.workers():
            worker = psutil.Process(pid)
            room = worker.memory_info().vms + 4_000_000
            worker.rlimit(psutil.RLIMIT_AS, (room, room))
        started.set()

    started = threading.Event()

    def app(seen: SeenRequest) -> Reply:
        wait_until(started.is_set)
        return Reply()

    with TlsOrigin(app) as origin:
        crawled = crawl(
            f"{origin.url}/0",
            *(f"https://{name}:{origin.port}/" for name in names),
            meanwhile=forbid_threads,
            DOWNLOAD_TIMEOUT=3,
            scenario=Scenario(wait_for_first=True),
        )
    if b"c-ares" in Curl().version():  # since curl_cffi 0.17; it needs no thread
        assert_all_pages(crawled, 21)
        assert crawled.stat("handshake/failure_count") == 0
    else:
        assert_local(crawled, 21, "thread failed to start")


def resolver() -> None:
    """The network's name server is another one now: workers that may not read the new file are
    replaced by some that may."""

    def change(crawl: Crawl) -> None:
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        bind("/etc/resolv.conf", "nameserver 127.0.0.1\n")
        crawl.wait_for(lambda: len(crawl.ready_workers) == 4)
        changed.set()

    changed = threading.Event()

    def app(seen: SeenRequest) -> Reply:
        wait_until(changed.is_set)
        return Reply()

    with TlsOrigin(app) as origin:
        crawled = crawl(origin.url, meanwhile=change)
    assert_all_pages(crawled, 1)
    assert crawled.stat("worker/recycle_count") == 2
    assert "the system's name resolution has changed" in crawled.log
    assert crawled.stat("worker/crash_count") == 0


if __name__ == "__main__":
    raise_loopback()
    bad = {
        "resolver": resolver,
        "loss": loss,
        "dns": dns,
        "half-open": half_open,
        "ports": ports,
        "threads": threads,
    }
    bad[sys.argv[1]]()

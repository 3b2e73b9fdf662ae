"""Memory, descriptors and sockets of workers: bounded, and given back."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._ipc.messages import (
    BrowserHead,
    Completed,
    Fetch,
    Heartbeat,
    Hello,
    Outcome,
    Profile,
    encode_browser_head,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.crawling import Crawl
from testkit.origins.holding import HoldingOrigin
from testkit.origins.raw import RawOrigin
from testkit.origins.streams import TlsStream
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS
from testkit.waiting import until
from tests.test_worker import PLAIN, download, in_event_loop

pytestmark = pytest.mark.processes


class NeverCloses(TlsOrigin):
    """Answers once, and never answers close_notify, nor anything else, after that."""

    async def serve(self, sock: socket.socket, number: int) -> None:
        assert self._context is not None
        stream = TlsStream(sock, self._context, await self.read_hello(sock))
        await stream.handshake()
        while b"\r\n\r\n" not in await stream.read():
            pass
        stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await stream.flush()
        await self._stop.wait()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """For the origin, which is in this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 5000:
        pytest.skip("the limit of open files is below 5,000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 20_000), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def descriptors(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def test_sockets_that_never_close_are_bounded(
    start_crawl: Callable[..., Crawl], many_descriptors: None
) -> None:
    """libcurl resolves names under "localhost" by itself: each is a host of its own."""
    with NeverCloses() as origin:
        crawl = start_crawl(
            *(f"https://h{n}.localhost:{origin.port}/" for n in range(2000)),
            # Chrome's handshake waits for what a name server says of ECH (curl_cffi 0.17).
            CURL_SAFE_IMPERSONATE="safari180",
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=32,
            LOG_LEVEL="INFO",
        )
        most = 0

        def ended() -> bool:
            nonlocal most
            most = max([most, *map(descriptors, crawl.workers())])
            return crawl.process.poll() is not None or "Spider closed" in crawl.log

        crawl.wait_for(ended)
        crawled = crawl.finish()
        assert origin.accepted == 2000
    assert len(crawled.responses) == 2000
    assert crawled.errors == []
    assert crawled.stat("worker/start_count") == 1
    # Idle and closing ones are at most 1,024 + 64, and c-ares may have two for each in flight.
    assert 1024 < most < 1024 + 64 + 32 + 2 * 32


def test_origins_that_take_turns_find_their_connections_again(
    start_crawl: Callable[..., Crawl],
) -> None:
    with TlsOrigin() as origin:
        crawl = start_crawl(
            *(f"https://h{n % 100}.localhost:{origin.port}/{n}" for n in range(200)),
            CURL_SAFE_IMPERSONATE="safari180",
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=4,
            CONCURRENT_REQUESTS_PER_DOMAIN=1,
        )
        crawled = crawl.finish()
        assert origin.accepted == 100
    assert len(crawled.responses) == 200


def test_a_worker_with_too_many_descriptors_is_replaced(
    start_crawl: Callable[..., Crawl], tmp_path: Path
) -> None:
    """Whoever has them: here sessions of many proxies that nobody uses again."""
    with TlsOrigin(delay=0.01) as origin:
        requests = [
            {"url": f"{origin.url}/{n}", "meta": {"bindaddress": f"127.0.1.{n % 200 + 1}"}}
            for n in range(150)
        ]
        crawl = start_crawl(
            *requests,
            limit=("nofile", "80:80"),
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=4,
            CONCURRENT_REQUESTS_PER_DOMAIN=4,
            DOWNLOAD_DELAY=0.04,
            RANDOMIZE_DOWNLOAD_DELAY=False,
            CURL_SAFE_WORKER_HANG_TIMEOUT=1,  # heartbeats four times a second
        )
        crawled = crawl.finish()
    assert sorted(r["number"] for r in crawled.responses) == list(range(150))
    assert crawled.stat("worker/recycle_count") > 0
    assert re.search(r"Replacing worker 0 \(pid \d+\): it has \d+ descriptors open", crawled.log)
    assert crawled.stat("worker/crash_count") == 0


def test_where_no_session_can_be_made_nothing_is_lost(start_crawl: Callable[..., Crawl]) -> None:
    """So many in so short a time that no worker is replaced before it is too late."""
    with TlsOrigin() as origin:
        crawl = start_crawl(
            *(
                {"url": f"{origin.url}/{n}", "meta": {"bindaddress": f"127.0.1.{n + 1}"}}
                for n in range(200)
            ),
            limit=("nofile", "80:80"),
            CURL_SAFE_WORKERS=1,
        )
        crawled = crawl.finish()
    assert crawled.errors == []
    assert sorted(r["number"] for r in crawled.responses) == list(range(200))
    assert crawled.stats["retry/reason_count/local_resources"] > 0
    assert crawled.stat("handshake/failure_count/local") == crawled.stat("handshake/failure_count")


async def memory_mb(heartbeats: list[Heartbeat]) -> float:
    """Return the memory of a worker that appends its heartbeats to a list, as of now."""
    heartbeats.clear()
    await until(lambda: len(heartbeats) >= 3)
    return heartbeats[-1].memory_mb


@in_event_loop
async def test_memory_is_returned_before_a_worker_is_replaced_for_it() -> None:
    """The same load on two workers: the one that is above its bound holds less afterwards."""
    lines = b"".join(b"X-%d: %s\r\n" % (n, b"v" * 60) for n in range(3000))
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n" + lines + b"\r\n" + bytes(100_000)
    memory = []
    for bound in (0, 1):
        heartbeats: list[Heartbeat] = []
        hello = Hello(
            profiles=[("default", PLAIN)],
            heartbeat_interval_seconds=0.1 if bound else 1.0,
            max_in_flight=8,
            max_idle=8,
            max_memory_mb=bound,
        )
        with (
            RawOrigin(answer, tls=False) as origin,
            WorkerClient(hello, on_heartbeat=heartbeats.append) as worker,
        ):
            for outcome, _ in await asyncio.gather(
                *(download(worker, origin.url) for _ in range(400))
            ):
                assert isinstance(outcome, Completed)
            memory.append(await memory_mb(heartbeats))
    assert memory[1] < memory[0]


LARGE = b"v" * 200_000


@pytest.mark.parametrize(
    "fields",
    [
        {"profile": encode_profile(Profile(visitor=LARGE.decode()))},
        {"browser_head": encode_browser_head(BrowserHead(fields=[], order=[LARGE]))},
        {"headers": [(b"X-Large", LARGE)]},
    ],
    ids=lambda fields: next(iter(fields)),
)
@in_event_loop
async def test_requests_in_flight_keep_no_copies_of_what_they_share(fields: dict[str, Any]) -> None:
    fields = {"profile": PLAIN, **fields}
    heartbeats: list[Heartbeat] = []
    hello = Hello(profiles=[("default", fields["profile"])], heartbeat_interval_seconds=0.1)
    with (
        HoldingOrigin(tls=False) as origin,
        WorkerClient(hello, on_heartbeat=heartbeats.append) as worker,
    ):

        async def fetch(path: str) -> Outcome:
            return (await worker.fetch(Fetch(url=origin.url + path, **fields)))[0]

        assert isinstance(await fetch("/"), Completed)
        before = await memory_mb(heartbeats)
        tasks = [asyncio.create_task(fetch("/held")) for _ in range(100)]
        await until(lambda: len(origin.requests) == 101)
        assert await memory_mb(heartbeats) - before < 100 * len(LARGE) / 2**20 / 2
        origin.release.set()
        assert all(isinstance(outcome, Completed) for outcome in await asyncio.gather(*tasks))


def resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize() // 2**20


@pytest.mark.parametrize("way", WAYS)
def test_a_successor_is_up_before_a_worker_drains(
    start_crawl: Callable[..., Crawl], way: str
) -> None:
    """So no request waits for a worker to start: there is always one that takes it."""
    with TlsOrigin(delay=0.02) as origin:
        crawl = start_crawl(
            *(f"{origin.url}/{n}" for n in range(300)),
            way=way,
            CURL_SAFE_WORKERS=1,
            CURL_SAFE_WORKER_MAX_REQUESTS=50,
        )
        crawled = crawl.finish()
        assert len(origin.requests) == 300
    assert len(crawled.responses) == 300
    lines = re.findall(r"Replacing worker 0|Worker 0 \(pid \d+\) is up", crawled.log)
    # One is up; from then on each replacement is followed by a successor, never the other way.
    kinds = [line.startswith("Replacing") for line in lines]
    assert kinds[0] is False
    assert kinds.count(True) == crawled.stat("worker/recycle_count") >= 1
    assert "retry/count" not in crawled.stats
    served = [r["meta"]["curl_safe_info"]["worker"] for r in crawled.responses]
    assert set(served) == {0}

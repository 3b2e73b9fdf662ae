"""Workers that die in every phase of their lives, and requests that kill them."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.crawling import Crawl, Crawled, assert_all_pages, urls
from testkit.fixtures import StartCrawl
from testkit.origins.raw import Piece, RawOrigin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.waiting import until, wait_until

SIGNALS = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]
anyhow = pytest.mark.parametrize("how", SIGNALS, ids=[how.name for how in SIGNALS])


class HeldHandshakes(TlsOrigin):
    """Completes no handshake until `opened` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()

    async def serve(self, sock: socket.socket, number: int) -> None:
        await until(self.opened.is_set)
        await super().serve(sock, number)


def worker_behind(crawl: Crawl, port: int) -> int:
    """Return the pid of the worker that has a connection from this port."""
    pid = crawl.worker_with_port(port)
    assert pid is not None
    return pid


def assert_survived(
    crawled: Crawled, requests: int, pid: int, how: signal.Signals, *, lost: bool = True
) -> None:
    """Assert that a crawl has all its responses, and one line in the log about the death."""
    assert_all_pages(crawled, requests)
    assert crawled.stat("worker/crash_count") == 1
    (line,) = re.findall(
        rf"Worker \d+ \(pid {pid}\) died \({how.name}\) with (\d+) requests in flight", crawled.log
    )
    assert (int(line) > 0) == lost
    assert crawled.stats.get("retry/reason_count/worker_crashed", 0) == int(line)
    assert crawled.exit_code == 0


@anyhow
def test_while_it_starts(start_crawl: StartCrawl, how: signal.Signals) -> None:
    with HeldHandshakes() as origin:
        crawl = start_crawl(*urls(origin, 20))
        crawl.wait_for(crawl.workers)
        victim = crawl.workers()[0]
        os.kill(victim, how)
        # It is replaced before the crawl is over.
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        origin.opened.set()
        crawled = crawl.finish()
    assert_survived(crawled, 20, victim, how, lost=False)
    assert crawled.stat("worker/start_count") == 3


@anyhow
def test_during_a_handshake(start_crawl: StartCrawl, how: signal.Signals) -> None:
    with HeldHandshakes() as origin:
        crawl = start_crawl(*urls(origin, 8), CONCURRENT_REQUESTS=8)
        crawl.wait_for(lambda: origin.accepted == 8)
        victim = worker_behind(crawl, origin.peer_ports[0])
        os.kill(victim, how)
        crawl.wait_for(lambda: crawl.stat("worker/crash_count") == 1)
        origin.opened.set()
        crawled = crawl.finish()
    assert_survived(crawled, 8, victim, how)
    # Nobody takes it for a failed handshake.
    assert crawled.stat("handshake/failure_count") == 0


@anyhow
def test_in_the_middle_of_a_body(start_crawl: StartCrawl, how: signal.Signals) -> None:
    opened = threading.Event()

    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbo"
        yield opened.is_set
        yield b"dy"

    with RawOrigin(script) as origin:
        crawl = start_crawl(*urls(origin, 8), CONCURRENT_REQUESTS=8)
        crawl.wait_for(lambda: len(origin.heads) == 8)
        victim = worker_behind(crawl, origin.peer_ports[0])
        os.kill(victim, how)
        crawl.wait_for(lambda: crawl.stat("worker/crash_count") == 1)
        opened.set()
        crawled = crawl.finish()
    assert_survived(crawled, 8, victim, how)
    assert {r["body"] for r in crawled.responses} == {"body"}


@anyhow
def test_while_it_is_idle(start_crawl: StartCrawl, how: signal.Signals) -> None:
    opened = threading.Event()

    def script(head: bytes) -> Iterator[Piece]:
        yield opened.is_set
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    with RawOrigin(script) as origin:
        crawl = start_crawl(origin.url)
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2 and origin.heads)
        (victim,) = set(crawl.workers()) - {worker_behind(crawl, origin.peer_ports[0])}
        os.kill(victim, how)
        crawl.wait_for(lambda: len(crawl.ready_workers) == 3)
        opened.set()
        crawled = crawl.finish()
    assert_survived(crawled, 1, victim, how, lost=False)


@anyhow
def test_while_it_drains(start_crawl: StartCrawl, how: signal.Signals) -> None:
    opened = threading.Event()

    def script(head: bytes) -> Iterator[Piece]:
        if b"/held" in head:
            yield opened.is_set
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

    with RawOrigin(script) as origin:
        crawl = start_crawl(
            f"{origin.url}/held",
            *urls(origin, 1, 6),
            CURL_SAFE_WORKERS=1,
            CURL_SAFE_WORKER_MAX_REQUESTS=6,
        )
        # Its successor is up, and it is there for the held one alone.
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2 and len(origin.heads) == 6)
        held = next(n for n, head in enumerate(origin.heads) if b"/held" in head)
        victim = worker_behind(crawl, origin.peer_ports[held])
        os.kill(victim, how)
        crawl.wait_for(lambda: crawl.stat("worker/crash_count") == 1)
        opened.set()
        crawled = crawl.finish()
    assert_survived(crawled, 6, victim, how)
    # Its successor is there already: no other one is started.
    assert crawled.stat("worker/start_count") == 2
    assert crawled.stat("worker/recycle_count") == 1


class Poison:
    """An app whose /poison page ends the worker that asks for it.

    Args:
        deaths: how many workers it ends; None for all that ask.
    """

    origin: TlsOrigin

    def __init__(self, deaths: int | None = None) -> None:
        self.crawl: Crawl | None = None
        self.deaths = deaths
        self.victims: list[int] = []

    def __call__(self, seen: SeenRequest) -> Reply:
        if "/poison" in seen.path and len(self.victims) != self.deaths:
            wait_until(lambda: self.crawl is not None)
            assert self.crawl is not None
            pid = self.crawl.worker_with_port(self.origin.peer_ports[seen.connection])
            if pid is not None:
                self.victims.append(pid)
                os.kill(pid, signal.SIGSEGV)
        return Reply(body=b"ok")


def crawl_with(start_crawl: StartCrawl, app: Poison, **settings: Any) -> tuple[Crawled, TlsOrigin]:
    with TlsOrigin(app, delay=0.02) as origin:
        app.origin = origin
        app.crawl = start_crawl(
            *urls(origin, 60),
            f"{origin.url}/poison",
            *urls(origin, 61, 120),
            **settings,
        )
        return app.crawl.finish(), origin


def test_a_request_that_kills_three_workers_fails_and_hurts_no_neighbour(
    start_crawl: StartCrawl,
) -> None:
    app = Poison()
    crawled, origin = crawl_with(start_crawl, app)
    neighbours = [n for n in range(120) if n != 60]
    assert crawled.numbers == neighbours
    # Its errback sees it.
    (error,) = crawled.errors
    assert (error["number"], error["type"]) == (60, "WorkerCrashedError")
    assert error["exit_status"] == -signal.SIGSEGV
    assert len(app.victims) == crawled.stat("worker/crash_count") == 3
    assert crawled.stat("worker/quarantine_count") >= 1
    assert f"{origin.url}/poison> was in flight in 2 workers as they died" in crawled.log
    assert f"{origin.url}/poison> ended even the worker that it had for itself" in crawled.log
    # The last one had it alone.
    assert f"(pid {app.victims[-1]}) died (SIGSEGV) with 1 requests in flight" in crawled.log


def test_a_request_that_was_there_twice_by_chance_succeeds_alone(start_crawl: StartCrawl) -> None:
    app = Poison(deaths=2)
    crawled, _ = crawl_with(start_crawl, app)
    assert_all_pages(crawled, 120)
    assert crawled.stat("worker/quarantine_count") >= 1
    assert crawled.stat("worker/crash_count") == 2


@pytest.mark.parametrize("meta", [{"dont_retry": True}, {"max_retry_times": 0}])
def test_a_request_that_must_not_be_retried_is_not(
    start_crawl: StartCrawl, meta: dict[str, Any]
) -> None:
    with HeldHandshakes() as origin:
        crawl = start_crawl({"url": origin.url, "meta": meta})
        crawl.wait_for(lambda: origin.accepted == 1)
        os.kill(worker_behind(crawl, origin.peer_ports[0]), signal.SIGKILL)
        crawl.wait_for(lambda: crawl.stat("worker/crash_count") == 1)
        origin.opened.set()
        crawled = crawl.finish()
    assert [error["type"] for error in crawled.errors] == ["WorkerCrashedError"]
    assert crawled.responses == []


def test_deaths_do_not_use_up_scrapys_retries(start_crawl: StartCrawl) -> None:
    """Two workers die with the request in flight, and RETRY_TIMES is 1."""
    app = Poison(deaths=2)
    crawled, _ = crawl_with(start_crawl, app, RETRY_TIMES=1)
    assert_all_pages(crawled, 120)

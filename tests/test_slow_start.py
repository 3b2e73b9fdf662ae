"""Bursts of requests: as few connections as HTTP/2 needs, and as many as HTTP/1.1 does."""

from __future__ import annotations

import asyncio
import itertools
import socket
import threading
from typing import Any

import pytest
from curl_cffi import CurlError, CurlOpt

from scrapy_curl_safe._ipc.messages import (
    Cancelled,
    Completed,
    Failed,
    Fetch,
    Hello,
    Outcome,
    Profile,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from scrapy_curl_safe._worker.browser import create_easy_handle
from scrapy_curl_safe._worker.loop import Loop
from scrapy_curl_safe._worker.multi import Multi
from scrapy_curl_safe._worker.slow_start import SlowStart
from testkit.origins.holding import HoldingOrigin
from testkit.origins.tls import TlsOrigin
from testkit.waiting import until
from tests.test_worker import start_by

PLAIN = encode_profile(Profile())
HELLO = Hello(profiles=[("default", PLAIN)], max_in_flight=200, max_idle=200)
#: Starts a worker whose transfers wait as long as they must, however slow the machine is.
PATIENT = (
    "-c",
    "import scrapy_curl_safe._worker.multi as multi; multi._SLOW_START_SECONDS = 1000.0; "
    "from scrapy_curl_safe._worker.__main__ import main; main()",
)
#: How many connections a worker opens at once.
FIRST = 32
_numbers = itertools.count()


def fill(slow_start: SlowStart) -> list[int]:
    """Start transfers as long as there is room, and return them."""
    started: list[int] = []
    while slow_start.has_room:
        started.append(next(_numbers))
        slow_start.start(started[-1])
    return started


def test_the_first_transfers_start_at_once() -> None:
    assert len(fill(SlowStart())) == FIRST


def test_a_new_connection_makes_room_for_two_more() -> None:
    slow_start = SlowStart()
    for transfer in fill(slow_start):
        assert slow_start.leave(transfer)
        slow_start.widen()
    assert len(fill(slow_start)) == 2 * FIRST


def test_waiting_doubles_it() -> None:
    slow_start = SlowStart()
    slow_start.double()
    assert len(fill(slow_start)) == 2 * FIRST


def test_a_transfer_leaves_once() -> None:
    slow_start = SlowStart()
    first, *_ = fill(slow_start)
    assert slow_start.leave(first)
    assert not slow_start.leave(first)
    assert len(fill(slow_start)) == 1


class HangingOrigin(TlsOrigin):
    """Says nothing on its first connections until `release` is set, and then closes them."""

    def __init__(self, hanging: int, **options: Any) -> None:
        super().__init__(**options)
        self.release = threading.Event()
        self._hanging = hanging

    async def serve(self, sock: socket.socket, number: int) -> None:
        if number >= self._hanging:
            await super().serve(sock, number)
        else:
            await until(self.release.is_set)


def fetches(worker: WorkerClient, base: str, count: int) -> list[asyncio.Task[Any]]:
    return [
        asyncio.create_task(
            worker.fetch(Fetch(url=f"{base}/{number}", profile=PLAIN, timeout_seconds=60.0))
        )
        for number in range(count)
    ]


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[type[Outcome]]:
    return [type(outcome) for outcome, _ in await asyncio.gather(*tasks)]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("alpn", "count", "least", "most"),
    [
        ("h2", 60, 1, FIRST),
        # A connection takes a hundred requests.
        ("h2", 1000, 10, 2 * FIRST),
        ("http/1.1", 60, 1, 60),
    ],
    ids=["HTTP/2", "HTTP/2, more", "HTTP/1.1"],
)
def test_all_requests_of_a_burst_are_in_flight(
    alpn: str, count: int, least: int, most: int
) -> None:
    async def test() -> None:
        hello = Hello(profiles=HELLO.profiles, max_in_flight=1000, max_idle=200)
        with (
            HoldingOrigin(alpn=(alpn,)) as origin,
            WorkerClient(hello, start_by(*PATIENT)) as worker,
        ):
            tasks = fetches(worker, f"{origin.url}/held", count)
            await until(lambda: len(origin.requests) == count)
            assert least <= origin.accepted <= most
            origin.release.set()
            assert await outcomes(tasks) == [Completed] * count

    asyncio.run(test())


@pytest.mark.processes
def test_connections_that_hang_keep_no_other_request_waiting() -> None:
    async def test() -> None:
        with HangingOrigin(FIRST) as origin, WorkerClient(HELLO) as worker:
            tasks = fetches(worker, origin.url, 60)
            await until(lambda: sum(task.done() for task in tasks) == 60 - FIRST)
            assert not origin.release.is_set()
            origin.release.set()
            found = await outcomes(tasks)
        assert found.count(Completed) == 60 - FIRST
        assert found.count(Failed) == FIRST

    asyncio.run(test())


@pytest.mark.processes
def test_connections_that_fail_make_room() -> None:
    async def test() -> None:
        with TlsOrigin(drop=[True] * FIRST) as origin, WorkerClient(HELLO) as worker:
            found = await outcomes(fetches(worker, origin.url, 60))
        assert found.count(Failed) == FIRST
        assert found.count(Completed) == 60 - FIRST

    asyncio.run(test())


class _EndedError(Exception):
    pass


def test_a_transfer_that_fails_is_counted_no_longer() -> None:
    def on_end(error: CurlError | None) -> None:
        raise _EndedError(error)

    loop = Loop()
    multi, easy = Multi(loop), create_easy_handle(Profile())
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        easy.setopt(CurlOpt.URL, f"https://127.0.0.1:{refusing.getsockname()[1]}/")
        multi.add(easy, on_end)
        assert multi._slow_start.connecting == 1
        with pytest.raises(_EndedError, match="onnect"):
            loop.run()
    assert multi._slow_start.connecting == 0
    multi.close()
    easy.close()


@pytest.mark.parametrize(("most_sends", "started"), [(1, 40), (2, FIRST)])
def test_what_may_be_sent_only_once_does_not_wait(most_sends: int, started: int) -> None:
    multi = Multi(Loop())
    handles = [create_easy_handle(Profile()) for _ in range(40)]
    for easy in handles:
        easy.setopt(CurlOpt.URL, "https://127.0.0.1/")
        easy.limit_sends(most_sends)
        multi.add(easy, lambda error: None)
    assert multi._slow_start.connecting == started
    for easy in handles:
        multi.remove(easy)
        easy.close()
    assert multi._slow_start.connecting == 0
    multi.close()


def test_the_time_that_a_transfer_waits_is_part_of_its_timeout() -> None:
    easy = create_easy_handle(Profile())
    timeout = int(CurlOpt.TIMEOUT_MS)
    easy.set_number(timeout, 1000)
    easy.limits = (1.0, 0, False, False)
    easy.shorten_timeout(0.4)
    assert easy.number(timeout) == 600
    # So that the next request sets its own.
    assert easy.limits is None
    easy.shorten_timeout(60)
    assert easy.number(timeout) == 1
    easy.set_number(timeout, 0)
    easy.shorten_timeout(60)
    assert easy.number(timeout) == 0
    easy.close()


@pytest.mark.processes
def test_a_request_that_waits_can_be_cancelled() -> None:
    async def test() -> None:
        with HangingOrigin(1000) as origin, WorkerClient(HELLO) as worker:
            await worker.ready()
            requests = [
                Fetch(url=f"{origin.url}/{number}", profile=PLAIN, timeout_seconds=60.0)
                for number in range(60)
            ]
            tasks = [asyncio.create_task(worker.fetch(request)) for request in requests]
            await until(lambda: requests[-1].id)
            for request in requests:
                worker.connection.cancel(request)
            assert await outcomes(tasks) == [Cancelled] * 60
            # Those that waited have left no trace: another request is served.
            origin.release.set()
            origin._hanging = 0
            last = Fetch(url=origin.url, profile=PLAIN, timeout_seconds=60.0)
            outcome, _ = await worker.fetch(last)
            assert isinstance(outcome, Completed)

    asyncio.run(test())

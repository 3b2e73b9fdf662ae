"""Bodies come to Scrapy in portions that it can take."""

from __future__ import annotations

import asyncio
import socket
from collections import deque

import pytest

from scrapy_curl_safe.link import Link
from scrapy_curl_safe.pool.valve import Valve
from scrapy_curl_safe.wire import Chunk, encode, from_worker_decoder
from testkit.origins.tls import Reply, TlsOrigin
from tests.conftest import in_every_way


class Turns:
    """A loop that only calls soon."""

    def __init__(self):
        self._soon = deque()

    def call_soon(self, callback):
        self._soon.append(callback)

    def turn(self):
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def turns_until(self, condition):
        for number in range(1, 100):
            self.turn()
            if condition():
                return number
        raise AssertionError("it never is")


def test_it_closes_for_some_turns_once_a_portion_has_passed():
    turns = Turns()
    valve = Valve(turns.call_soon, 1000)
    valve.passed(499)
    assert valve.is_open
    valve.passed(2)
    assert not valve.is_open
    valve.passed(2)  # what came along with it
    assert turns.turns_until(lambda: valve.is_open) >= 6
    valve.passed(499)
    assert valve.is_open
    valve.passed(499)
    assert turns.turns_until(lambda: valve.is_open) >= 6


def test_small_ones_are_a_portion_when_they_are_many():
    turns = Turns()
    valve = Valve(turns.call_soon, 5_000_000)
    for _ in range(2):
        passed = 0
        while valve.is_open:
            valve.passed(1200)
            passed += 1
        assert 8 < passed < 32
        assert turns.turns_until(lambda: valve.is_open) >= 6


def test_those_that_wait_are_called_once_and_in_turn():
    turns, called = Turns(), []
    valve = Valve(turns.call_soon, 1000)
    valve.passed(2000)
    valve.when_open(lambda: called.append("a"))
    valve.when_open(lambda: called.append("b"))
    turns.turns_until(lambda: valve.is_open)
    assert called == ["a", "b"]
    valve.passed(2000)
    turns.turns_until(lambda: valve.is_open)
    assert called == ["a", "b"]


class Linked:
    """A link whose frames each close its valve."""

    def __init__(self):
        ours, self.peer = socket.socketpair()
        self.got, self.lost = [], []
        self.loop = asyncio.get_running_loop()
        self.valve = Valve(self.loop.call_soon, 10)
        self.link = Link(
            self.loop,
            ours,
            from_worker_decoder(),
            self.on_frame,
            self.lost.append,
            valve=self.valve,
        )

    def on_frame(self, message, body):
        self.got.append(message.id)
        self.valve.passed(len(body))

    async def until(self, condition):
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("it never is")


def frames(count):
    return b"".join(encode(Chunk(n), 10) + b"x" * 10 for n in range(count))


def test_a_link_hands_on_all_that_came_in_order_and_then_its_end():
    async def run():
        linked = Linked()
        linked.peer.sendall(frames(5))
        linked.peer.close()
        await linked.until(lambda: linked.got)
        assert linked.got == [0]
        assert linked.lost == []
        await linked.until(lambda: linked.lost)
        assert linked.got == [0, 1, 2, 3, 4]
        assert linked.lost == [None]

    asyncio.run(run())


def test_a_link_that_is_closed_hands_on_nothing_more():
    async def run():
        linked = Linked()
        linked.peer.sendall(frames(5))
        await linked.until(lambda: linked.got)
        linked.link.close()
        await linked.until(lambda: linked.valve.is_open)
        assert linked.got == [0]
        assert linked.lost == []
        linked.peer.close()

    asyncio.run(run())


def test_a_link_that_cannot_write_hands_on_what_came_before_it_is_lost():
    async def run():
        linked = Linked()
        linked.valve.when_open = lambda callback: None  # nobody is called any more
        linked.peer.sendall(frames(5))
        await linked.until(lambda: linked.got)
        linked.peer.close()
        linked.link.send(Chunk(9))
        await linked.until(lambda: linked.lost)
        assert linked.got == [0, 1, 2, 3, 4]
        assert len(linked.lost) == 1

    asyncio.run(run())


@in_every_way
@pytest.mark.parametrize("size", [50_000, 400_000])
def test_scrapy_is_never_given_more_than_it_can_take(crawl, size):
    """All come at one time; by the socket, and by the shared memory."""
    most = 8 * size
    with TlsOrigin(lambda seen: Reply(body=b"x" * size), delay=0.5) as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(60)),
            CONCURRENT_REQUESTS=60,
            CONCURRENT_REQUESTS_PER_DOMAIN=60,
            SCRAPER_SLOT_MAX_ACTIVE_SIZE=most,
            EXTENSIONS={"testkit.runner.SeesBodiesInHand": 0},
        )
    assert crawled.errors == []
    assert len(crawled.responses) == 60
    assert crawled.stats["bodies_in_hand"] <= most

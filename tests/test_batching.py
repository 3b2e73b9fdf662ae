"""Responses come to Scrapy in batches that it can take."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable

import pytest

from scrapy_curl_safe._ipc import channel
from scrapy_curl_safe._ipc.channel import Channel
from scrapy_curl_safe._ipc.framing import encode_frame, from_worker_decoder
from scrapy_curl_safe._ipc.messages import Chunk, FromWorker
from scrapy_curl_safe._pool.batching import ResponseBatcher
from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, TlsOrigin
from tests.conftest import in_every_way


class Turns:
    """A loop that only calls soon."""

    def __init__(self) -> None:
        self._soon: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def turn(self) -> None:
        for _ in range(len(self._soon)):
            self._soon.popleft()()

    def turns_until(self, condition: Callable[[], bool]) -> int:
        for number in range(1, 100):
            self.turn()
            if condition():
                return number
        raise AssertionError("the condition never comes true")


def turns_until_resumed(turns: Turns, batcher: ResponseBatcher) -> int:
    return turns.turns_until(lambda: not batcher.is_paused)


def test_it_pauses_for_some_turns_after_each_batch() -> None:
    turns = Turns()
    batcher = ResponseBatcher(turns.call_soon, 1000)
    batcher.handed_over(499)
    assert not batcher.is_paused
    batcher.handed_over(2)
    assert batcher.is_paused
    batcher.handed_over(2)  # what came along with it
    assert turns_until_resumed(turns, batcher) >= 6
    batcher.handed_over(499)
    assert not batcher.is_paused
    batcher.handed_over(499)
    assert turns_until_resumed(turns, batcher) >= 6


def test_small_responses_are_a_batch_when_they_are_many() -> None:
    turns = Turns()
    batcher = ResponseBatcher(turns.call_soon, 5_000_000)
    for _ in range(2):
        responses = 0
        while not batcher.is_paused:
            batcher.handed_over(1200)
            responses += 1
        assert 8 < responses < 32
        assert turns_until_resumed(turns, batcher) >= 6


def test_those_that_wait_are_called_once_and_in_turn() -> None:
    turns = Turns()
    called: list[str] = []
    batcher = ResponseBatcher(turns.call_soon, 1000)
    batcher.handed_over(2000)
    batcher.when_resumed(lambda: called.append("a"))
    batcher.when_resumed(lambda: called.append("b"))
    turns_until_resumed(turns, batcher)
    assert called == ["a", "b"]
    batcher.handed_over(2000)
    turns_until_resumed(turns, batcher)
    assert called == ["a", "b"]


class Batched:
    """A channel each of whose frames is a batch."""

    def __init__(self) -> None:
        ours, self.peer = socket.socketpair()
        self.got: list[int] = []
        self.lost: list[Exception | None] = []
        self.loop = asyncio.get_running_loop()
        self.batcher = ResponseBatcher(self.loop.call_soon, 10)
        self.channel: Channel[FromWorker] = Channel(
            self.loop,
            ours,
            from_worker_decoder(),
            self.on_frame,
            self.lost.append,
            flow_control=self.batcher,
        )

    def on_frame(self, message: FromWorker, body: bytes) -> None:
        assert isinstance(message, Chunk)
        self.got.append(message.id)
        self.batcher.handed_over(len(body))

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("the condition never comes true")


def frames(count: int) -> bytes:
    return b"".join(encode_frame(Chunk(n), 10) + b"x" * 10 for n in range(count))


def test_a_channel_hands_on_all_that_came_in_order_and_then_its_end() -> None:
    async def run() -> None:
        batched = Batched()
        batched.peer.sendall(frames(5))
        batched.peer.close()
        await batched.until(lambda: batched.got)
        assert batched.got == [0]
        assert batched.lost == []
        await batched.until(lambda: batched.lost)
        assert batched.got == [0, 1, 2, 3, 4]
        assert batched.lost == [None]

    asyncio.run(run())


def test_a_channel_that_is_closed_hands_on_nothing_more() -> None:
    async def run() -> None:
        batched = Batched()
        batched.peer.sendall(frames(5))
        await batched.until(lambda: batched.got)
        batched.channel.close()
        await batched.until(lambda: not batched.batcher.is_paused)
        assert batched.got == [0]
        assert batched.lost == []
        batched.peer.close()

    asyncio.run(run())


def test_a_channel_that_cannot_write_hands_on_what_came_before_it_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        batched = Batched()
        # Nobody is called any more.
        monkeypatch.setattr(batched.batcher, "when_resumed", lambda callback: None)
        batched.peer.sendall(frames(5))
        await batched.until(lambda: batched.got)
        batched.peer.close()
        batched.channel.send(Chunk(9))
        await batched.until(lambda: batched.lost)
        assert batched.got == [0, 1, 2, 3, 4]
        assert len(batched.lost) == 1

    asyncio.run(run())


def test_all_that_a_dead_peer_has_sent_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_READ_SIZE_BYTES", 64)

    async def run() -> None:
        batched = Batched()
        batched.loop.remove_reader(batched.channel._fd)
        # More than one turn of the loop reads.
        batched.peer.sendall(frames(100))
        batched.peer.close()
        batched.channel.send(Chunk(9))
        await batched.until(lambda: batched.lost)
        assert batched.got == list(range(100))

    asyncio.run(run())


def test_channels_have_their_turn_in_order() -> None:
    """One that has more to hand on comes after those that have handed on nothing."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        batcher = ResponseBatcher(loop.call_soon, 10)
        got: list[int] = []
        opened: list[tuple[Channel[FromWorker], socket.socket]] = []
        for number in range(3):
            ours, peer = socket.socketpair()

            def on_frame(message: FromWorker, body: bytes, number: int = number) -> None:
                got.append(number)
                batcher.handed_over(len(body))

            reading = Channel(
                loop,
                ours,
                from_worker_decoder(),
                on_frame,
                lambda reason: None,
                flow_control=batcher,
            )
            opened.append((reading, peer))
            peer.sendall(frames(4))
        for _ in range(10_000):
            if len(got) == 12:
                break
            await asyncio.sleep(0)
        assert min(Counter(got[:7]).values()) == 2
        for reading, peer in opened:
            reading.close()
            peer.close()

    asyncio.run(run())


@in_every_way
@pytest.mark.parametrize("size", [50_000, 400_000])
def test_scrapy_is_never_given_more_than_it_can_take(crawl: RunCrawl, size: int) -> None:
    """All come at one time; by the socket, and by the shared memory."""
    most = 8 * size
    with TlsOrigin(lambda seen: Reply(body=b"x" * size), delay=0.5) as origin:
        crawled = crawl(
            *urls(origin, 60),
            CONCURRENT_REQUESTS=60,
            CONCURRENT_REQUESTS_PER_DOMAIN=60,
            SCRAPER_SLOT_MAX_ACTIVE_SIZE=most,
            EXTENSIONS={"testkit.components.BodiesInHand": 0},
        )
    assert_all_pages(crawled, 60)
    assert crawled.stats["bodies_in_hand"] <= most

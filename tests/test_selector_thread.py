"""A thread that watches descriptors for an event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._pool.selector_thread import SelectorThread, watching_loop
from testkit.crawling import Crawled, assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin
from testkit.waiting import until


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


def threads() -> int:
    return sum(thread.name == "scrapy_curl_safe" for thread in threading.enumerate())


def test_a_loop_that_watches_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.new_event_loop()
    monkeypatch.setattr(system, "can_watch", lambda loop: True)
    assert watching_loop(loop) is loop
    monkeypatch.setattr(system, "can_watch", lambda loop: False)
    assert isinstance(watching_loop(loop), SelectorThread)
    loop.close()


def test_what_is_ready_is_told_until_it_is_not(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    main = threading.get_ident()

    async def run() -> None:
        loop, got = SelectorThread(asyncio.get_running_loop()), []

        def on_readable() -> None:
            assert threading.get_ident() == main
            got.append(ours.recv(1))

        loop.add_reader(ours.fileno(), on_readable)
        assert threads() == 1
        theirs.send(b"ab")
        await until(lambda: got == [b"a", b"b"])
        # A second callback takes the place of the first.
        other: list[bytes] = []
        loop.add_reader(ours.fileno(), lambda: other.append(ours.recv(1)))
        theirs.send(b"c")
        await until(lambda: other == [b"c"])
        written: list[int] = []

        def on_writable() -> None:
            written.append(ours.send(b"x"))
            loop.remove_writer(ours.fileno())

        loop.add_writer(ours.fileno(), on_writable)
        await until(lambda: written == [1])
        theirs.send(b"d")
        await until(lambda: other == [b"c", b"d"])
        loop.remove_reader(ours.fileno())
        loop.remove_reader(ours.fileno())
        await until(lambda: threads() == 0)
        # And begins again.
        loop.add_reader(ours.fileno(), on_readable)
        theirs.send(b"e")
        await until(lambda: got == [b"a", b"b", b"e"])
        loop.remove_reader(ours.fileno())
        await until(lambda: threads() == 0)

    asyncio.run(run())


def test_nothing_is_told_of_what_was_removed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair

    async def run() -> None:
        loop, got = SelectorThread(asyncio.get_running_loop()), []

        def on_readable(end: socket.socket, other: socket.socket) -> Callable[[], None]:
            def read() -> None:
                got.append(end.recv(1))
                # Ready, too, and reported by now or soon.
                loop.remove_reader(other.fileno())

            return read

        third, fourth = socket.socketpair()
        with third, fourth:
            loop.add_reader(ours.fileno(), on_readable(ours, third))
            loop.add_reader(third.fileno(), on_readable(third, ours))
            theirs.send(b"xx")
            fourth.send(b"xx")
            await until(lambda: len(got) == 2)
            loop.remove_reader(ours.fileno())
            loop.remove_reader(third.fileno())
            await until(lambda: threads() == 0)

    asyncio.run(run())


@pytest.mark.processes
def test_a_crawl_whose_loop_cannot_watch(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled: Crawled = crawl(*urls(origin, 100), way="none", module="tests.blind_loop")
    assert_all_pages(crawled, 100)

"""The worker's event loop, on real descriptors and the real clock."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._worker.loop import Loop, LoopTimer

READABLE, WRITABLE = system.READABLE, system.WRITABLE

needs_pipes = pytest.mark.skipif(sys.platform == "win32", reason="it watches sockets alone")


class StopError(Exception):
    pass


def run(loop: Loop, seconds: float = 10) -> None:
    """Until somebody raises StopError; fails where nobody does."""

    def stop() -> None:
        pytest.fail("nothing happened")

    LoopTimer(loop, stop).set(seconds)
    with pytest.raises(StopError):
        loop.run()


def stop() -> None:
    raise StopError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_a_descriptor_is_told_with_its_events(pair: tuple[socket.socket, socket.socket]) -> None:
    loop, told = Loop(), []

    def on_events(fd: int, events: int) -> None:
        told.append((fd, events))
        if events & READABLE:
            raise StopError
        pair[1].send(b"x")

    fd = pair[0].fileno()
    loop.watch(fd, READABLE | WRITABLE, on_events)
    run(loop)
    assert told == [(fd, WRITABLE), (fd, READABLE | WRITABLE)]


def test_other_events_take_the_place_of_the_first(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    loop = Loop()
    loop.watch(pair[0].fileno(), WRITABLE, lambda fd, events: pytest.fail("the first"))
    told = []

    def second(fd: int, events: int) -> None:
        told.append(events)
        raise StopError

    loop.watch(pair[0].fileno(), READABLE, second)
    pair[1].send(b"x")
    run(loop)
    assert told == [READABLE]


def test_what_is_unwatched_in_a_turn_is_not_told_in_it() -> None:
    loop, told = Loop(), []
    pairs = [socket.socketpair() for _ in range(2)]
    fds = [ours.fileno() for ours, _ in pairs]

    def on_events(fd: int, events: int) -> None:
        told.append(fd)
        for each in fds:
            loop.unwatch(each)
        loop.call_soon(stop)

    for ours, theirs in pairs:
        theirs.send(b"x")
        loop.watch(ours.fileno(), READABLE, on_events)
    run(loop)
    assert len(told) == 1
    for one in (sock for each in pairs for sock in each):
        one.close()


@needs_pipes
def test_one_that_is_closed_can_be_unwatched_and_its_number_used_again() -> None:
    loop = Loop()
    read, write = os.pipe()
    loop.watch(read, READABLE, lambda fd, events: pytest.fail("it is closed"))
    os.close(read)
    loop.unwatch(read)
    os.close(write)
    read, write = os.pipe()
    os.write(write, b"x")
    loop.watch(read, READABLE, lambda fd, events: stop())
    run(loop)
    os.close(read)
    os.close(write)


def test_a_reader_and_a_writer_share_a_descriptor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    loop, done = Loop(), []
    fd = pair[0].fileno()

    def write() -> None:
        done.append("written")
        loop.remove_writer(fd)
        pair[1].send(b"x")

    def read() -> None:
        done.append("read")
        loop.remove_reader(fd)
        loop.remove_reader(fd)
        loop.call_soon(stop)

    loop.add_reader(fd, read)
    loop.add_writer(fd, write)
    run(loop)
    assert done == ["written", "read"]


@needs_pipes
def test_reader_and_writer_hear_of_a_broken_pipe() -> None:
    loop, told = Loop(), []
    read, write = os.pipe()
    os.close(read)  # of the other end poll says POLLERR, and nothing else

    def on_broken() -> None:
        told.append("writer")
        loop.remove_writer(write)
        loop.add_reader(write, stop)

    loop.add_writer(write, on_broken)
    run(loop)
    assert told == ["writer"]
    os.close(write)


def test_what_is_called_soon_waits_for_the_end_of_the_turn_and_not_for_an_event() -> None:
    loop, calls = Loop(), []

    def again() -> None:
        calls.append("again")
        loop.call_soon(stop)

    loop.call_soon(lambda: calls.append("first"))
    loop.call_soon(again)
    run(loop)
    assert calls == ["first", "again"]


def test_what_calls_itself_soon_lets_others_have_their_turn(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    loop = Loop()

    def forever() -> None:
        loop.call_soon(forever)

    loop.call_soon(forever)
    loop.watch(pair[0].fileno(), WRITABLE, lambda fd, events: stop())
    run(loop)


def test_timers_fire_in_the_order_of_their_times() -> None:
    loop, fired = Loop(), []
    for delay in (0.03, 0.01, 0.02, 0.0):
        LoopTimer(loop, lambda delay=delay: fired.append(delay)).set(delay)  # type: ignore[misc]
    LoopTimer(loop, stop).set(0.04)
    run(loop)
    assert fired == [0.0, 0.01, 0.02, 0.03]


@settings(max_examples=30)
@given(st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=1, max_size=12))
def test_a_timer_fires_once_when_it_was_last_set_to(delays: list[int | None]) -> None:
    loop, fired = Loop(), []
    timer = LoopTimer(loop, lambda: fired.append(time.monotonic()))
    due = None
    for delay in delays:
        seconds = None if delay is None else delay / 1000
        timer.set(seconds)
        due = None if seconds is None else time.monotonic() + seconds
    LoopTimer(loop, stop).set(0.03)
    run(loop)
    assert len(fired) == (due is not None)
    if due is not None:
        assert fired[0] >= due - 0.001  # `due` was read a little after the timer was set


def test_a_timer_that_is_set_anew_again_and_again_leaves_nothing_behind() -> None:
    loop = Loop()
    timer = LoopTimer(loop, lambda: pytest.fail("it was unset"))
    for _ in range(1000):
        timer.set(100)
        timer.set(None)
        timer.set(200)
    assert len(loop._wake_ups) == 1


def test_what_a_callback_raises_ends_the_loop() -> None:
    loop = Loop()
    loop.call_soon(lambda: None)
    loop.call_soon(stop)
    with pytest.raises(StopError):
        loop.run()


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="there is none")
@pytest.mark.parametrize(
    "take_away", ["del select.epoll", "select.epoll = lambda: os.stat('/does/not/exist')"]
)
@pytest.mark.processes
def test_it_runs_without_epoll(take_away: str) -> None:
    """On a system that lacks it, and on one that refuses it with an OSError."""
    code = f"import os, select, sys, pytest; {take_away}; sys.exit(pytest.main(sys.argv[1:]))"
    without = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "-k", "not without_epoll"]
    done = subprocess.run(
        [sys.executable, "-c", code, *without, __file__],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout

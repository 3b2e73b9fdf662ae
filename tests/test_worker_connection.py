"""The crawler's end of the protocol, with a fake worker at the other one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest

from scrapy_curl_safe._ipc.framing import encode_frame
from scrapy_curl_safe._ipc.messages import (
    Cancelled,
    Chunk,
    Completed,
    Fetch,
    Heartbeat,
    Outcome,
    ProtocolError,
    Ready,
    ResponseHead,
    SharedSlice,
    SizeWarning,
)
from scrapy_curl_safe._ipc.shared_memory import SHARED_MEMORY_BYTES, SharedMemoryReader
from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._pool.worker_connection import WorkerConnection
from tests.fake_worker import HELLO, FakeWorker, completed, in_virtual_time, settle


class Recorder:
    """A receiver of what a worker says of a fetch, and of all else that a connection says."""

    def __init__(self) -> None:
        self.messages: list[object] = []
        self.outcomes: list[tuple[Outcome, bytes]] = []
        self.times_overdue = 0

    def on_message(self, message: ResponseHead | Chunk | SizeWarning, body: bytes) -> None:
        self.messages.append((message, body))

    def on_outcome(self, outcome: Outcome, body: bytes) -> None:
        self.outcomes.append((outcome, body))

    def on_overdue(self) -> None:
        self.times_overdue += 1


class Connected:
    """A connection to a fake worker, and what it was told of it."""

    def __init__(self, memory: SharedMemoryReader | None = None, **fields: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.worker = FakeWorker(self.loop, 2**24, memory, **{"beats": False, **fields})
        self.ready: list[Ready] = []
        self.heartbeats: list[Heartbeat] = []
        self.lost: list[Exception | None] = []
        self.connection = WorkerConnection(
            self.loop,
            self.worker.process,
            HELLO,
            on_ready=self.ready.append,
            on_heartbeat=self.heartbeats.append,
            on_lost=self.lost.append,
        )

    def fetch(self, **fields: Any) -> tuple[Fetch, Recorder]:
        fetch, receiver = Fetch(url="https://origin.example/", profile=b"", **fields), Recorder()
        self.connection.fetch(fetch, b"body", receiver)
        return fetch, receiver

    async def close(self) -> None:
        self.connection.close()
        await settle()
        assert self.worker.exit_status == 0


@pytest.fixture
def memory() -> Iterator[tuple[int, SharedMemoryReader]]:
    fd = system.create_shared_memory(SHARED_MEMORY_BYTES)
    if fd is None:
        pytest.skip("the system has no memfd_create")
    reader = SharedMemoryReader(fd)
    yield fd, reader
    reader.close()
    os.close(fd)


@in_virtual_time
async def test_the_hello_goes_first_and_the_answer_is_told() -> None:
    connected = Connected()
    assert repr(connected.connection) == "<WorkerConnection not ready, 0 in flight>"
    connected.fetch()
    await settle()
    assert connected.worker.hello == HELLO
    assert [ready.curl for ready in connected.ready] == ["libcurl/8.21"]
    assert repr(connected.connection) == "<WorkerConnection ready, 1 in flight>"
    connected.worker.send(Heartbeat(memory_mb=3))
    await settle()
    assert connected.heartbeats == [Heartbeat(memory_mb=3)]
    await connected.close()
    assert connected.lost == []


@in_virtual_time
async def test_a_second_ready_breaks_the_protocol() -> None:
    connected = Connected()
    await settle()
    connected.worker.come_up()
    await settle()
    assert [str(error) for error in connected.lost] == ["a second Ready"]
    assert len(connected.ready) == 1
    assert connected.worker.exit_status == 0  # its socket is closed


@in_virtual_time
async def test_each_fetch_has_an_id_of_its_own() -> None:
    connected = Connected()
    fetches = [connected.fetch() for _ in range(3)]
    assert [fetch.id for fetch, _ in fetches] == [1, 2, 3]
    await settle()
    connected.worker.complete(fetches[1][0], b"page")
    await settle()
    assert [len(receiver.outcomes) for _, receiver in fetches] == [0, 1, 0]
    ((outcome, body),) = fetches[1][1].outcomes
    assert isinstance(outcome, Completed)
    assert body == b"page"
    assert connected.connection.in_flight == 2
    await connected.close()


@in_virtual_time
async def test_the_end_of_the_stream_is_told_once() -> None:
    connected = Connected()
    _, receiver = connected.fetch()
    await settle()
    connected.worker.exit(1)
    await settle()
    assert connected.lost == [None]
    assert connected.connection.abandon() == [receiver]
    assert connected.connection.abandon() == []
    assert connected.connection.in_flight == 0


@in_virtual_time
async def test_nothing_is_told_after_close() -> None:
    connected = Connected()
    fetch, receiver = connected.fetch()
    await settle()
    connected.worker.complete(fetch)
    connected.connection.close()
    await settle()
    assert connected.lost == []
    assert receiver.outcomes == []


@in_virtual_time
async def test_a_fetch_is_cancelled_once() -> None:
    connected = Connected()
    fetch, receiver = connected.fetch()
    connected.connection.cancel(fetch)
    connected.connection.cancel(fetch)
    await settle()
    assert connected.worker.cancels == [1]
    connected.worker.end_cancelled()
    await settle()
    assert receiver.outcomes == [(Cancelled(1), b"")]
    connected.connection.cancel(fetch)  # which is over
    await settle()
    assert connected.worker.cancels == [1]
    await connected.close()


@in_virtual_time
async def test_an_outcome_that_crosses_the_cancel_is_one() -> None:
    connected = Connected()
    fetch, receiver = connected.fetch()
    await settle()
    connected.connection.cancel(fetch)
    connected.worker.complete(fetch, b"page")
    await settle()
    ((outcome, _),) = receiver.outcomes
    assert isinstance(outcome, Completed)
    assert connected.lost == []
    await connected.close()


@in_virtual_time
async def test_a_fetch_that_is_late_is_told_so_until_it_ends() -> None:
    connected = Connected()
    _, receiver = connected.fetch(timeout_seconds=5.0)
    _, without_bound = connected.fetch()
    begin = connected.loop.time()
    connected.connection.check_deadlines(begin + 14.9)
    assert receiver.times_overdue == 0
    connected.connection.check_deadlines(begin + 15.1)
    connected.connection.check_deadlines(begin + 16.1)
    assert (receiver.times_overdue, without_bound.times_overdue) == (2, 0)
    assert connected.lost == []
    await connected.close()


@in_virtual_time
async def test_a_cancel_that_is_late_breaks_the_protocol() -> None:
    connected = Connected()
    fetch, receiver = connected.fetch(timeout_seconds=500.0)
    await settle()
    connected.connection.cancel(fetch)
    begin = connected.loop.time()
    connected.connection.check_deadlines(begin + 9.9)
    assert connected.lost == []
    connected.connection.check_deadlines(begin + 10.1)
    assert [str(error) for error in connected.lost] == ["request 1 was cancelled and does not end"]
    assert receiver.times_overdue == 0
    await connected.close()


@in_virtual_time
async def test_the_time_since_the_last_message_is_known() -> None:
    connected = Connected()
    await settle()
    assert connected.connection.silence(connected.loop.time()) == 0.0
    await asyncio.sleep(3.0)
    assert connected.connection.silence(connected.loop.time()) == 3.0
    connected.worker.send(Heartbeat())
    await settle()
    assert connected.connection.silence(connected.loop.time()) == 0.0
    await connected.close()


@in_virtual_time
async def test_time_in_which_the_crawler_did_not_listen_is_no_delay() -> None:
    connected = Connected()
    _, late = connected.fetch(timeout_seconds=5.0)
    cancelled, _ = connected.fetch(timeout_seconds=5.0)
    connected.connection.cancel(cancelled)
    await settle()
    begin = connected.loop.time()
    connected.connection.excuse(100.0)
    assert connected.connection.silence(begin + 102.0) == 2.0
    connected.connection.check_deadlines(begin + 109.0)
    assert (late.times_overdue, connected.lost) == (0, [])
    connected.connection.check_deadlines(begin + 116.0)
    assert (late.times_overdue, len(connected.lost)) == (1, 1)
    await connected.close()


@in_virtual_time
async def test_a_message_that_cannot_be_handled_ends_the_connection() -> None:
    class Failing(Recorder):
        def on_outcome(self, outcome: Outcome, body: bytes) -> None:
            raise MemoryError

    connected = Connected()
    fetch = Fetch(url="https://origin.example/", profile=b"")
    connected.connection.fetch(fetch, b"", Failing())
    connected.fetch()
    await settle()
    connected.worker.complete_all()
    await settle()
    assert [type(error) for error in connected.lost] == [MemoryError]
    assert not connected.connection.is_open
    assert connected.worker.exit_status == 0  # its socket is closed


@in_virtual_time
async def test_a_body_in_shared_memory_is_copied_and_its_slot_released(
    memory: tuple[int, SharedMemoryReader],
) -> None:
    fd, reader = memory
    os.pwrite(fd, b"page", 4096)
    connected = Connected(reader)
    fetch, receiver = connected.fetch()
    await settle()
    connected.worker.complete(fetch, shared=SharedSlice(4096, 4))
    await settle()
    ((_, body),) = receiver.outcomes
    os.pwrite(fd, b"next", 4096)
    assert body == b"page"
    assert connected.worker.slices_released == 1
    await connected.close()


@pytest.mark.parametrize("slice", [SharedSlice(0, 2**40), SharedSlice(-8, 8), SharedSlice(8, -8)])
@in_virtual_time
async def test_a_slice_outside_the_memory_breaks_the_protocol(
    memory: tuple[int, SharedMemoryReader], slice: SharedSlice
) -> None:
    connected = Connected(memory[1])
    fetch, receiver = connected.fetch()
    await settle()
    connected.worker.complete(fetch, shared=slice)
    await settle()
    assert [type(error) for error in connected.lost] == [ProtocolError]
    # Its request is lost with the worker.
    assert receiver.outcomes == []
    assert connected.connection.abandon() == [receiver]
    await connected.close()


@in_virtual_time
async def test_messages_behind_a_violation_are_not_taken() -> None:
    connected = Connected()
    (first, receiver), (second, other) = connected.fetch(), connected.fetch()
    await settle()
    lie = encode_frame(Cancelled(first.id))
    connected.worker.socket.send(lie + encode_frame(completed(second)) + lie)
    await settle()
    assert [type(error) for error in connected.lost] == [ProtocolError]
    assert receiver.outcomes == other.outcomes == []
    await connected.close()


@in_virtual_time
async def test_what_fits_no_frame_is_not_in_flight() -> None:
    connected = Connected()
    with pytest.raises(ProtocolError, match="too large"):
        connected.fetch(headers=[(b"x" * 2**24, b"")])
    assert connected.connection.in_flight == 0
    await connected.close()

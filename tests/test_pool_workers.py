"""Workers of a pool that die, hang, lie, are replaced or do not come up: fakes in virtual time."""

from __future__ import annotations

import signal
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import pytest

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import encode_frame
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Fetch,
    Heartbeat,
    Ready,
    ResponseHead,
    SharedSlice,
    TransferStats,
)
from scrapy_curl_safe._ipc.shared_memory import SharedMemoryReader
from scrapy_curl_safe._pool.errors import (
    FetchTimeoutError,
    WorkerLostError,
    WorkersExhaustedError,
)
from tests.fake_worker import (
    FakePool,
    FakeWorker,
    Fetching,
    completed,
    in_virtual_time,
    passed,
    settle,
)

OTHER = "https://other.example"


def states(fetchings: list[Fetching]) -> list[str]:
    return [fetching.state.name for fetching in fetchings]


def lost_with(fetching: Fetching) -> WorkerLostError:
    assert isinstance(fetching.error, WorkerLostError)
    return fetching.error


# Death


@in_virtual_time
async def test_a_worker_that_dies_takes_its_requests_and_no_others() -> None:
    async with FakePool(workers=2) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(4)]
        await settle()
        dying, healthy = fake.workers
        dying.exit(-signal.SIGSEGV)
        await settle()
        lost = [fetching for fetching in fetchings if fetching.is_done]
        assert len(lost) == 2
        for fetching in lost:
            error = lost_with(fetching)
            assert (error.slot, error.exit_status, error.hung, error.was_alone) == (
                0, -signal.SIGSEGV, False, False,
            )  # fmt: skip
            assert fetching.state.name == "DONE"
        assert fake.events.counts["worker_crashed"] == 1
        assert fake.events.counts["requests_lost"] == 2
        assert fake.origin().limit.in_use == 2
        healthy.complete_all()
        await settle()
        assert all(fetching.is_done for fetching in fetchings)


@in_virtual_time
async def test_its_slot_is_filled_again() -> None:
    async with FakePool(workers=2) as fake:
        first, _ = fake.workers
        first.exit(1)
        await settle()
        assert fake.pool.workers_alive == 2
        assert fake.events.counts["worker_started"] == 3
        fetchings = [fake.fetch(avoid=1) for _ in range(2)]
        await settle()
        assert [len(worker.fetches) for worker in fake.workers] == [0, 2]
        fake.workers[1].complete_all()
        await settle()
        assert {fetching.result.slot for fetching in fetchings} == {0}


@in_virtual_time
async def test_requests_wait_for_the_worker_that_replaces_the_only_one() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        fake.workers[0].exit(1)
        await settle()
        fetching = fake.fetch()
        await settle()
        assert fetching.state.name == "WAITING_FOR_WORKER"
        fake.workers[0].come_up()
        await settle()
        assert fetching.state.name == "SENT"


@in_virtual_time
async def test_what_it_said_before_it_died_still_counts() -> None:
    async with FakePool() as fake:
        fetchings = [fake.fetch(), fake.fetch()]
        await settle()
        (worker,) = fake.workers
        outcome = completed(worker.fetches[1])
        worker.socket.send(encode_frame(outcome, 4) + b"page")
        worker.exit(-9)
        await settle()
        assert fetchings[0].result.body == b"page"
        assert lost_with(fetchings[1]).exit_status == -9
        assert fake.events.counts["requests_lost"] == 1


@in_virtual_time
async def test_a_request_that_was_not_written_to_it_goes_to_another_one() -> None:
    async with FakePool(workers=2) as fake:
        dead, healthy = fake.workers
        fake.loop.remove_reader(dead.socket)
        large = b"x" * 4_000_000
        partly_written, unsent, cancelled = (
            fake.fetch(method="POST", body=large, avoid=1) for _ in range(3)
        )
        await settle()
        assert states([partly_written, unsent, cancelled]) == ["SENT"] * 3
        cancelled.task.cancel()
        dead.exit(-9)
        await settle()
        assert [len(body) for body in healthy.bodies.values()] == [len(large)] * 2
        assert fake.events.counts["requests_lost"] == 0
        healthy.complete_all()
        await settle()
        assert partly_written.result.slot == unsent.result.slot == 1


@in_virtual_time
async def test_a_request_that_was_written_to_it_is_lost_whether_or_not_it_was_read() -> None:
    async with FakePool(workers=2) as fake:
        dead, healthy = fake.workers
        fake.loop.remove_reader(dead.socket)
        fetching = fake.fetch(avoid=1)
        await settle()
        dead.exit(-9)
        await settle()
        assert lost_with(fetching).exit_status == -9
        assert healthy.fetches == {}


@in_virtual_time
async def test_those_that_wait_for_an_origin_get_the_places_of_lost_requests() -> None:
    async with FakePool(workers=2, most=2) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(4)]
        await settle()
        assert states(fetchings) == ["SENT", "SENT", "WAITING_FOR_ORIGIN", "WAITING_FOR_ORIGIN"]
        fake.workers[0].exit(1)
        await settle()
        assert states(fetchings) == ["DONE", "SENT", "SENT", "WAITING_FOR_ORIGIN"]


@in_virtual_time
async def test_a_worker_that_closes_its_socket_and_does_not_exit_is_killed() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch()
        await settle()
        (worker,) = fake.workers
        worker.is_stuck = True
        worker.close_socket()
        await passed(1.9)
        assert worker.exit_status is None
        await passed(0.2)
        assert worker.exit_status == -signal.SIGKILL
        assert lost_with(fetching).exit_status == -signal.SIGKILL
        assert fake.events.counts["worker_crashed"] == 1
        assert fake.pool.workers_alive == 1


# Hanging


@in_virtual_time
async def test_a_worker_without_a_heartbeat_is_killed_and_replaced() -> None:
    async with FakePool(workers=2, hang_timeout_seconds=5.0) as fake:
        fetchings = [fake.fetch(), fake.fetch(origin=OTHER)]
        await settle()
        stuck, healthy = fake.workers
        stuck.is_stuck = True
        await passed(4.0)
        assert stuck.exit_status is None
        await passed(3.0)
        assert stuck.exit_status == -signal.SIGKILL
        error = lost_with(fetchings[0])
        assert (error.hung, error.slot) == (True, 0)
        assert fake.events.counts["worker_hung"] == 1
        assert fake.events.counts["worker_crashed"] == 0
        assert fake.pool.workers_alive == 2
        assert healthy.exit_status is None
        assert fetchings[1].state.name == "SENT"


@in_virtual_time
async def test_any_message_is_a_sign_of_life() -> None:
    async with FakePool(hang_timeout_seconds=2.0) as fake:
        fake.fleet.beats = False
        fake.workers[0].exit(1)
        await settle()
        (worker,) = fake.workers
        fake.fetch(stream=True)
        await settle()
        stats = TransferStats()
        worker.send(ResponseHead(id=1, status=200, protocol="HTTP/2", headers=[], stats=stats))
        for _ in range(10):
            await passed(1.0)
            worker.send(Chunk(1), body=b"x")
        assert worker.exit_status is None
        await passed(4.0)
        assert worker.exit_status == -signal.SIGKILL


@in_virtual_time
async def test_a_crawler_that_was_blocked_does_not_take_its_workers_for_hung() -> None:
    async with FakePool(hang_timeout_seconds=5.0) as fake:
        (worker,) = fake.workers
        await passed(0.5)
        fake.loop.block(60.0)
        await passed(3.0)
        assert worker.exit_status is None
        assert fake.events.counts["worker_hung"] == 0
        assert fake.events.longest_lag > 55


@in_virtual_time
async def test_a_worker_that_hangs_is_found_while_callbacks_are_busy() -> None:
    async with FakePool(workers=2, hang_timeout_seconds=5.0) as fake:
        lost, overdue = fake.fetch(), fake.fetch(timeout_seconds=20.0)
        await settle()
        stuck, healthy = fake.workers
        stuck.is_stuck = True
        for _ in range(40):
            fake.loop.block(2.5)
            await settle()
        assert stuck.exit_status == -signal.SIGKILL
        assert lost_with(lost).hung
        assert isinstance(overdue.error, FetchTimeoutError)
        # It was cancelled then, which this worker does not answer.
        assert healthy.cancels == [1]


@in_virtual_time
async def test_what_the_crawler_holds_back_is_not_late() -> None:
    async with FakePool(hang_timeout_seconds=5.0) as fake:
        (worker,) = fake.workers
        fetching, cancelled = fake.fetch(timeout_seconds=1.0), fake.fetch(timeout_seconds=1.0)
        await settle()
        cancelled.task.cancel()
        await settle()
        batcher = fake.pool._batcher
        batcher._turns_left = 1  # a pause, as long as callbacks are busy
        worker.complete(worker.fetches[1], b"page")
        worker.end_cancelled()
        await settle()
        worker.is_stuck = True  # says nothing for as long
        await passed(60.0)
        assert not fetching.is_done
        assert worker.exit_status is None
        worker.is_stuck = False
        batcher._on_turn()
        await settle()
        assert fetching.result.body == b"page"
        assert fake.origin().limit.in_use == 0


@in_virtual_time
async def test_a_worker_that_cannot_be_killed_is_left_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakePool(workers=2, hang_timeout_seconds=5.0) as fake:
        fetching = fake.fetch()
        await settle()
        stuck, _ = fake.workers
        stuck.is_stuck = stuck.ignores_signals = True
        await passed(40.0)
        assert stuck.exit_status is None
        assert lost_with(fetching).hung
        assert fake.pool.workers_alive == 2
        assert "was killed and does not end. It is left behind" in caplog.text
        _, also_stuck, *_ = [w for w in fake.workers if w is not stuck] + fake.workers
        also_stuck.is_stuck = also_stuck.ignores_signals = True
        await fake.pool.close()
        for worker in (stuck, also_stuck):
            worker.exit(-signal.SIGKILL)


@in_virtual_time
async def test_a_worker_that_hangs_as_it_starts_is_killed() -> None:
    async with FakePool(starts=False, comes_up=False, hang_timeout_seconds=5.0) as fake:
        fake.pool.start()
        fetching = fake.fetch()
        await settle()
        (stuck,) = fake.workers
        fake.fleet.comes_up = True
        await passed(59.0)
        assert stuck.exit_status is None
        await passed(4.0)
        assert stuck.exit_status == -signal.SIGKILL
        assert fetching.state.name == "SENT"


@in_virtual_time
async def test_a_worker_that_was_taken_for_hung_gets_nothing_more() -> None:
    async with FakePool(hang_timeout_seconds=5.0) as fake:
        (stuck,) = fake.workers
        stuck.is_stuck = True
        stuck.ignores_signals = True
        await passed(7.0)
        fetching = fake.fetch()
        await settle()
        assert fake.pool.workers_alive == 0
        assert fetching.state.name == "WAITING_FOR_WORKER"
        stuck.ignores_signals = False
        stuck.exit(-signal.SIGKILL)
        await settle()
        assert fetching.state.name == "SENT"


# The protocol


def head(fetch: Fetch, stats: TransferStats | None = None) -> ResponseHead:
    return ResponseHead(id=fetch.id, status=200, protocol="HTTP/1.1", headers=[], stats=stats)


VIOLATIONS: dict[str, Callable[[Fetch], bytes]] = {
    "no message": lambda fetch: b"\0\0\0\1\0\0\0\0\xc1",
    "too long": lambda fetch: b"\xff\xff\xff\xff\0\0\0\0",
    "of the crawler": lambda fetch: encode_frame(Cancel(fetch.id)),
    "ready twice": lambda fetch: encode_frame(Ready(curl="", max_descriptors=1)),
    "of an unknown request": lambda fetch: encode_frame(Cancelled(fetch.id + 1000)),
    "two outcomes": lambda fetch: 2 * encode_frame(completed(fetch)),
    "an outcome without a head": lambda fetch: encode_frame(completed(fetch, head=None)),
    "a chunk ahead of the head": lambda fetch: encode_frame(Chunk(fetch.id)),
    "a head that nobody asked for": lambda fetch: encode_frame(head(fetch, TransferStats())),
    "cancelled by nobody": lambda fetch: encode_frame(Cancelled(fetch.id)),
    "a slice of no memory": lambda fetch: encode_frame(completed(fetch, shared=SharedSlice(0, 1))),
}
VIOLATIONS_OF_STREAMS: dict[str, Callable[[Fetch], bytes]] = {
    "a chunk ahead of the head": lambda fetch: encode_frame(Chunk(fetch.id)),
    "two heads": lambda fetch: 2 * encode_frame(head(fetch, TransferStats())),
    "a head without figures": lambda fetch: encode_frame(head(fetch)),
    "the head at the end": lambda fetch: encode_frame(completed(fetch)),
    "no head": lambda fetch: encode_frame(completed(fetch, head=None)),
}


@pytest.mark.parametrize(
    ("stream", "violation"),
    [
        *((False, violation) for violation in VIOLATIONS),
        *((True, violation) for violation in VIOLATIONS_OF_STREAMS),
    ],
)
@in_virtual_time
async def test_a_worker_that_breaks_the_protocol_is_killed_and_nobody_else(
    stream: bool, violation: str
) -> None:
    async with FakePool(workers=2) as fake:
        fetchings = [fake.fetch(stream=stream) for _ in range(4)]
        await settle()
        liar, honest = fake.workers
        fetch = next(iter(liar.fetches.values()))
        lies = VIOLATIONS_OF_STREAMS if stream else VIOLATIONS
        liar.socket.send(lies[violation](fetch))
        await settle()
        assert liar.exit_status == -signal.SIGKILL
        assert honest.exit_status is None
        assert fake.events.counts["worker_crashed"] == 1
        # The first of two outcomes was honest.
        honestly = 1 if violation == "two outcomes" else 0
        assert fake.events.counts["requests_lost"] == 2 - honestly
        assert not lost_with(fetchings[2]).hung
        assert [fetching.is_done for fetching in fetchings] == [True, False, True, False]
        assert fake.pool.workers_alive == 2


@in_virtual_time
async def test_a_worker_whose_message_does_not_fit_into_memory_is_replaced(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Full:
        def read(self, shared: SharedSlice) -> bytes:
            raise MemoryError

        def close(self) -> None: ...

    async with FakePool() as fake:
        fake.fleet.memory = cast("SharedMemoryReader", Full())
        fake.workers[0].exit(1)
        await settle()
        (worker,) = fake.workers
        fetchings = [fake.fetch(), fake.fetch()]
        await settle()
        worker.send(completed(worker.fetches[1], shared=SharedSlice(0, 200_000)))
        worker.complete(worker.fetches[2])
        await settle()
        assert [lost_with(fetching).hung for fetching in fetchings] == [False, False]
        assert worker.exit_status == -signal.SIGKILL
        assert "sent what cannot be handled. It is killed" in caplog.text


# Replacement


async def replaced(fake: FakePool) -> tuple[FakeWorker, FakeWorker]:
    """Wait until a worker's successor has been started; return both."""
    await settle()
    old, *_, new = fake.workers
    assert old is not new
    return old, new


@in_virtual_time
async def test_a_worker_that_has_served_enough_is_replaced_without_losing_a_request() -> None:
    async with FakePool(max_requests=3) as fake:
        fake.fleet.comes_up = False
        fetchings = [fake.fetch(f"/{n}", origin=f"https://{n}.example") for n in range(5)]
        await settle()
        (old,) = fake.workers
        old.complete(old.fetches[1])
        old, new = await replaced(fake)
        assert fake.events.counts["worker_replaced"] == 1
        # Until the new one is up, the old one gets more.
        late = fake.fetch("/late")
        await settle()
        assert late.state.name == "SENT"
        new.come_up()
        await settle()
        assert fake.pool.workers_alive == 1
        after = fake.fetch("/after")
        await settle()
        assert new.urls == ["https://origin.example/after"]
        assert old.exit_status is None
        old.complete_all()
        await settle()
        assert old.exit_status == 0
        new.complete_all()
        await settle()
        assert all(isinstance(f.result.outcome, Completed) for f in [*fetchings, late, after])
        assert {f.result.slot for f in [*fetchings, late, after]} == {0}
        assert fake.events.counts["worker_crashed"] == 0
        assert fake.events.counts["worker_replaced"] == 1


@pytest.mark.parametrize(
    "heartbeat",
    [
        Heartbeat(memory_mb=101),
        Heartbeat(descriptors=5000),
        Heartbeat(resolver_changed=True),
    ],
    ids=["memory", "descriptors", "resolver"],
)
@in_virtual_time
async def test_a_worker_is_replaced_for_what_its_heartbeat_says(heartbeat: Heartbeat) -> None:
    async with FakePool(most=1, max_memory_mb=100) as fake:
        (worker,) = fake.workers
        worker.send(Heartbeat(memory_mb=100, descriptors=4100))
        await settle()
        assert fake.events.counts["worker_replaced"] == 0
        worker.send(heartbeat)
        await settle()
        assert fake.events.counts["worker_replaced"] == 1
        assert worker.exit_status == 0
        assert fake.pool.workers_alive == 1


@in_virtual_time
async def test_a_worker_without_descriptors_gets_nothing_more_at_once() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        fails, stays = fake.fetch(), fake.fetch(origin=OTHER)
        await settle()
        (old,) = fake.workers
        old.fail(old.fetches[1], FailureKind.LOCAL, "Too many open files")
        old, new = await replaced(fake)
        assert fails.is_done
        waits = fake.fetch()
        await settle()
        assert waits.state.name == "WAITING_FOR_WORKER"
        assert stays.state.name == "SENT"
        new.come_up()
        await settle()
        assert waits.state.name == "SENT"
        old.complete_all()
        await settle()
        assert old.exit_status == 0
        assert isinstance(stays.result.outcome, Completed)
        assert fake.events.counts["worker_replaced"] == 1


@in_virtual_time
async def test_one_worker_is_replaced_at_a_time() -> None:
    async with FakePool(workers=2) as fake:
        fake.fleet.comes_up = False
        for worker in fake.workers:
            worker.send(Heartbeat(resolver_changed=True))
        await settle()
        assert fake.events.counts["worker_replaced"] == 1
        assert len(fake.workers) == 3
        fake.fleet.comes_up = True
        fake.workers[2].come_up()
        await settle()
        fake.workers[0].send(Heartbeat(resolver_changed=True))
        await settle()
        assert fake.events.counts["worker_replaced"] == 2
        assert len(fake.workers) == 2


@in_virtual_time
async def test_where_a_successor_does_not_come_up_the_old_worker_stays() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        (old,) = fake.workers
        old.send(Heartbeat(resolver_changed=True))
        old, new = await replaced(fake)
        new.exit(1)
        await passed(30.0)
        assert fake.workers == [old]
        fetching = fake.fetch()
        await settle()
        assert fetching.state.name == "SENT"
        # The next heartbeat that asks for it begins again.
        fake.fleet.comes_up = True
        old.send(Heartbeat(resolver_changed=True))
        await settle()
        assert fake.events.counts["worker_replaced"] == 2
        assert len(fake.workers) == 2
        old.complete_all()
        await settle()
        assert old.exit_status == 0


@in_virtual_time
async def test_a_worker_that_dies_while_it_is_replaced_has_one_successor() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        fetching = fake.fetch()
        await settle()
        fake.workers[0].send(Heartbeat(resolver_changed=True))
        old, new = await replaced(fake)
        old.exit(1)
        await settle()
        assert lost_with(fetching).slot == 0
        new.come_up()
        await passed(30.0)
        assert fake.workers == [new]
        assert fake.events.counts["worker_started"] == 2


@in_virtual_time
async def test_a_draining_worker_that_hangs_is_killed() -> None:
    async with FakePool(hang_timeout_seconds=5.0) as fake:
        fetching = fake.fetch()
        await settle()
        (old,) = fake.workers
        old.send(Heartbeat(resolver_changed=True))
        await settle()
        old.is_stuck = True
        await passed(7.0)
        assert old.exit_status == -signal.SIGKILL
        assert lost_with(fetching).hung
        assert fake.pool.workers_alive == 1
        assert fake.events.counts["worker_started"] == 2


# Starts that fail


@in_virtual_time
async def test_starts_that_fail_wait_longer_and_longer() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        fake.pool.start()
        starts = []
        for _ in range(7):
            while not fake.workers:
                await passed(0.01)
            starts.append(fake.loop.time())
            fake.workers[0].exit(1)
            await settle()
        waits = [round(b - a, 1) for a, b in pairwise(starts)]
        assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
        assert fake.exhausted == []
        fake.fleet.comes_up = True
        await passed(10.0)
        assert fake.pool.workers_alive == 1


@in_virtual_time
async def test_when_no_worker_comes_up_all_that_wait_fail() -> None:
    async with FakePool(most=1) as fake:
        held, at_origin = fake.fetch("/1"), fake.fetch("/2")
        await settle()
        fake.fleet.comes_up = False
        fake.workers[0].exit(1)
        quarantined = fake.fetch("/3", in_quarantine=True)
        for_worker = [fake.fetch(f"/{n}") for n in range(4, 7)]
        await settle()
        assert lost_with(held).exit_status == 1
        waiting = [at_origin, quarantined, *for_worker]
        assert not any(fetching.is_done for fetching in waiting)
        while not fake.exhausted:
            for worker in fake.workers:
                worker.exit(3)
            await passed(0.05)
        for fetching in waiting:
            assert isinstance(fetching.error, WorkersExhaustedError)
            assert str(fetching.error) == "a new worker ended with exit status 3"
            assert fetching.state.name == "DONE"
        assert fake.pool.exhausted == fake.exhausted[0]
        late = fake.fetch()
        await settle()
        assert isinstance(late.error, WorkersExhaustedError)
        assert late.state.name == "DONE"
        assert late.listener.times_sent == 0
        assert fake.exhausted == ["a new worker ended with exit status 3"]


@in_virtual_time
async def test_those_that_wait_for_an_origin_fail_with_the_others() -> None:
    """No worker is up, but one that drains has what they wait for."""
    async with FakePool(most=1) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        assert states(fetchings) == ["SENT", "WAITING_FOR_ORIGIN", "WAITING_FOR_ORIGIN"]
        fake.fleet.refuses = OSError("no process is left")
        other = fake.fetch(origin=OTHER)
        await settle()
        (old,) = fake.workers
        old.fail(old.fetches[2], FailureKind.LOCAL)
        await passed(60.0)
        assert other.is_done
        assert fake.exhausted == ["cannot start a worker: no process is left"]
        assert [type(fetching.error) for fetching in fetchings[1:]] == [WorkersExhaustedError] * 2
        # What is in flight goes on.
        old.complete_all()
        await settle()
        assert isinstance(fetchings[0].result.outcome, Completed)


@in_virtual_time
async def test_a_worker_that_cannot_use_a_profile_is_of_no_use() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        fake.pool.start()
        fetching = fake.fetch()
        await settle()
        fake.workers[0].come_up(problem="CURL_SAFE_IMPERSONATE is 'netscape4': no such target")
        await settle()
        assert fake.exhausted == ["CURL_SAFE_IMPERSONATE is 'netscape4': no such target"]
        assert isinstance(fetching.error, WorkersExhaustedError)
        assert str(fetching.error) == fake.exhausted[0]


@in_virtual_time
async def test_no_pool_is_exhausted_that_has_a_worker() -> None:
    async with FakePool(workers=2) as fake:
        fake.fleet.comes_up = False
        fake.workers[1].exit(1)
        for _ in range(300):
            await passed(0.5)
            for worker in fake.workers[1:]:
                worker.exit(1)
        assert fake.exhausted == []
        fetching = fake.fetch()
        await settle()
        assert fetching.state.name == "SENT"
        assert 10 < fake.events.counts["worker_started"] < 30


@in_virtual_time
async def test_the_first_worker_is_started_ahead_of_the_crawl() -> None:
    async with FakePool(workers=2, starts=False) as fake:
        await settle()
        (prewarmed,) = fake.workers
        assert prewarmed.hello is None
        fake.pool.start()
        await settle()
        assert len(fake.workers) == 2
        assert prewarmed.hello is not None
        assert fake.events.counts["worker_started"] == 2


@in_virtual_time
async def test_one_that_waited_for_too_long_is_started_anew() -> None:
    async with FakePool(starts=False) as fake:
        fake.workers[0].exit(0)
        fake.pool.start()
        await settle()
        assert fake.pool.workers_alive == 1
        assert fake.events.counts["worker_started"] == 1


@in_virtual_time
async def test_one_that_stops_waiting_as_it_is_wanted_is_no_crash() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        fake.pool.start()
        await settle()
        fake.fleet.comes_up = True
        fake.workers[0].exit(0)
        await settle()
        assert fake.pool.workers_alive == 1
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_one_that_died_meanwhile_is_seen_as_dead() -> None:
    async with FakePool(starts=False) as fake:
        fake.workers[0].exit(1)
        fake.pool.start()
        await settle()
        assert fake.events.counts["worker_crashed"] == 1
        await passed(0.2)
        assert fake.pool.workers_alive == 1


@in_virtual_time
async def test_where_none_can_be_started_ahead_the_start_tries_again() -> None:
    fake = FakePool(starts=False)
    fake.fleet.refuses = OSError("no process is left")
    async with fake:
        assert fake.workers == []
        fake.fleet.refuses = None
        fake.pool.start()
        await settle()
        assert fake.pool.workers_alive == 1


# Closing. That nothing is left is what `FakePool` sees to.


@in_virtual_time
async def test_closed_before_it_started() -> None:
    async with FakePool(starts=False) as fake:
        (prewarmed,) = fake.workers
        await fake.pool.close()
        assert prewarmed.exit_status == -signal.SIGKILL
        assert prewarmed.hello is None


@in_virtual_time
async def test_a_request_that_comes_after_the_end_starts_no_worker() -> None:
    async with FakePool(starts=False) as fake:
        await fake.pool.close()
        fake.fetch()
        await passed(60.0)
        assert fake.workers == []
        assert fake.events.counts["worker_started"] == 0


@in_virtual_time
async def test_closed_while_its_workers_start() -> None:
    async with FakePool(workers=3, starts=False, comes_up=False) as fake:
        fake.pool.start()
        await settle()
        await fake.pool.close()
        assert [worker.exit_status for worker in fake.fleet.started] == [0, 0, 0]


@in_virtual_time
async def test_closed_while_a_restart_is_due() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        fake.pool.start()
        for _ in range(4):
            await passed(0.5)
            for worker in fake.workers:
                worker.exit(1)
        await settle()
        started = len(fake.fleet.started)
        await fake.pool.close()
        await passed(60.0)
        assert len(fake.fleet.started) == started


@in_virtual_time
async def test_closed_with_requests_everywhere() -> None:
    async with FakePool(most=1) as fake:
        fake.fleet.comes_up = False
        fetchings = [fake.fetch(), fake.fetch(), fake.fetch(in_quarantine=True)]
        await settle()
        assert states(fetchings) == ["SENT", "WAITING_FOR_ORIGIN", "QUARANTINED"]
        await fake.pool.close()
        assert fake.workers == []
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_closed_while_an_origin_is_waited_for_by_a_timer() -> None:
    async with FakePool(most=2, floor=2) as fake:
        (worker,) = fake.workers
        fetchings = [fake.fetch() for _ in range(3)]
        await settle()
        worker.fail(worker.fetches[2])
        await settle()
        assert states(fetchings) == ["SENT", "DONE", "WAITING_FOR_ORIGIN"]
        await fake.pool.close()
        await passed(2.0)
        assert states(fetchings) == ["SENT", "DONE", "DONE"]
        assert isinstance(fetchings[2].error, WorkersExhaustedError)
        assert fetchings[2].listener.times_sent == 0


@in_virtual_time
async def test_closed_while_a_worker_is_replaced() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch()
        await settle()
        fake.workers[0].send(Heartbeat(resolver_changed=True))
        await settle()
        assert len(fake.workers) == 2
        assert fetching.state.name == "SENT"
        await fake.pool.close()
        assert [worker.exit_status for worker in fake.fleet.started] == [0, 0]


@in_virtual_time
async def test_closed_with_a_worker_that_does_not_exit() -> None:
    async with FakePool(workers=2) as fake:
        stuck, healthy = fake.workers
        stuck.is_stuck = True
        before = fake.loop.time()
        await fake.pool.close()
        assert healthy.exit_status == 0
        assert stuck.exit_status == -signal.SIGKILL
        assert 2.0 <= fake.loop.time() - before < 2.1


@in_virtual_time
async def test_closed_while_a_dead_worker_has_not_exited_yet() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch()
        await settle()
        (worker,) = fake.workers
        worker.is_stuck = True
        worker.close_socket()
        await settle()
        assert worker.exit_status is None
        await fake.pool.close()
        assert worker.exit_status == -signal.SIGKILL
        assert not fetching.is_done


@in_virtual_time
async def test_closed_after_it_was_exhausted() -> None:
    async with FakePool(starts=False) as fake:
        fake.workers[0].exit(0)
        fake.fleet.refuses = OSError("no process is left")
        fake.pool.start()
        await passed(60.0)
        assert len(fake.exhausted) == 1
        await fake.pool.close()

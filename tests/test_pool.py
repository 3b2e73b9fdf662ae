"""The way of a request through the pool, with fake workers and in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import MAX_HEADER_BYTES, encode_frame
from scrapy_curl_safe._ipc.messages import (
    Chunk,
    Completed,
    Failed,
    Ready,
    ResponseHead,
    SizeWarning,
    TooLarge,
    TransferStats,
)
from scrapy_curl_safe._pool.errors import (
    FetchTimeoutError,
    OriginRejectedError,
    UnsendableRequestError,
    WorkerLostError,
    WorkersExhaustedError,
)
from scrapy_curl_safe._pool.request import RequestState
from tests.fake_worker import FakePool, Fetching, in_virtual_time, passed, settle

NEW = RequestState.NEW
WAITING_FOR_WORKER = RequestState.WAITING_FOR_WORKER
WAITING_FOR_ORIGIN = RequestState.WAITING_FOR_ORIGIN
QUARANTINED = RequestState.QUARANTINED
SENT = RequestState.SENT
CANCELLING = RequestState.CANCELLING
DONE = RequestState.DONE

OTHER = "https://other.example"


def states(fetchings: list[Fetching]) -> list[RequestState]:
    return [fetching.state for fetching in fetchings]


# Sending


@in_virtual_time
async def test_requests_that_cannot_be_sent_fail_alone() -> None:
    """One that a worker that comes up would be the first to get, and one that its listener ends."""

    class Failing:
        def on_sent(self) -> None:
            raise LookupError("no listener")

        def on_message(self, *_: object) -> bool:
            return True

    async with FakePool(starts=False) as fake:
        unencodable = fake.fetch("/", maxsize_bytes=2**70)
        failing = fake.fetch()
        failing.request.listener = Failing()
        others = [fake.fetch(), fake.fetch()]
        await settle()
        assert isinstance(unencodable.error, UnsendableRequestError)
        assert "cannot be encoded" in str(unencodable.error)
        assert isinstance(failing.error, LookupError)
        (worker,) = fake.workers
        worker.complete_all()
        await settle()
        assert [other.error for other in others] == [None, None]
        assert worker.exit_status is None
        assert fake.origin().limit.in_use == 0


@in_virtual_time
async def test_a_request_goes_to_a_worker_and_its_outcome_comes_back() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch("/a", body=b"form", method="POST")
        await settle()
        (worker,) = fake.workers
        fetch = worker.only_fetch()
        assert (fetch.url, fetch.method) == ("https://origin.example/a", "POST")
        assert worker.bodies[fetch.id] == b"form"
        assert fetching.state is SENT
        assert fetching.listener.times_sent == 1
        assert fake.pool.in_flight == 1
        worker.complete(fetch, b"page")
        await settle()
        assert isinstance(fetching.result.outcome, Completed)
        assert (fetching.result.body, fetching.result.slot) == (b"page", 0)
        assert fetching.state is DONE
        assert fake.pool.in_flight == 0
        assert fake.events.most_in_flight == 1


@in_virtual_time
async def test_outcomes_come_in_any_order() -> None:
    async with FakePool() as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        (worker,) = fake.workers
        assert len(set(worker.fetches)) == 3
        for fetch in reversed(worker.fetches.copy().values()):
            worker.complete(fetch, fetch.url.encode())
        await settle()
        bodies = [fetching.result.body for fetching in fetchings]
        assert bodies == [b"https://origin.example/%d" % n for n in range(3)]


@in_virtual_time
async def test_the_listener_hears_what_comes_ahead_of_the_outcome() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch(stream=True, warnsize_bytes=1)
        await settle()
        (worker,) = fake.workers
        fetch = worker.only_fetch()
        head = ResponseHead(
            id=fetch.id, status=200, protocol="HTTP/2", headers=[], stats=TransferStats()
        )
        warning = SizeWarning(id=fetch.id, size=2, limit=1, expected=False)
        worker.send(head, warning)
        worker.send(Chunk(fetch.id), body=b"a")
        worker.complete(fetch, head=None)
        await settle()
        assert fetching.listener.messages == [(head, b""), (warning, b""), (Chunk(1), b"a")]
        assert isinstance(fetching.result.outcome, Completed)
        assert worker.cancels == []


async def streamed(fake: FakePool, fetching: Fetching) -> None:
    """Answer a request with a head alone."""
    await settle()
    (worker,) = fake.workers
    worker.send(
        ResponseHead(
            id=worker.only_fetch().id,
            status=200,
            protocol="HTTP/2",
            headers=[],
            stats=TransferStats(),
        )
    )
    await settle()


@in_virtual_time
async def test_a_listener_ends_a_download() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch("/", False, stream=True)
        await streamed(fake, fetching)
        (worker,) = fake.workers
        assert fetching.result == (None, b"", 0)
        assert worker.cancels == [1]
        assert fetching.state is CANCELLING
        worker.end_cancelled()
        await settle()
        assert fetching.state is DONE


@in_virtual_time
async def test_a_listener_that_fails_fails_its_download_alone() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch("/", RuntimeError("a bug"), stream=True)
        await streamed(fake, fetching)
        (worker,) = fake.workers
        assert str(fetching.error) == "a bug"
        assert worker.cancels == [1]
        worker.send(Chunk(1), body=b"more")  # on its way already
        worker.end_cancelled()
        other = fake.fetch()
        await settle()
        worker.complete_all()
        await settle()
        assert isinstance(other.result.outcome, Completed)
        assert len(fetching.listener.messages) == 1


@in_virtual_time
async def test_a_request_that_fits_no_frame_fails_and_leaves_no_trace() -> None:
    async with FakePool(most=1) as fake:
        fetching = fake.fetch("/" + "x" * MAX_HEADER_BYTES)
        waiting = fake.fetch()
        await settle()
        (worker,) = fake.workers
        assert isinstance(fetching.error, UnsendableRequestError)
        assert "is too large" in str(fetching.error)
        assert fetching.state is DONE
        assert waiting.state is SENT
        assert worker.urls == ["https://origin.example/"]
        assert fake.origin().limit.in_use == 1


@in_virtual_time
async def test_a_download_that_is_late_is_given_up_and_cancelled() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch(timeout_seconds=5.0)
        no_bound = fake.fetch()
        await passed(14.9)
        assert not fetching.is_done
        await passed(1.2)
        (worker,) = fake.workers
        assert isinstance(fetching.error, FetchTimeoutError)
        assert str(fetching.error) == (
            "Worker 0 did not end the download of https://origin.example/ within its 5 seconds"
        )
        assert worker.cancels == [fetching.request.fetch.id]
        worker.end_cancelled()
        await passed(60.0)
        assert not no_bound.is_done
        assert fake.events.counts["worker_crashed"] == 0


# Waiting for a worker


@in_virtual_time
async def test_requests_wait_until_a_worker_is_ready() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        early = fake.fetch("/0")
        await settle()
        assert early.state is WAITING_FOR_WORKER
        fake.pool.start()
        late = fake.fetch("/1")
        await settle()
        assert states([early, late]) == [WAITING_FOR_WORKER] * 2
        assert early.listener.times_sent == 0
        (worker,) = fake.workers
        worker.come_up()
        await settle()
        assert states([early, late]) == [SENT] * 2
        assert worker.urls == ["https://origin.example/0", "https://origin.example/1"]


@in_virtual_time
async def test_requests_are_held_until_all_of_the_first_workers_are_up() -> None:
    async with FakePool(workers=3, starts=False, comes_up=False) as fake:
        fake.pool.start()
        fetchings = [fake.fetch(f"/{n}") for n in range(9)]
        await settle()
        first, second, third = fake.workers
        first.come_up()
        await settle()
        assert states(fetchings) == [SENT] + [WAITING_FOR_WORKER] * 8
        second.come_up()
        await settle()
        assert states(fetchings) == [SENT] * 2 + [WAITING_FOR_WORKER] * 7
        third.come_up()
        await settle()
        assert states(fetchings) == [SENT] * 9
        assert [len(worker.fetches) for worker in fake.workers] == [3, 3, 3]


@in_virtual_time
async def test_a_free_worker_gets_the_next_request_while_others_start() -> None:
    async with FakePool(workers=2, starts=False, comes_up=False) as fake:
        fake.pool.start()
        await settle()
        first, _ = fake.workers
        first.come_up()
        fetchings = [fake.fetch(f"/{n}") for n in range(2)]
        await settle()
        assert states(fetchings) == [SENT, WAITING_FOR_WORKER]
        first.complete_all()
        await settle()
        assert states(fetchings) == [DONE, SENT]


@in_virtual_time
async def test_requests_are_not_held_for_a_worker_that_died_as_it_started() -> None:
    async with FakePool(workers=2, starts=False, comes_up=False) as fake:
        fake.pool.start()
        await settle()
        first, second = fake.workers
        first.come_up()
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        assert states(fetchings) == [SENT] + [WAITING_FOR_WORKER] * 2
        second.exit(1)
        await settle()
        assert states(fetchings) == [SENT] * 3


@in_virtual_time
async def test_nor_for_one_whose_process_could_not_be_started() -> None:
    async with FakePool(workers=2, starts=False) as fake:  # the first one is prewarmed
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        fake.fleet.refuses = OSError("no descriptor is left")
        fake.pool.start()
        await settle()
        assert states(fetchings) == [SENT] * 3


@in_virtual_time
async def test_the_least_busy_worker_gets_a_request() -> None:
    async with FakePool(workers=3) as fake:
        for n in range(7):
            fake.fetch(f"/{n}")
            await settle()
        assert sorted(len(worker.fetches) for worker in fake.workers) == [2, 2, 3]


@in_virtual_time
async def test_a_worker_with_an_idle_connection_is_preferred() -> None:
    async with FakePool(workers=2) as fake:
        for origin in ("https://a.example", "https://b.example"):
            fake.fetch(origin=origin)
        await settle()
        first, second = fake.workers
        assert (first.urls, second.urls) == (["https://a.example/"], ["https://b.example/"])
        first.complete_all()
        second.complete_all()
        await settle()
        again = [fake.fetch(origin="https://b.example") for _ in range(2)]
        await settle()
        # It has one such connection. The other worker is as good for the second request.
        assert [fetching.request.expects_idle for fetching in again] == [True, False]
        assert len(second.fetches) == 1
        assert len(first.fetches) == 1


@in_virtual_time
async def test_a_retry_goes_to_another_worker() -> None:
    async with FakePool(workers=2) as fake:
        for slot in (0, 1):
            fake.fetch(avoid=slot)
        await settle()
        assert [len(worker.fetches) for worker in fake.workers] == [1, 1]
        fetchings = [fake.fetch(avoid=0) for _ in range(5)]
        await settle()
        first, second = fake.workers
        assert len(second.fetches) == 6
        assert len(first.fetches) == 1
        assert states(fetchings) == [SENT] * 5


@in_virtual_time
async def test_where_each_connection_is_closed_requests_ask_for_their_own() -> None:
    async with FakePool() as fake:
        (worker,) = fake.workers
        asked = []
        for _ in range(60):
            fake.fetch()
            await settle()
            asked.append(worker.only_fetch().fresh_connection)
            worker.complete_all()  # each on a new connection
            await settle()
        assert not any(asked[:2])
        assert sum(asked[20:]) > 30


# Cancelling


@in_virtual_time
async def test_cancelled_while_it_waits_for_a_worker() -> None:
    async with FakePool(starts=False) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await asyncio.sleep(0)  # sent to the pool, whose worker is not up yet
        assert states(fetchings) == [WAITING_FOR_WORKER] * 3
        fetchings[1].task.cancel()
        await settle()
        assert fake.pool.in_flight == 2
        (worker,) = fake.workers
        assert worker.urls == ["https://origin.example/0", "https://origin.example/2"]
        assert fetchings[1].listener.times_sent == 0


@in_virtual_time
async def test_cancelled_while_it_waits_for_its_origin() -> None:
    async with FakePool(most=1) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        assert states(fetchings) == [SENT] + [WAITING_FOR_ORIGIN] * 2
        fetchings[1].task.cancel()
        await settle()
        assert "<OriginLimiter 1 queued for 1 origins>" in repr(fake.pool)
        (worker,) = fake.workers
        worker.fail_all(FailureKind.OTHER)
        await settle()
        assert worker.urls == ["https://origin.example/2"]
        assert fetchings[1].listener.times_sent == 0


@in_virtual_time
async def test_cancelled_while_it_waits_for_a_worker_of_its_own() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        fetching = fake.fetch(in_quarantine=True)
        await settle()
        assert fetching.state is QUARANTINED
        fetching.task.cancel()
        await settle()
        _, alone = fake.workers
        alone.come_up()
        await settle()
        assert alone.fetches == {}
        # It was started for nobody else.
        assert alone.exit_status == 0
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_cancelled_after_it_was_sent() -> None:
    async with FakePool(most=1) as fake:
        fetching = fake.fetch()
        waiting = fake.fetch()
        await settle()
        (worker,) = fake.workers
        fetching.task.cancel()
        await settle()
        assert fetching.task.cancelled()
        assert fetching.state is CANCELLING
        assert worker.cancels == [1]
        assert fake.pool.in_flight == 1
        # The worker still has it, and so has its origin.
        assert waiting.state is WAITING_FOR_ORIGIN
        worker.end_cancelled()
        await settle()
        assert fetching.state is DONE
        assert waiting.state is SENT


@in_virtual_time
async def test_cancelled_when_its_outcome_is_on_the_way() -> None:
    async with FakePool() as fake:
        fetching = fake.fetch()
        await settle()
        (worker,) = fake.workers
        worker.complete_all()
        fetching.task.cancel()
        await settle()
        assert fetching.task.cancelled()
        assert fetching.state is DONE
        other = fake.fetch()
        await settle()
        assert other.request.expects_idle  # what it left behind
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_cancelled_and_then_its_worker_dies() -> None:
    async with FakePool() as fake:
        cancelled, other = fake.fetch(), fake.fetch()
        await settle()
        (worker,) = fake.workers
        cancelled.task.cancel()
        await settle()
        worker.exit(-11)
        await settle()
        assert cancelled.state is DONE
        assert isinstance(other.error, WorkerLostError)
        assert fake.events.counts["requests_lost"] == 1


@in_virtual_time
async def test_cancelled_in_the_very_turn_in_which_its_worker_is_up() -> None:
    async with FakePool(starts=False, comes_up=False) as fake:
        fake.pool.start()
        cancelled, other = fake.fetch("/0"), fake.fetch("/1")
        await settle()
        (worker,) = fake.workers
        worker.socket.send(encode_frame(Ready(curl="", max_descriptors=1000)))
        # Runs in the turn in which the pool reads that.
        fake.loop.call_soon(cancelled.task.cancel)
        await settle()
        assert cancelled.task.cancelled()
        assert worker.urls == ["https://origin.example/1"]
        assert other.state is SENT
        assert worker.cancels == []


@in_virtual_time
async def test_cancelled_in_the_very_turn_in_which_its_origin_has_a_place() -> None:
    async with FakePool(most=1) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await settle()
        (worker,) = fake.workers
        stats = TransferStats(connects=1)
        failed = Failed(id=1, stats=stats, kind=FailureKind.OTHER, code=92, detail="")
        worker.socket.send(encode_frame(failed))
        fake.loop.call_soon(fetchings[1].task.cancel)
        await settle()
        assert fetchings[1].task.cancelled()
        assert fetchings[1].listener.times_sent == 0
        assert fetchings[2].state is SENT


@in_virtual_time
async def test_a_cancelled_download_that_does_not_end_is_the_end_of_its_worker() -> None:
    async with FakePool(workers=2) as fake:
        cancelled, other = fake.fetch(), fake.fetch(origin=OTHER)
        await settle()
        deaf, healthy = fake.workers
        cancelled.task.cancel()
        await passed(9.0)
        assert deaf.exit_status is None
        await passed(3.0)
        assert deaf.exit_status == -9
        assert fake.events.counts["worker_crashed"] == 1
        assert fake.events.counts["requests_lost"] == 0
        healthy.complete_all()
        await settle()
        assert isinstance(other.result.outcome, Completed)


# Quarantine


@in_virtual_time
async def test_a_quarantined_request_has_a_worker_to_itself() -> None:
    async with FakePool() as fake:
        fake.fleet.comes_up = False
        fetching = fake.fetch("/alone", in_quarantine=True)
        await settle()
        assert fetching.state is QUARANTINED
        _, alone = fake.workers
        alone.come_up()
        await settle()
        assert fetching.state is SENT
        assert alone.urls == ["https://origin.example/alone"]
        fake.fetch("/other")
        await settle()
        assert len(alone.fetches) == 1
        assert fake.pool.workers_alive == 1
        alone.complete_all()
        await settle()
        assert fetching.result.slot == 1
        assert alone.exit_status == 0
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_quarantined_requests_take_turns_in_two_workers() -> None:
    async with FakePool() as fake:
        fetchings = [fake.fetch(f"/{n}", in_quarantine=True) for n in range(5)]
        await settle()
        assert states(fetchings) == [SENT] * 2 + [QUARANTINED] * 3
        served: list[int] = []
        while not all(fetching.is_done for fetching in fetchings):
            alone = [worker for worker in fake.workers if worker.fetches]
            assert all(len(worker.fetches) == 1 for worker in alone)
            assert 1 <= len(alone) <= 2
            alone[0].complete_all()
            await settle()
            served.append(sum(fetching.is_done for fetching in fetchings))
        assert served == [1, 2, 3, 4, 5]
        assert len(fake.fleet.started) == 3
        assert len(fake.workers) == 1


@in_virtual_time
async def test_no_more_workers_are_started_than_requests_wait_in_quarantine() -> None:
    async with FakePool(workers=2) as fake:
        fake.fleet.comes_up = False
        fetching = fake.fetch(in_quarantine=True)
        await settle()
        assert len(fake.workers) == 3
        # Quarantined requests are dispatched again, and one worker starts for this one already.
        fake.workers[0].exit(1)
        await settle()
        assert fetching.state is QUARANTINED
        assert len(fake.workers) == 3


@in_virtual_time
async def test_a_request_that_ends_a_worker_of_its_own_was_alone() -> None:
    async with FakePool() as fake:
        fetchings = {
            f"https://origin.example/{n}": fake.fetch(f"/{n}", in_quarantine=True) for n in range(4)
        }
        await settle()
        assert states([*fetchings.values()]) == [SENT, SENT, QUARANTINED, QUARANTINED]
        _, dying, healthy = fake.workers
        ((dying_url,), (healthy_url,)) = dying.urls, healthy.urls
        dying.exit(-11)
        await passed(0.1)
        error = fetchings.pop(dying_url).error
        assert isinstance(error, WorkerLostError)
        assert error.was_alone
        # One of those that waited gets another worker.
        assert states([*fetchings.values()]) == [SENT, SENT, QUARANTINED]
        healthy.complete_all()
        await settle()
        assert fetchings.pop(healthy_url).is_done
        assert states([*fetchings.values()]) == [SENT, SENT]


@in_virtual_time
async def test_a_released_worker_that_is_slow_to_exit_holds_up_nobody() -> None:
    async with FakePool() as fake:
        for n in range(2):
            fake.fetch(f"/{n}", in_quarantine=True)
        await settle()
        _, first, second = fake.workers
        for worker in (first, second):
            worker.is_stuck = True
            worker.complete_all()
        await settle()
        late = fake.fetch("/late", in_quarantine=True)
        await settle()
        assert late.state is SENT
        assert first.exit_status is second.exit_status is None
        await passed(2.1)
        assert first.exit_status == second.exit_status == -9
        assert fake.events.counts["worker_crashed"] == 0


@in_virtual_time
async def test_a_quarantined_request_waits_for_no_permit() -> None:
    async with FakePool(most=1) as fake:
        held = fake.fetch("/held")
        await settle()
        fetching = fake.fetch("/alone", in_quarantine=True)
        await settle()
        assert states([held, fetching]) == [SENT, SENT]
        assert fake.origin().limit.in_use == 1


# Waiting for the origin


@in_virtual_time
async def test_so_many_new_connections_to_an_origin_at_once() -> None:
    async with FakePool(most=2) as fake:
        fetchings = [fake.fetch(f"/{n}") for n in range(5)]
        elsewhere = fake.fetch(origin=OTHER)
        await settle()
        assert states(fetchings) == [SENT] * 2 + [WAITING_FOR_ORIGIN] * 3
        assert elsewhere.state is SENT
        (worker,) = fake.workers
        worker.complete(worker.fetches[1])
        await settle()
        # One goes on the connection that the first left behind, and one has its place.
        assert states(fetchings) == [DONE] + [SENT] * 3 + [WAITING_FOR_ORIGIN]
        idle = [fetching.request.expects_idle for fetching in fetchings[2:4]]
        assert idle == [True, False]
        assert fake.origin().limit.in_use == 2
        assert fake.origin().handshakes_done == 1


@in_virtual_time
async def test_idle_connections_are_not_limited() -> None:
    async with FakePool(most=1) as fake:
        (worker,) = fake.workers
        fake.fetch()
        await settle()
        worker.complete_all(protocol="HTTP/2")
        await settle()
        first = fake.fetch()
        await settle()
        worker.complete_all(is_reused=True, protocol="HTTP/2")
        await settle()
        fetchings = [fake.fetch() for _ in range(3)]
        await settle()
        assert first.is_done
        # The connection takes two by now, as far as is known. The third makes a new one.
        assert states(fetchings) == [SENT] * 3
        assert [fetching.request.expects_idle for fetching in fetchings] == [True, True, False]
        assert fake.origin().limit.in_use == 1


@in_virtual_time
async def test_an_origin_without_tls_is_not_limited() -> None:
    async with FakePool(most=1) as fake:
        fetchings = [fake.fetch(origin="http://plain.example") for _ in range(5)]
        await settle()
        assert states(fetchings) == [SENT] * 5
        (worker,) = fake.workers
        worker.complete_all()
        await settle()
        assert all(fetching.is_done for fetching in fetchings)


@in_virtual_time
async def test_the_limit_can_be_turned_off_and_failures_are_counted_all_the_same() -> None:
    async with FakePool(most=1, adaptive=False) as fake:
        (worker,) = fake.workers
        fetchings = [fake.fetch() for _ in range(20)]
        await settle()
        assert states(fetchings) == [SENT] * 20
        for number, fetch in enumerate(list(worker.fetches.values())):
            if number:
                worker.fail(fetch)
            else:
                worker.complete(fetch)
        await settle()
        origin = fake.origin()
        assert origin.failures == {FailureKind.SYSCALL: 19}
        assert origin.handshakes_done == 1
        assert not origin.limit.is_lowered
        assert not origin.breaker.is_open
        assert fake.events.counts["limit_decreased"] == 0


@in_virtual_time
async def test_those_that_failed_before_go_first() -> None:
    async with FakePool(workers=2, most=1) as fake:
        fake.fetch("/held")
        await settle()
        for path, avoid in (("/1", None), ("/2", 1), ("/3", None), ("/4", 0)):
            fake.fetch(path, avoid=avoid)
        await settle()
        order = []
        for _ in range(5):
            worker = next(worker for worker in fake.workers if worker.fetches)
            order.append(worker.only_fetch().url.rpartition("/")[2])
            worker.fail_all(FailureKind.OTHER)
            await settle()
        assert order == ["held", "2", "4", "1", "3"]


@in_virtual_time
async def test_the_place_of_a_failed_handshake_stays_empty_for_a_second() -> None:
    async with FakePool(most=2, floor=2) as fake:
        (worker,) = fake.workers
        slow, fails, waits = (fake.fetch(f"/{n}") for n in range(3))
        await settle()
        assert waits.state is WAITING_FOR_ORIGIN
        worker.fail(worker.fetches[2])
        await settle()
        assert fails.is_done
        assert waits.state is WAITING_FOR_ORIGIN
        await passed(0.9)
        assert waits.state is WAITING_FOR_ORIGIN
        await passed(0.2)
        assert waits.state is SENT
        assert slow.state is SENT


@in_virtual_time
async def test_or_until_another_one_succeeds() -> None:
    async with FakePool(most=2, floor=2) as fake:
        (worker,) = fake.workers
        for n in range(4):
            fake.fetch(f"/{n}")
        await settle()
        worker.fail(worker.fetches[2])
        await settle()
        assert len(worker.fetches) == 1
        worker.complete(worker.fetches[1], headers=[(b"Connection", b"close")])
        await settle()
        assert worker.urls == ["https://origin.example/2", "https://origin.example/3"]


@in_virtual_time
async def test_failed_handshakes_lower_the_limit() -> None:
    async with FakePool(most=10) as fake:
        (worker,) = fake.workers
        for _ in range(10):
            fake.fetch()
        await settle()
        worker.fail(worker.fetches[10])
        await settle()
        assert fake.origin().limit.value == 9
        assert fake.events.counts["limit_decreased"] == 1
        assert fake.origin().failures == {FailureKind.SYSCALL: 1}


@pytest.mark.parametrize(
    "kind", [FailureKind.ALERT, FailureKind.PROTOCOL, FailureKind.CERTIFICATE, FailureKind.LOCAL]
)
@in_virtual_time
async def test_failures_that_no_limit_prevents_are_only_counted(kind: FailureKind) -> None:
    async with FakePool(workers=2, most=10) as fake:
        for _ in range(10):
            fake.fetch()
        await settle()
        for worker in fake.workers:
            worker.fail_all(kind)
        await settle()
        assert fake.origin().failures == {kind: 10}
        assert not fake.origin().limit.is_lowered
        assert fake.events.counts["limit_decreased"] == 0


@in_virtual_time
async def test_failures_after_the_handshake_are_no_failures_of_handshakes() -> None:
    async with FakePool(most=10) as fake:
        (worker,) = fake.workers
        fake.fetch()
        await settle()
        worker.fail_all(FailureKind.DATALOSS)
        await settle()
        assert not fake.origin().failures
        assert fake.origin().limit.in_use == 0


@in_virtual_time
async def test_a_response_that_is_too_large_has_had_its_handshake() -> None:
    async with FakePool() as fake:
        (worker,) = fake.workers
        fetching = fake.fetch()
        await settle()
        stats = TransferStats(connects=1, connected_at=0.1, handshake_at=0.2)
        worker.send(TooLarge(id=1, stats=stats, size=10, limit=9, expected=True))
        await settle()
        assert isinstance(fetching.result.outcome, TooLarge)
        assert fake.origin().handshakes_done == 1


# The circuit breaker


async def open_breaker(fake: FakePool, *, answers_first: bool) -> None:
    """Let handshakes fail until the breaker of the origin is open."""
    (worker,) = fake.workers
    if answers_first:
        fake.fetch()
        await settle()
        worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
    for _ in range(10):
        fake.fetch()
        await settle()
        worker.fail_all()
        await passed(0.1)
    assert fake.origin().breaker.is_open


@in_virtual_time
async def test_requests_for_an_origin_that_never_answered_are_rejected() -> None:
    async with FakePool() as fake:
        await open_breaker(fake, answers_first=False)
        assert fake.events.counts["breaker_opened"] == 1
        fetching = fake.fetch()
        await settle()
        (worker,) = fake.workers
        assert worker.fetches == {}
        error = fetching.error
        assert isinstance(error, OriginRejectedError)
        assert fetching.state is DONE
        assert error.last_failure == (FailureKind.SYSCALL, 35, "reset")
        assert 0 < error.open_seconds <= 1
        assert str(error) == f"not tried for {error.open_seconds:.1f} s more: reset"
        assert fake.pool.in_flight == 0
        # Nobody else is.
        other = fake.fetch(origin=OTHER)
        await settle()
        assert other.state is SENT


@in_virtual_time
async def test_one_trial_request_goes_out_and_its_success_lets_all_go() -> None:
    async with FakePool(most=4, floor=2) as fake:
        await open_breaker(fake, answers_first=True)
        fetchings = [fake.fetch(f"/{n}") for n in range(4)]
        await settle()
        assert states(fetchings) == [WAITING_FOR_ORIGIN] * 4
        await passed(1.0)
        assert states(fetchings) == [SENT] + [WAITING_FOR_ORIGIN] * 3
        (worker,) = fake.workers
        worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
        # As many as the lowest limit allows.
        assert states(fetchings) == [DONE, SENT, SENT, WAITING_FOR_ORIGIN]


@in_virtual_time
async def test_a_trial_that_fails_puts_the_next_one_off() -> None:
    async with FakePool() as fake:
        await open_breaker(fake, answers_first=True)
        fetchings = [fake.fetch(f"/{n}") for n in range(2)]
        await passed(1.0)
        (worker,) = fake.workers
        worker.fail_all()
        await settle()
        assert states(fetchings) == [DONE, WAITING_FOR_ORIGIN]
        assert fake.events.counts["breaker_opened"] == 2
        await passed(1.9)
        assert fetchings[1].state is WAITING_FOR_ORIGIN
        await passed(0.2)
        assert fetchings[1].state is SENT


@in_virtual_time
async def test_a_trial_that_is_slow_does_not_hold_up_the_next_one() -> None:
    async with FakePool() as fake:
        await open_breaker(fake, answers_first=True)
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await passed(1.0)
        assert states(fetchings) == [SENT] + [WAITING_FOR_ORIGIN] * 2
        await passed(2.1)
        assert states(fetchings) == [SENT, SENT, WAITING_FOR_ORIGIN]


@in_virtual_time
async def test_a_trial_that_was_cancelled_leaves_the_next_one_to_try() -> None:
    async with FakePool() as fake:
        await open_breaker(fake, answers_first=True)
        fetchings = [fake.fetch(f"/{n}") for n in range(3)]
        await passed(1.0)
        (worker,) = fake.workers
        fetchings[0].task.cancel()
        await settle()
        worker.end_cancelled()
        await settle()
        assert states(fetchings) == [DONE, SENT, WAITING_FOR_ORIGIN]


@in_virtual_time
async def test_the_timer_of_a_breaker_does_not_hold_up_those_that_wait_for_the_limit() -> None:
    async with FakePool(most=2, floor=2) as fake:
        await open_breaker(fake, answers_first=True)
        (worker,) = fake.workers
        for seconds in (1.0, 2.0, 4.0):  # trials that fail
            fake.fetch()
            await passed(seconds)
            worker.fail_all()
            await settle()
        first = fake.fetch("/first")
        alone = fake.fetch("/alone", in_quarantine=True)
        await settle()
        assert states([first, alone]) == [WAITING_FOR_ORIGIN, SENT]
        fake.workers[1].complete_all(headers=[(b"Connection", b"close")])
        await settle()
        assert not fake.origin().breaker.is_open
        fails, waits = fake.fetch("/fails"), fake.fetch("/waits")
        await settle()
        assert states([first, fails, waits]) == [SENT, SENT, WAITING_FOR_ORIGIN]
        worker.fail(next(f for f in worker.fetches.values() if f.url.endswith("/fails")))
        await settle()
        assert waits.state is WAITING_FOR_ORIGIN
        # Before the breaker would have been half-open.
        await passed(1.1)
        assert states([first, waits]) == [SENT, SENT]


@in_virtual_time
async def test_those_that_wait_are_rejected_once_the_origin_may_be_dead() -> None:
    async with FakePool() as fake:
        await open_breaker(fake, answers_first=True)
        (worker,) = fake.workers
        waiting = [fake.fetch(f"/{n}") for n in range(20)]
        for _ in range(8):
            await passed(35.0)
            worker.fail_all()
            await settle()
        errors = [type(fetching.error) for fetching in waiting if fetching.is_done]
        assert len(errors) == 20
        assert OriginRejectedError in errors


@in_virtual_time
async def test_a_request_on_an_idle_connection_does_not_mind_the_breaker() -> None:
    async with FakePool() as fake:
        (worker,) = fake.workers
        fetchings = [fake.fetch() for _ in range(11)]
        await settle()
        worker.complete(worker.fetches[1])
        for number in range(2, 12):
            await passed(0.1)
            worker.fail(worker.fetches[number])
        await settle()
        assert all(fetching.is_done for fetching in fetchings)
        for number in range(10):
            fake.origin().breaker.failure(object(), float(number), counts=True)
        assert fake.origin().breaker.is_open
        idle = fake.fetch()
        await settle()
        assert idle.request.expects_idle
        assert idle.state is SENT


# Callers that go on at once


@in_virtual_time
async def test_a_caller_sends_its_next_request_from_within_its_outcome() -> None:
    async with FakePool(most=1, as_twisted=True) as fake:
        results: list[object] = []

        def again(result: object) -> None:
            results.append(result)
            if len(results) < 5:
                fake.fetch_and_then(again, f"/{len(results)}")

        fake.fetch_and_then(again, "/0")
        (worker,) = fake.workers
        for number in range(5):
            await settle()
            assert worker.urls == [f"https://origin.example/{number}"]
            worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
        assert len(results) == 5
        assert fake.pool.in_flight == 0
        assert fake.origin().limit.in_use == 0


@in_virtual_time
async def test_those_that_wait_go_before_what_a_caller_sends_next() -> None:
    async with FakePool(most=1, as_twisted=True) as fake:
        results: list[object] = []

        def again(result: object) -> None:
            fake.fetch_and_then(results.append, "/next")

        fake.fetch_and_then(again, "/0")
        fake.fetch_and_then(results.append, "/waits")
        (worker,) = fake.workers
        await settle()
        worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
        assert worker.urls == ["https://origin.example/waits"]
        worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
        assert worker.urls == ["https://origin.example/next"]
        worker.complete_all()
        await settle()
        assert len(results) == 2


@in_virtual_time
async def test_a_caller_tries_again_from_within_the_loss_of_its_worker() -> None:
    async with FakePool(workers=2, as_twisted=True) as fake:
        results: list[object] = []

        def again(result: object) -> None:
            if isinstance(result, WorkerLostError):
                fake.fetch_and_then(results.append, avoid=result.slot)
            else:
                results.append(result)

        for _ in range(6):
            fake.fetch_and_then(again)
        await settle()
        dying, healthy = fake.workers
        assert (len(dying.fetches), len(healthy.fetches)) == (3, 3)
        dying.exit(1)
        await settle()
        assert len(healthy.fetches) == 6
        assert fake.events.counts["requests_lost"] == 3
        healthy.complete_all()
        await settle()
        assert len(results) == 6


@in_virtual_time
async def test_a_caller_that_tries_a_dead_pool_again_fails_again() -> None:
    async with FakePool(starts=False, comes_up=False, as_twisted=True) as fake:
        results: list[object] = []

        def again(result: object) -> None:
            results.append(result)
            fake.fetch_and_then(results.append)

        fake.pool.start()
        for _ in range(3):
            fake.fetch_and_then(again)
        await settle()
        fake.workers[0].come_up(problem="no such browser")
        await settle()
        assert [type(result) for result in results] == [WorkersExhaustedError] * 6
        assert fake.pool.in_flight == 0


@in_virtual_time
async def test_callers_of_late_downloads_go_on_one_by_one() -> None:
    async with FakePool(as_twisted=True) as fake:
        results: list[object] = []

        def again(result: object) -> None:
            assert isinstance(result, FetchTimeoutError)
            fake.fetch_and_then(results.append)

        for _ in range(3):
            fake.fetch_and_then(again, timeout_seconds=5.0)
        await passed(16.1)
        (worker,) = fake.workers
        assert sorted(worker.cancels) == [1, 2, 3]
        worker.end_cancelled()
        worker.complete_all()
        await settle()
        assert len(results) == 3
        assert fake.events.counts["worker_crashed"] == 0


# What is said of a pool


@in_virtual_time
async def test_a_pool_says_what_it_has() -> None:
    async with FakePool(most=1) as fake:
        fetchings = [fake.fetch("/a"), fake.fetch("/b"), fake.fetch("/c", in_quarantine=True)]
        fake.fleet.comes_up = False
        await asyncio.sleep(0)
        said = repr(fake.pool)
        assert said.startswith("<Pool 3 in flight, <Scheduler 0 waiting, 1 quarantined>, ")
        assert "<Worker 0 (pid 16777216) ready, 1 in flight, 1 served>" in said
        assert repr(fetchings[0].request) == "<PoolRequest 1 https://origin.example/a: sent>"
        assert "waiting for a permit" in repr(fetchings[1].request)
        assert "<OriginLimiter 1 queued for 1 origins>" in said

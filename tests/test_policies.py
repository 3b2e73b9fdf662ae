"""Policy without I/O: which worker gets a request, how long retries and restarts wait."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._crawl.backoff import backoff, backoff_steps
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import Completed, Failed, Outcome, ResponseHead, TransferStats
from scrapy_curl_safe._pool.idle_connections import IdleConnections, capacity_after
from scrapy_curl_safe._pool.origins import Origin, Route
from scrapy_curl_safe._pool.restart_policy import RestartPolicy
from scrapy_curl_safe._pool.scheduler import choose_worker
from scrapy_curl_safe._pool.token_bucket import TokenBucket

# Choice of the worker


@dataclass
class StubWorker:
    slot: int
    in_flight: int = 0
    idle: IdleConnections = field(default_factory=IdleConnections)


def with_idle(slot: int, in_flight: int, *keys: str) -> StubWorker:
    worker = StubWorker(slot, in_flight)
    for key in keys:
        release(worker.idle, key)
    return worker


def release(
    idle: IdleConnections,
    key: Hashable,
    *,
    reused: bool = False,
    expected: bool = False,
    capacity: int = 1,
) -> None:
    idle.release(key, reused=reused, expected=expected, capacity=capacity)


def chosen(workers: Sequence[StubWorker], key: str = "a", avoid: int | None = None) -> int | None:
    worker = choose_worker(workers, key, avoid)
    return None if worker is None else worker.slot


def test_without_workers_there_is_none() -> None:
    assert chosen([]) is None


def test_the_least_busy_is_chosen() -> None:
    assert chosen([StubWorker(0, 3), StubWorker(1, 2), StubWorker(2, 5)]) == 1


def test_an_idle_connection_is_preferred() -> None:
    assert chosen([StubWorker(0, 0), with_idle(1, 4, "a")]) == 1
    assert chosen([StubWorker(0, 0), with_idle(1, 4, "b")]) == 0


def test_but_not_to_a_worker_that_is_clearly_busier() -> None:
    assert chosen([StubWorker(0, 0), with_idle(1, 5, "a")]) == 0
    assert chosen([StubWorker(0, 10), with_idle(1, 24, "a")]) == 1
    assert chosen([StubWorker(0, 10), with_idle(1, 25, "a")]) == 0


def test_of_several_with_an_idle_connection_the_least_busy_is_chosen() -> None:
    assert chosen([with_idle(0, 3, "a"), with_idle(1, 2, "a"), StubWorker(2, 0)]) == 1


def test_a_retry_goes_elsewhere_if_there_is_elsewhere() -> None:
    assert chosen([with_idle(0, 0, "a"), StubWorker(1, 50)], avoid=0) == 1
    assert chosen([StubWorker(0, 0)], avoid=0) == 0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=6),
    st.none() | st.integers(0, 6),
)
def test_there_is_always_one_and_it_is_never_the_avoided_one(
    loads: list[tuple[int, bool]], avoid: int | None
) -> None:
    workers = [with_idle(n, load, *(["a"] if idle else [])) for n, (load, idle) in enumerate(loads)]
    slot = chosen(workers, avoid=avoid)
    assert slot is not None
    assert slot != avoid or len(workers) == 1


# Idle connections


def test_idle_connections_are_counted_down_and_up() -> None:
    idle = IdleConnections()
    assert not idle.has("a")
    release(idle, "a")
    release(idle, "a")
    idle.must_connect("a")
    assert idle.has("a")
    idle.must_connect("a")
    idle.must_connect("a")
    assert not idle.has("a")


@pytest.mark.parametrize("reused", [False, True])
def test_a_connection_that_is_closed_is_not_counted(reused: bool) -> None:
    idle = IdleConnections()
    release(idle, "a", reused=reused, capacity=0)
    assert not idle.has("a")


def response_head(protocol: str, *headers: tuple[bytes, bytes]) -> ResponseHead:
    return ResponseHead(id=1, status=200, protocol=protocol, headers=list(headers), ip="::1")


@pytest.mark.parametrize(
    ("protocol", "connection", "capacity"),
    [
        ("HTTP/2", None, 2),
        ("HTTP/1.1", None, 1),
        ("HTTP/1.1", b"keep-alive", 1),
        ("HTTP/1.1", b"Upgrade, Close", 0),
        ("HTTP/1.0", None, 0),
        ("HTTP/1.0", b"Keep-Alive", 1),
    ],
)
def test_a_response_tells_whether_its_connection_stays(
    protocol: str, connection: bytes | None, capacity: int
) -> None:
    headers = [(b"Server", b"x")] + ([(b"CONNECTION", connection)] if connection else [])
    assert capacity_after(response_head(protocol, *headers)) == capacity


def test_a_head_that_went_ahead_of_the_body_tells_nothing() -> None:
    assert capacity_after(None) == 1


def test_the_longest_unused_key_is_forgotten() -> None:
    idle = IdleConnections()
    for number in range(5000):
        release(idle, number)
        release(idle, "always")
    assert not idle.has(0)
    assert idle.has(4999)
    assert idle.has("always")


def test_where_connections_do_not_last_none_is_counted() -> None:
    idle = IdleConnections()
    hopes = 0
    for _ in range(200):
        expected = idle.has("a")
        hopes += expected
        fresh = idle.must_connect("a")
        release(idle, "a", expected=expected, capacity=0 if fresh else 1)
    assert 2 <= hopes <= 10
    idle.must_connect("a")
    release(idle, "a", reused=True)
    assert idle.has("a")


def test_where_each_connection_is_closed_requests_have_their_own() -> None:
    idle = IdleConnections()
    kinds = []
    for _ in range(1000):
        expected = idle.has("a")
        fresh = idle.must_connect("a")
        kinds.append("expected" if expected else "fresh" if fresh else "kept")
        release(idle, "a", expected=expected, capacity=0 if fresh else 2)
    assert kinds[0] == "kept"
    late = kinds[500:]
    # One that is kept, to see whether it lasts, and the one that finds out.
    assert 1 <= late.count("kept") <= 3
    assert 1 <= late.count("expected") <= 3


def closing() -> IdleConnections:
    """Return an estimate of connections that were closed each time, with one that is idle now."""
    idle = IdleConnections()
    for _ in range(1000):
        expected = idle.has("a")
        fresh = idle.must_connect("a")
        release(idle, "a", expected=expected, capacity=0 if fresh else 2)
    while not idle.has("a"):
        release(idle, "a", capacity=0 if idle.must_connect("a") else 2)
    return idle


def test_where_each_is_closed_one_that_lasted_proves_little() -> None:
    idle = closing()
    assert not idle.must_connect("a")
    release(idle, "a", reused=True, expected=True, capacity=0)
    assert idle.must_connect("a")


def test_a_few_that_last_prove_that_connections_last_now() -> None:
    idle = closing()
    for _ in range(6):
        assert not idle.must_connect("a")
        release(idle, "a", reused=True, expected=True, capacity=1)
    assert not any(idle.must_connect("a") for _ in range(100))


def test_where_none_was_ever_used_again_one_wrong_guess_is_enough() -> None:
    idle = IdleConnections()
    for _ in range(3):
        release(idle, "a")
    assert not idle.must_connect("a")
    release(idle, "a", expected=True)
    assert not idle.has("a")
    assert idle.must_connect("a")


def proven() -> IdleConnections:
    """Return an estimate of connections of which one was used again."""
    idle = IdleConnections()
    release(idle, "a", reused=True, capacity=0)
    return idle


def test_those_that_close_at_one_time_say_little_of_the_next_ones() -> None:
    idle = proven()
    for _ in range(64):
        release(idle, "a")
    for _ in range(64):
        assert not idle.must_connect("a")
    for _ in range(64):
        release(idle, "a", expected=True)
    assert not idle.must_connect("a")
    for _ in range(2):
        release(idle, "a")
    assert idle.has("a")


def test_a_shared_connection_that_holds_takes_more_and_more() -> None:
    idle = IdleConnections()
    release(idle, "a")
    at_once = []
    for _ in range(5):
        count = 0
        while idle.has("a"):
            idle.must_connect("a")
            count += 1
        for _ in range(count):
            release(idle, "a", reused=True, expected=True, capacity=2)
        at_once.append(count)
    assert at_once == [1, 2, 4, 8, 16]


def response(*, connects: int) -> Completed:
    stats = TransferStats(connects=connects)
    return Completed(id=1, stats=stats, head=response_head("HTTP/1.1"))


def failure(kind: FailureKind) -> Failed:
    return Failed(id=1, stats=TransferStats(), kind=kind)


def learned(outcome: Outcome, *, expected: bool = False, is_closed: bool = False) -> bool:
    """Tell whether an idle connection is counted on after an outcome."""
    idle = IdleConnections()
    idle.learn("a", outcome, expected=expected, is_closed=is_closed)
    return idle.has("a")


def test_a_response_leaves_an_idle_connection() -> None:
    assert learned(response(connects=1))
    assert learned(response(connects=0), expected=True)
    assert not learned(response(connects=1), is_closed=True)


def test_one_on_a_new_connection_where_an_idle_one_was_expected_was_a_wrong_guess() -> None:
    assert not learned(response(connects=1), expected=True)


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.SYSCALL,
        FailureKind.TIMEOUT,
        FailureKind.ALERT,
        FailureKind.PROTOCOL,
        FailureKind.CERTIFICATE,
        FailureKind.CONNECTION_DIED,
    ],
)
def test_so_was_a_failure_for_want_of_a_connection(kind: FailureKind) -> None:
    idle = IdleConnections()
    idle.learn("a", failure(kind), expected=True, is_closed=False)
    release(idle, "a")  # the penalty
    assert not idle.has("a")
    release(idle, "a")
    assert idle.has("a")


@pytest.mark.parametrize("kind", [FailureKind.LOCAL, FailureKind.OTHER, FailureKind.DATALOSS])
def test_other_failures_say_nothing_of_idle_connections(kind: FailureKind) -> None:
    idle = IdleConnections()
    idle.learn("a", failure(kind), expected=True, is_closed=False)
    release(idle, "a")
    assert idle.has("a")


def test_nor_does_a_failed_handshake_that_was_expected() -> None:
    idle = IdleConnections()
    idle.learn("a", failure(FailureKind.SYSCALL), expected=False, is_closed=False)
    release(idle, "a")
    assert idle.has("a")


# Waits


@given(st.integers(1, 10_000), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1))
def test_backoff_stays_within_its_bounds(
    failures: int, first: float, longest: float, draw: float
) -> None:
    seconds = backoff(failures, first, longest, draw)
    assert 0 <= seconds <= min(longest, first * 2.0 ** min(failures - 1, 60))


def test_backoff_doubles_up_to_its_longest() -> None:
    waits = [backoff(n, 0.1, 5.0, 1.0) for n in range(1, 9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


@pytest.mark.parametrize(
    ("failures", "in_a_row", "expected"), [(1, 1, 1), (6, 1, 1), (6, 7, 3), (2, 100, 2), (6, 99, 6)]
)
def test_the_wait_grows_with_the_failures_of_the_origin_too(
    failures: int, in_a_row: int, expected: int
) -> None:
    assert backoff_steps(failures, in_a_row) == expected


def retry_budget() -> TokenBucket:
    return Origin(Route("https://origin.example:443", None), 64, 3).retry_budget


def waits_at(loss: float, requests: int = 3000, seconds: float = 0.01) -> list[float]:
    dice = random.Random(1)
    budget = retry_budget()
    waits = []
    for number in range(requests):
        if dice.random() < loss:
            waits.append(budget.reserve(number * seconds + 1))
        else:
            budget.refund()
    return waits


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.45])
def test_the_budget_lets_random_loss_pass(loss: float) -> None:
    assert max(waits_at(loss)) == 0


def test_the_budget_delays_an_origin_that_fails_on_and_on_to_a_steady_rate() -> None:
    waits = waits_at(1.0, requests=1000, seconds=0.0)
    assert waits[:100] == [0.0] * 100
    steps = [b - a for a, b in pairwise(waits[100:])]
    assert steps == pytest.approx([0.1] * len(steps))


def test_the_budget_recovers_with_time() -> None:
    budget = retry_budget()
    for _ in range(200):
        budget.reserve(1.0)
    assert budget.reserve(1.0) > 0
    assert budget.reserve(1000.0) == 0


def test_refunds_save_up_no_more_than_a_burst() -> None:
    bucket = TokenBucket(burst=2, per_second=1)
    for _ in range(100):
        bucket.refund()
    assert [bucket.reserve(1.0) for _ in range(4)] == [0, 0, 1, 2]


# Restarts


def test_restarts_wait_longer_and_longer_until_one_succeeds() -> None:
    policy, now = RestartPolicy(), 1.0
    assert policy.reserve(now) == 0
    waits = []
    while not policy.exhausted:
        policy.start_failed(now)
        waits.append(policy.reserve(now))
        now += waits[-1]
    assert len(waits) == 8
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= 10
    policy.start_succeeded()
    assert not policy.exhausted
    assert policy.reserve(now) == 0


def test_many_starts_that_fail_at_one_time_are_no_reason_to_give_up() -> None:
    policy = RestartPolicy()
    for failed_at in (1.0, *[10.0] * 16, 14.0):
        policy.start_failed(failed_at)
        if failed_at == 1.0:
            policy.start_succeeded()
    assert not policy.exhausted
    policy.start_failed(15.0)
    assert policy.exhausted


def test_restarts_of_workers_that_come_up_and_die_are_bounded() -> None:
    """However often they are asked for, at most 210 start in any minute."""
    policy, now, starts = RestartPolicy(), 1.0, []
    while now < 600:
        now += policy.reserve(now) + 0.01
        starts.append(now)
        policy.start_succeeded()
    for start in range(0, 540, 7):
        assert sum(start < moment <= start + 60 for moment in starts) <= 210
    assert len(starts) > 1500

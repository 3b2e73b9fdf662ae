"""Limit, breaker and permits of an origin together, by simulation, and the registry of origins."""

from __future__ import annotations

import heapq
import random
import statistics
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import Fetch
from scrapy_curl_safe._pool.circuit_breaker import Admission
from scrapy_curl_safe._pool.limiter import WaitQueue
from scrapy_curl_safe._pool.origins import (
    HandshakeFailure,
    Origin,
    OriginRegistry,
    Permit,
    Route,
)
from scrapy_curl_safe._pool.request import PoolRequest
from tests.fake_worker import RecordingListener

PERMITTED, QUEUED, REJECTED = Admission.PERMITTED, Admission.QUEUED, Admission.REJECTED
FAILURE = HandshakeFailure(FailureKind.SYSCALL, 35, "SSL_ERROR_SYSCALL")
ROUTE = Route("https://origin.example:443", None)


def make_origin(most: int, floor: int = 3) -> Origin:
    return Origin(ROUTE, most, floor)


def succeed(origin: Origin, now: float) -> None:
    """Complete a handshake that nobody else is in the way of."""
    permit = origin.acquire(now)
    permit.success()
    permit.release()


def fail(origin: Origin, now: float) -> bool:
    """Fail a handshake; return whether that opened the breaker."""
    permit = origin.acquire(now)
    opened = permit.failure(FAILURE, now)
    permit.release()
    return opened


def open_breaker(origin: Origin, now: float) -> float:
    """Fail handshakes until requests are rejected; return when a trial may go out."""
    for _ in range(1000):
        if origin.admission(now) is REJECTED:
            return now + origin.breaker.open_for(now)
        fail(origin, now)
        now += 0.1
    raise AssertionError("the breaker never opens")


# Simulations


def simulate(
    fails: Callable[[int, random.Random], bool],
    pages: int = 3000,
    most: int = 64,
    floor: int = 3,
    failed_after: float = 0.01,
) -> tuple[list[int], int]:
    """Fetch pages from an origin, where a handshake that succeeds takes 0.05 s.

    Args:
        fails: whether a handshake fails, given how many others will succeed, and the dice.
        failed_after: seconds that a failure takes.

    Returns:
        The limit after each handshake, and how many failed.
    """
    dice, origin, now = random.Random(1), make_origin(most, floor), 0.0
    under_way: list[tuple[float, int, bool, Permit]] = []
    values: list[int] = []
    begun, failures = 0, 0
    while pages or under_way:
        while pages and origin.admission(now) is PERMITTED:
            permit = origin.acquire(now)
            failed = fails(sum(not failed for _, _, failed, _ in under_way), dice)
            takes = failed_after if failed else dice.uniform(0.04, 0.06)
            heapq.heappush(under_way, (now + takes, begun, failed, permit))
            begun += 1
            pages -= 1
        assert begun < 100_000
        if not under_way:
            now += origin.breaker.open_for(now)
            continue
        now, _, failed, permit = heapq.heappop(under_way)
        if failed:
            permit.failure(FAILURE, now)
            failures += 1
            pages += 1
        else:
            permit.success()
        permit.release()
        values.append(origin.limit.value)
    return values, failures


@pytest.mark.parametrize("failed_after", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("at_once", [3, 10, 50])
def test_the_limit_comes_near_what_the_origin_takes(at_once: int, failed_after: float) -> None:
    values, failures = simulate(
        lambda accepted, dice: accepted >= at_once, failed_after=failed_after
    )
    assert 0.75 * at_once <= statistics.mean(values[500:]) <= 1.2 * at_once
    assert failures < 0.25 * 3000


def test_random_loss_does_not_sink_the_limit() -> None:
    values, _ = simulate(lambda accepted, dice: dice.random() < 0.3)
    assert statistics.mean(values[500:]) >= 20


def test_the_limit_recovers_when_the_origin_does() -> None:
    origin = make_origin(64)
    now = open_breaker(origin, 0.0)
    under_way: list[Permit] = []
    for _ in range(200):
        while origin.admission(now) is PERMITTED:
            under_way.append(origin.acquire(now))
        under_way[0].success()
        under_way.pop(0).release()
    assert origin.limit.value == 64


def test_an_origin_that_is_not_asked_for_much_keeps_its_limit() -> None:
    origin = make_origin(64)
    fail(origin, 0.0)
    lowered = origin.limit.value
    for _ in range(100):
        succeed(origin, 0.0)
    assert origin.limit.value == lowered < 64


@given(st.integers(1, 100), st.integers(1, 100), st.lists(st.booleans(), max_size=300))
def test_the_limit_stays_between_floor_and_most(most: int, floor: int, results: list[bool]) -> None:
    origin, now = make_origin(most, floor), 0.0
    under_way: list[Permit] = []
    for result in results:
        now += origin.breaker.open_for(now)
        if origin.admission(now) is PERMITTED:
            under_way.append(origin.acquire(now))
        # Without any, a handshake that was not expected.
        permit = under_way.pop() if under_way else Permit(origin)
        if result:
            permit.success()
        else:
            permit.failure(FAILURE, now)
        permit.release()
        assert min(floor, most) <= origin.limit.value <= most
        assert origin.limit.in_use >= 0


# Limit and breaker together


def test_each_opening_of_the_breaker_is_twice_as_long_as_the_one_before() -> None:
    origin, now, openings = make_origin(8), 0.0, []
    for _ in range(8):
        now = open_breaker(origin, now)
        fail(origin, now)
        openings.append(round(origin.breaker.open_for(now) / 2))
    assert openings == [1, 2, 4, 8, 16, 30, 30, 30]


def test_one_trial_decides_for_all() -> None:
    origin = make_origin(8)
    now = open_breaker(origin, 0.0)
    assert origin.admission(now) is PERMITTED
    trial = origin.acquire(now)
    assert origin.admission(now) is REJECTED
    trial.success()
    trial.release()
    assert origin.admission(now) is PERMITTED
    assert origin.limit.value == 3


def test_requests_for_an_origin_that_has_answered_wait_for_about_a_minute() -> None:
    origin = make_origin(8)
    succeed(origin, 0.0)
    for number in range(10):
        fail(origin, 0.1 * number)
    now = begin = 1.0
    while origin.admission(now) is QUEUED:
        wait = origin.retry_admission_in(now)
        assert wait is not None
        now += wait
        assert origin.admission(now) is PERMITTED
        fail(origin, now)
    assert origin.admission(now) is REJECTED
    assert 60 < now - begin < 65
    now += origin.breaker.open_for(now)
    succeed(origin, now)
    assert origin.admission(now) is PERMITTED


def test_where_a_trial_takes_long_another_one_goes_out() -> None:
    origin = make_origin(8)
    now = open_breaker(origin, 0.0)
    slow = origin.acquire(now)
    assert origin.admission(now + 1.9) is REJECTED
    assert origin.breaker.open_for(now + 1.9) == pytest.approx(0.1)
    now += 2.0
    assert origin.admission(now) is PERMITTED
    fail(origin, now)
    # That the slow one fails, too, is no news.
    assert not slow.failure(FAILURE, now)
    slow.release()
    assert origin.breaker.open_for(now) == pytest.approx(4.0)


def test_a_trial_without_a_result_leaves_the_next_one_to_try() -> None:
    origin = make_origin(8)
    now = open_breaker(origin, 0.0)
    origin.acquire(now).release()  # cancelled, say
    assert origin.admission(now) is PERMITTED


def test_a_lost_place_is_back_before_another_handshake_succeeds() -> None:
    origin = make_origin(2, 2)
    origin.acquire(5.0)  # and takes its time
    fail(origin, 5.0)
    assert (origin.admission(5.25), origin.retry_admission_in(5.25)) == (QUEUED, 0.75)
    assert (origin.admission(6.0), origin.retry_admission_in(6.0)) == (PERMITTED, None)


def test_failures_above_the_floor_do_not_open_the_breaker_of_an_origin_that_answers() -> None:
    origin = make_origin(8, floor=2)
    succeed(origin, 0.0)
    held = [origin.acquire(0.0) for _ in range(2)]
    assert not any(fail(origin, 0.1 * number) for number in range(100))
    for permit in held:
        permit.release()
    # With no other under way, no limit would have prevented them.
    assert any(fail(origin, 20 + 0.1 * number) for number in range(10))


def test_they_do_where_none_ever_answered() -> None:
    origin = make_origin(8, floor=2)
    for _ in range(5):
        origin.acquire(0.0)
    assert any(fail(origin, 0.1 * number) for number in range(10))


# Permits


def test_a_permit_holds_a_place_until_it_is_released_and_only_once() -> None:
    origin = make_origin(8)
    permit = origin.acquire(0.0)
    assert origin.limit.in_use == 1
    permit.release()
    permit.release()
    assert origin.limit.in_use == 0


def test_a_permit_counts_what_became_of_its_handshake() -> None:
    origin = make_origin(64)
    succeed(origin, 0.0)
    assert origin.handshakes_done == 1
    fail(origin, 0.0)
    assert origin.limit.value == 57
    assert origin.last_failure == FAILURE


def test_a_permit_without_a_place_counts_and_limits_nothing() -> None:
    """Such a permit is that of a request whose idle connection turned out to be closed."""
    origin = make_origin(64)
    permit = Permit(origin)
    assert origin.limit.in_use == 0
    permit.success()
    assert origin.handshakes_done == 1
    assert not any(permit.failure(FAILURE, float(number)) for number in range(100))
    assert origin.limit.value == 64
    assert not origin.breaker.is_open
    permit.release()
    assert origin.limit.in_use == 0


def test_its_success_closes_the_breaker() -> None:
    origin = make_origin(64)
    open_breaker(origin, 0.0)
    Permit(origin).success()
    assert not origin.breaker.is_open
    assert origin.limit.value == 3


# Queue


def waiting(name: str, *, failed_on: int | None = None) -> PoolRequest:
    return PoolRequest(
        Fetch(url=name, profile=b""),
        b"",
        key=None,
        listener=RecordingListener(),
        origin=make_origin(8),
        needs_tls=True,
        avoid=failed_on,
    )


def test_those_that_failed_before_go_first() -> None:
    queue = WaitQueue()
    for number, slot in enumerate([None, 0, None, 1]):
        queue.append(waiting(str(number), failed_on=slot))
    queue.remove(next(request for request in queue if request.fetch.url == "2"))
    behind = WaitQueue()
    behind.append(waiting("4", failed_on=0))
    queue.extend(behind)
    assert len(queue) == 4
    assert [queue.popleft().fetch.url for _ in range(4)] == ["1", "3", "4", "0"]


@pytest.mark.parametrize("failed_on", [None, 0])
def test_one_that_does_not_wait_cannot_be_removed(failed_on: int | None) -> None:
    with pytest.raises(ValueError, match="not in deque"):
        WaitQueue().remove(waiting("1", failed_on=failed_on))


# Registry


def route(number: int, proxy: str | None = None) -> Route:
    return Route(f"https://{number}.example:443", proxy)


def test_an_origin_is_another_one_behind_a_proxy() -> None:
    registry = OriginRegistry(8, 3)
    direct, proxied = registry.get(route(1)), registry.get(route(1, "http://proxy:1"))
    assert direct is not proxied
    assert registry.get(route(1)) is direct
    assert str(direct.route) == "https://1.example:443"
    assert str(proxied.route) == "https://1.example:443 by http://proxy:1"


def test_origins_that_nobody_uses_are_forgotten() -> None:
    registry = OriginRegistry(8, 3)
    with_handshake, with_open_breaker, unused = (registry.get(route(n)) for n in range(3))
    with_handshake.acquire(0.0)
    open_breaker(with_open_breaker, 0.0)
    for number in range(100, 20_100):
        registry.get(route(number))
    assert registry.get(route(0)) is with_handshake
    assert registry.get(route(1)) is with_open_breaker
    assert registry.get(route(2)) is not unused
    assert repr(registry) == "<OriginRegistry of 16384 origins>"


def test_those_that_were_used_last_are_kept() -> None:
    registry = OriginRegistry(8, 3)
    often = registry.get(route(0))
    for number in range(1, 20_000):
        registry.get(route(number))
        assert registry.get(route(0)) is often


def test_an_origin_is_proven_by_whatever_proxy() -> None:
    registry = OriginRegistry(8, 3)
    assert not registry.is_proven(route(1))
    registry.response_received(registry.get(route(1, "http://proxy:1")))
    assert registry.is_proven(route(1))
    assert registry.is_proven(route(1, "http://proxy:2"))
    assert not registry.is_proven(route(2))


def test_a_response_ends_a_row_of_retries_and_refunds_one() -> None:
    registry = OriginRegistry(8, 3)
    origin = registry.get(route(1))
    origin.retries_in_a_row = 5
    while not origin.retry_budget.reserve(1.0):
        pass
    registry.response_received(registry.get(route(1)))
    assert origin.retries_in_a_row == 0
    assert origin.retry_budget.reserve(1.0) == pytest.approx(0.1)
    assert origin.retry_budget.reserve(1.0) == pytest.approx(0.2)


def test_proven_origins_that_still_answer_are_remembered() -> None:
    registry = OriginRegistry(8, 3)
    for number in range(70_000):
        registry.response_received(registry.get(route(-1)))
        registry.response_received(registry.get(route(number)))
        assert registry.is_proven(route(-1))
    assert registry.is_proven(route(69_999))
    assert not registry.is_proven(route(0))


def test_the_worst_origins_are_those_with_the_most_failures() -> None:
    registry = OriginRegistry(8, 3)
    registry.get(route(0))
    for number in range(1, 5):
        registry.get(route(number)).failures[FailureKind.ALERT] += number
        registry.get(route(number)).failures[FailureKind.TIMEOUT] += number
    assert [origin.route for origin in registry.worst(3)] == [route(4), route(3), route(2)]
    assert len(registry.worst(10)) == 4  # none without failures


def test_limited_origins_come_with_the_lowest_limit_first() -> None:
    registry = OriginRegistry(64, 3)
    for number, failures in enumerate([1, 5, 0, 3]):
        for _ in range(failures):
            fail(registry.get(route(number)), 0.0)
    assert [origin.route for origin in registry.limited()] == [route(1), route(3), route(0)]


def test_an_unavailable_origin_counts_even_if_its_limit_cannot_fall() -> None:
    """As with CONCURRENT_REQUESTS = 2, below CURL_SAFE_ADAPTIVE_FLOOR."""
    registry = OriginRegistry(2, 3)
    origin = registry.get(route(0))
    for now in range(20):
        fail(origin, float(now))
    assert origin.breaker.is_open
    assert not origin.limit.is_lowered
    assert registry.limited() == [origin]

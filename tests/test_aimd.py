"""The AIMD limit by itself, one rule at a time."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._pool.aimd import AimdLimit, Handshake


def succeed(limit: AimdLimit, handshake: Handshake) -> None:
    limit.success(handshake)
    limit.release(handshake)


def fail(limit: AimdLimit, handshake: Handshake, now: float = 0.0) -> None:
    limit.failure(handshake, now)
    limit.release(handshake)


def lower_to(limit: AimdLimit, value: int) -> None:
    """Fail handshakes one by one until the limit is this low, long ago."""
    while limit.value > value:
        fail(limit, limit.acquire(), now=-100.0)


def raise_by_one(limit: AimdLimit) -> None:
    """Succeed with all that the limit allows but one until the limit grows."""
    before = limit.value
    handshakes = [limit.acquire() for _ in range(before - 1)]
    while limit.value == before:
        limit.success(handshakes[0])
    for handshake in handshakes:
        limit.release(handshake)


def test_a_new_limit_allows_the_most_and_no_more() -> None:
    limit = AimdLimit(most=3, floor=1)
    handshakes = [limit.acquire() for _ in range(3)]
    assert [handshake.rank for handshake in handshakes] == [1, 2, 3]
    assert not limit.has_place(0.0)
    limit.release(handshakes.pop())
    assert limit.has_place(0.0)


def test_one_handshake_may_always_begin() -> None:
    limit = AimdLimit(most=1, floor=1)
    fail(limit, limit.acquire(), now=5.0)
    assert limit.next_place_in(5.0) == 1.0
    assert limit.has_place(5.0)


def test_the_floor_is_never_above_the_most() -> None:
    limit = AimdLimit(most=2, floor=10)
    lower_to(limit, 2)
    fail(limit, limit.acquire())
    assert (limit.floor, limit.value, limit.is_lowered) == (2, 2, False)


def test_a_failure_takes_a_tenth_off() -> None:
    limit = AimdLimit(most=100, floor=3)
    fail(limit, limit.acquire())
    assert limit.value == 90
    fail(limit, limit.acquire())
    assert limit.value == 81


def test_a_failure_leaves_as_many_as_were_under_way() -> None:
    limit = AimdLimit(most=100, floor=3)
    handshakes = [limit.acquire() for _ in range(96)]
    limit.failure(handshakes[-1], 0.0)
    assert limit.value == 95
    # One that began when fewer were under way says more, but at most a tenth.
    limit.failure(handshakes[10], 0.0)
    assert limit.value == 85


def test_failures_stop_at_the_floor() -> None:
    limit = AimdLimit(most=100, floor=7)
    for _ in range(100):
        fail(limit, limit.acquire())
    assert limit.value == limit.floor == 7


def test_a_success_adds_one_to_a_limit_that_is_in_use() -> None:
    limit = AimdLimit(most=10, floor=2)
    lower_to(limit, 6)
    handshakes = [limit.acquire() for _ in range(4)]
    succeed(limit, handshakes.pop())
    assert limit.value == 7


def test_a_success_adds_nothing_to_a_limit_that_is_hardly_in_use() -> None:
    limit = AimdLimit(most=10, floor=2)
    lower_to(limit, 6)
    handshakes = [limit.acquire() for _ in range(2)]
    succeed(limit, handshakes.pop())
    assert limit.value == 6


def test_the_limit_never_passes_the_most() -> None:
    limit = AimdLimit(most=4, floor=2)
    handshakes = [limit.acquire() for _ in range(4)]
    for _ in range(50):
        limit.success(handshakes[0])
    assert limit.value == 4


def test_a_failure_without_a_handshake_lowers_nothing() -> None:
    limit = AimdLimit(most=10, floor=2)
    limit.failure(None, 0.0)
    assert limit.value == 10


def test_the_place_of_a_failed_handshake_stays_empty_for_a_second() -> None:
    limit = AimdLimit(most=4, floor=4)
    limit.acquire()
    for _ in range(2):
        fail(limit, limit.acquire(), now=5.0)
    limit.acquire()
    assert not limit.has_place(5.5)
    assert limit.next_place_in(5.5) == 0.5
    assert limit.has_place(6.0)
    assert limit.next_place_in(6.0) is None


def test_the_place_of_a_failed_handshake_is_free_when_another_one_succeeds() -> None:
    limit = AimdLimit(most=2, floor=2)
    other = limit.acquire()
    fail(limit, limit.acquire(), now=5.0)
    assert not limit.has_place(5.0)
    limit.success(other)
    assert limit.has_place(5.0)
    assert limit.next_place_in(5.0) is None


def lost_probes(limit: AimdLimit, count: int) -> None:
    """Fail the first handshake above a limit that has grown, so often."""
    for _ in range(count):
        raise_by_one(limit)
        handshakes = [limit.acquire() for _ in range(limit.value)]
        limit.failure(handshakes[-1], -100.0)
        for handshake in handshakes:
            limit.release(handshake)


def successes_to_raise(limit: AimdLimit) -> int:
    """Count the successes that it takes until the limit grows."""
    before, count = limit.value, 0
    handshakes = [limit.acquire() for _ in range(before - 1)]
    while limit.value == before:
        limit.success(handshakes[0])
        count += 1
    for handshake in handshakes:
        limit.release(handshake)
    return count


@pytest.mark.parametrize(
    ("lost", "successes"), [(0, 1), (1, 1), (2, 1), (3, 2), (4, 4), (6, 16), (20, 64)]
)
def test_lost_probes_put_off_the_next_one(lost: int, successes: int) -> None:
    limit = AimdLimit(most=64, floor=3)
    lower_to(limit, 10)
    lost_probes(limit, lost)
    assert successes_to_raise(limit) == successes


def test_a_probe_that_succeeds_makes_up_for_two_that_failed() -> None:
    limit = AimdLimit(most=64, floor=3)
    lower_to(limit, 10)
    lost_probes(limit, 4)
    raise_by_one(limit)
    handshakes = [limit.acquire() for _ in range(limit.value)]
    limit.success(handshakes[-1])
    for handshake in handshakes:
        limit.release(handshake)
    assert successes_to_raise(limit) == 1


def test_the_limit_waits_for_the_result_of_a_probe_that_may_fail() -> None:
    limit = AimdLimit(most=64, floor=3)
    lower_to(limit, 10)
    lost_probes(limit, 1)
    raise_by_one(limit)
    raised = limit.value
    handshakes = [limit.acquire() for _ in range(raised)]
    for _ in range(100):
        limit.success(handshakes[0])
    assert limit.value == raised
    limit.release(handshakes[-1])  # without a result
    limit.success(handshakes[0])
    assert limit.value == raised + 1


def test_the_limit_starts_again_from_its_floor() -> None:
    limit = AimdLimit(most=64, floor=3)
    fail(limit, limit.acquire(), now=5.0)
    limit.reset_to_floor()
    assert limit.value == 3
    assert limit.next_place_in(5.0) is None

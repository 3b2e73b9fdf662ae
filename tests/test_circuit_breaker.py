"""The circuit breaker by itself, one transition at a time."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._pool.circuit_breaker import Admission, CircuitBreaker


def fail(breaker: CircuitBreaker, now: float, *, counts: bool = True) -> bool:
    attempt = object()
    breaker.begin(attempt, now)
    opened = breaker.failure(attempt, now, counts=counts)
    breaker.end(attempt)
    return opened


def opened(*, has_succeeded: bool = False) -> CircuitBreaker:
    """Make a breaker that opened at 0.9, for a second."""
    breaker = CircuitBreaker()
    if has_succeeded:
        breaker.success()
    assert [fail(breaker, 0.1 * number) for number in range(10)] == [False] * 9 + [True]
    return breaker


def test_a_new_breaker_is_closed() -> None:
    breaker = CircuitBreaker()
    assert not breaker.is_open
    assert breaker.open_for(0.0) == 0.0
    assert breaker.admission(0.0) is Admission.PERMITTED
    assert repr(breaker) == "<CircuitBreaker closed, 0 failures in a row>"


def test_ten_failures_in_a_row_open_it_for_a_second() -> None:
    breaker = opened()
    assert breaker.is_open
    assert breaker.open_for(1.0) == pytest.approx(0.9)
    assert repr(breaker) == "<CircuitBreaker open, 10 failures in a row>"


def test_failures_within_a_quarter_of_a_second_do_not() -> None:
    breaker = CircuitBreaker()
    assert not any(fail(breaker, 0.24) for _ in range(100))
    assert not breaker.is_open
    assert fail(breaker, 0.5)


def test_a_success_begins_a_new_row() -> None:
    breaker = CircuitBreaker()
    for number in range(9):
        fail(breaker, 0.1 * number)
    assert not breaker.success()  # which closed nothing
    assert not any(fail(breaker, 1 + 0.1 * number) for number in range(9))
    assert fail(breaker, 2.0)


def test_failures_that_the_limit_would_have_prevented_do_not_count() -> None:
    breaker = CircuitBreaker()
    assert not any(fail(breaker, 0.1 * number, counts=False) for number in range(100))
    assert not breaker.is_open


def test_requests_are_rejected_where_no_handshake_ever_succeeded() -> None:
    breaker = opened()
    assert breaker.admission(1.0) is Admission.REJECTED


def test_requests_are_queued_where_one_has_succeeded() -> None:
    breaker = opened(has_succeeded=True)
    assert breaker.admission(1.0) is Admission.QUEUED


def test_one_trial_goes_out_when_the_time_is_over() -> None:
    breaker = opened()
    assert breaker.admission(1.89) is Admission.REJECTED
    assert breaker.admission(1.9) is Admission.PERMITTED
    breaker.begin(object(), 1.9)
    assert breaker.admission(1.9) is Admission.REJECTED
    assert breaker.open_for(1.9) == 2.0  # then the next one goes out
    assert repr(breaker) == "<CircuitBreaker half-open, 10 failures in a row>"


def test_a_trial_that_succeeds_closes_it() -> None:
    breaker = opened()
    trial = object()
    breaker.begin(trial, 1.9)
    assert breaker.success()
    breaker.end(trial)
    assert not breaker.is_open
    assert breaker.admission(1.9) is Admission.PERMITTED


def test_any_success_closes_it() -> None:
    breaker = opened()
    assert breaker.success()
    assert not breaker.is_open


def test_a_trial_that_fails_leaves_it_open() -> None:
    breaker = opened()
    assert fail(breaker, 1.9)
    assert breaker.open_for(1.9) == 2.0


def test_each_opening_is_twice_as_long_up_to_a_minute() -> None:
    breaker, now, lengths = opened(), 1.9, []
    for _ in range(8):
        fail(breaker, now)
        lengths.append(breaker.open_for(now))
        now += breaker.open_for(now)
    assert lengths == pytest.approx([2, 4, 8, 16, 32, 60, 60, 60])


def test_a_closed_breaker_begins_again_with_a_second() -> None:
    breaker = opened()
    fail(breaker, 1.9)
    breaker.success()
    for number in range(10):
        fail(breaker, 10 + 0.1 * number)
    assert breaker.open_for(10.9) == pytest.approx(1.0)


def test_requests_are_rejected_once_it_has_been_open_for_a_minute() -> None:
    breaker, now = opened(has_succeeded=True), 1.9
    while breaker.open_for(now) < 59:
        assert breaker.admission(now) in (Admission.PERMITTED, Admission.QUEUED)
        now += breaker.open_for(now)
        fail(breaker, now)
    assert breaker.admission(now) is Admission.REJECTED


def test_a_failure_of_another_handshake_than_the_trial_decides_nothing() -> None:
    breaker = opened()
    slow = object()
    breaker.begin(slow, 1.9)
    breaker.begin(object(), 3.9)  # the slow one did not decide in time
    assert not breaker.failure(slow, 4.0, counts=True)
    assert not breaker.failure(None, 4.0, counts=False)
    breaker.end(slow)
    assert breaker.open_for(4.0) == pytest.approx(3.9)


def test_after_a_trial_without_a_result_the_next_request_is_one() -> None:
    breaker = opened()
    trial = object()
    breaker.begin(trial, 1.9)
    breaker.end(trial)
    assert breaker.is_open
    assert breaker.admission(1.9) is Admission.PERMITTED


@pytest.mark.parametrize("has_succeeded", [False, True])
def test_an_origin_seems_dead_once_its_trials_have_failed_for_a_quarter_of_a_minute(
    has_succeeded: bool,
) -> None:
    breaker, now, seen = opened(has_succeeded=has_succeeded), 1.9, []
    for _ in range(6):
        seen.append((round(now), breaker.seems_dead))
        fail(breaker, now)
        now += breaker.open_for(now)
    dead = not has_succeeded
    assert seen == [(2, False), (4, False), (8, False), (16, False), (32, dead), (64, dead)]

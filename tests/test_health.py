"""The words of the health line."""

from __future__ import annotations

from typing import Any

from scrapy_curl_safe._crawl.health import (
    Progress,
    SessionCounts,
    health_line,
    named_limits,
    progress_of,
)
from scrapy_curl_safe._crawl.health_record import KEYS, health_record
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._pool.origins import HandshakeFailure, Origin, Route


def stats(**counts: int) -> dict[str, int]:
    """Return stats under `curl_safe/`; two underscores stand for a slash."""
    return {f"curl_safe/{key.replace('__', '/')}": count for key, count in counts.items()}


def line(
    counts: dict[str, Any],
    before: Progress | None = None,
    *,
    waiting: int = 0,
    workers: tuple[int, int] | None = (2, 2),
) -> str:
    return health_line(counts, before, waiting=waiting, workers=workers)


FLAKY: dict[str, Any] = stats(
    response_count=494,
    connection__reused_count=359,
    handshake__count=155,
    handshake__failure_count=20,
    handshake__failure_count__timeout=1,
    handshake__failure_count__syscall=19,
    handshake__retry_count=20,
    handshake__retried_request_count=19,
    handshake__recovered_count=19,
)


def test_a_record_has_the_counts_of_the_line() -> None:
    counts = {**FLAKY, "curl_safe/loop_lag_max": 0.25}
    before = Progress(responses=490, handshakes=150, failed=19)
    limited = Origin(Route("https://shop.example", "http://proxy.example:8080"), 16, 1)
    sessions = SessionCounts(alive=8, resting=1, proxies=4)
    record = health_record(
        counts, before, spider="docs", waiting=2, workers=(1, 2), sessions=sessions,
        limited=[limited],
    )  # fmt: skip
    assert record.keys() == KEYS.keys()
    assert record["handshake_failures"] == {"timeout": 1, "syscall": 19}
    assert (record["retries"], record["recovered"], record["given_up"]) == (20, 19, 0)
    assert (record["new_responses"], record["new_handshakes_failed"]) == (4, 1)
    assert (record["workers_up"], record["workers"], record["waiting"]) == (1, 2, 2)
    assert record["limits"] == {str(limited.route): 16}


def test_a_record_leaves_out_what_does_not_apply() -> None:
    record = health_record(
        FLAKY, None, spider="docs", waiting=0, workers=None, sessions=None, limited=[]
    )
    gone = KEYS.keys() - record.keys()
    assert gone == {
        "loop_lag_max", "new_responses", "new_handshakes", "new_handshakes_failed", "workers",
        "workers_up", "workers_crashed", "sessions", "sessions_ended", "blocks", "proxies",
        "proxies_resting",
    }  # fmt: skip


def test_the_first_line_is_about_the_whole_crawl_alone() -> None:
    assert line(FLAKY) == (
        "Health of the whole crawl: 494 responses, 359 on reused connections; "
        "155 handshakes, 20 of them failed (12.9 %: 19 syscall, 1 timeout); "
        "20 retries of 19 requests (19 recovered); 2 of 2 workers up"
    )


def test_later_ones_say_apart_what_is_new() -> None:
    before = progress_of(FLAKY)
    now = FLAKY | stats(response_count=500, handshake__count=159, handshake__failure_count=21)
    assert line(now, before).endswith(
        "2 of 2 workers up. Since the last line: 6 responses; "
        "4 handshakes, 1 of them failed (25.0 %)"
    )
    assert line(FLAKY, before).endswith(". Since the last line: 0 responses; 0 handshakes")


def test_a_long_block_of_the_event_loop_is_named_and_a_short_one_is_not() -> None:
    blocked: dict[str, Any] = {**FLAKY, "curl_safe/loop_lag_max": 5.37}
    assert "; event loop blocked for up to 5.4 s, by a callback or a pipeline" in line(blocked)
    assert "blocked" not in line({**FLAKY, "curl_safe/loop_lag_max": 0.9})


def test_a_crawl_that_fails_before_tls_is_not_all_zeros() -> None:
    failed = stats(
        connection__failure_count=9,
        connection__failure_count__proxy_auth=2,
        connection__failure_count__refused=7,
    )
    assert line(failed) == (
        "Health of the whole crawl: 0 responses, 0 on reused connections; 0 handshakes; "
        "9 connections not made (7 refused, 2 proxy_auth); 2 of 2 workers up"
    )


def test_sessions_are_named_with_what_became_of_others() -> None:
    counts = stats(
        session__open_count=12,
        session__end_count__blocked=3,
        session__end_count__requests=1,
        session__block_count__403=5,
    )
    now = SessionCounts(alive=8, resting=1, proxies=8)
    assert health_line(counts, None, waiting=0, workers=(2, 2), sessions=now).endswith(
        "2 of 2 workers up; 8 sessions, ended before: 3 blocked, 1 requests; blocked: 5 403; "
        "1 of 8 proxies resting"
    )
    alone = SessionCounts(alive=1, resting=0, proxies=0)
    assert health_line({}, None, waiting=0, workers=None, sessions=alone).endswith("; 1 session")


def test_what_waits_what_was_lost_and_what_died() -> None:
    counts = stats(
        response_count=1,
        handshake__count=1,
        handshake__retry_count=1,
        handshake__retried_request_count=1,
        handshake__gave_up_count=1,
        worker__crash_count=2,
        worker__hang_count=1,
    )
    assert line(counts, waiting=3, workers=(0, 1)) == (
        "Health of the whole crawl: 1 response, 0 on reused connections; 1 handshake; "
        "1 retry of 1 request (0 recovered, 1 without a response); "
        "3 requests waiting for a retry; 1 request given up; "
        "0 of 1 worker up, 3 crashed"
    )


def test_where_another_handler_downloads_there_are_no_workers() -> None:
    assert "worker" not in line(stats(), workers=None)


def limited(number: int, failures: int) -> Origin:
    """Return an origin with so many failed handshakes."""
    origin = Origin(Route(f"https://{number}.example", None), 16, 1)
    for now in range(failures):
        permit = origin.acquire(float(now))
        permit.failure(HandshakeFailure(FailureKind.SYSCALL, 35, ""), float(now))
        permit.release()
    return origin


def test_an_open_circuit_breaker_is_shown_in_place_of_the_limit() -> None:
    closed, opened = limited(1, 1), limited(2, 40)
    assert opened.breaker.is_open
    assert not closed.breaker.is_open
    limit = closed.limit.value
    shown = f"https://1.example {limit}, https://2.example unavailable"
    assert named_limits([closed, opened]) == shown
    record = health_record(
        FLAKY, None, spider="d", waiting=0, workers=None, sessions=None, limited=[closed, opened]
    )
    assert record["limits"] == {"https://1.example": limit, "https://2.example": "unavailable"}


def test_three_limits_are_named_and_the_others_counted() -> None:
    names = [f"https://{number}.example 16" for number in range(5)]
    origins = [limited(number, 0) for number in range(5)]
    assert named_limits(origins[:3]) == ", ".join(names[:3])
    assert named_limits(origins) == f"{', '.join(names[:3])} and 2 more"

"""The record of workers' lives."""

from __future__ import annotations

import time

import pytest

from scrapy_curl_safe._crawl.worker_lives import WorkerLife, WorkerLives
from scrapy_curl_safe._pool.worker import Cause, Event
from testkit.workers import a_worker


def life_that_ends(
    cause: Cause, status: int = 0, *, reason: str | None = None, served: int = 7
) -> WorkerLife:
    lives, worker = WorkerLives(), a_worker(slot=1, pid=4711)
    lives.started(worker)
    worker.transition(Event.BECOME_READY)
    if reason is not None:
        lives.replaced(worker, reason)
    worker.served = served
    worker.transition(Event.STOP, cause)
    lives.exited(worker, status)
    (life,) = lives.since(0.0)
    return life


@pytest.mark.parametrize(
    ("cause", "reason", "how", "why"),
    [
        (Cause.RELEASED, "it uses 812 MB", "recycled", "it uses 812 MB"),
        (Cause.RELEASED, None, "released", ""),
        (Cause.CRASHED, None, "died", "SIGSEGV"),
        # It was about to be replaced.
        (Cause.CRASHED, "it uses 812 MB", "died", "SIGSEGV"),
        (Cause.HUNG, None, "hung", "SIGSEGV"),
        (Cause.BROKE_PROTOCOL, None, "broke the protocol", "SIGSEGV"),
    ],
)
def test_how_a_worker_ended_and_why(cause: Cause, reason: str | None, how: str, why: str) -> None:
    life = life_that_ends(cause, -11, reason=reason)
    assert (life.slot, life.pid, life.how, life.why, life.served) == (1, 4711, how, why, 7)
    assert life.end is not None
    assert life.end >= life.start


def test_a_worker_that_runs_has_no_end() -> None:
    lives, worker = WorkerLives(), a_worker()
    lives.started(worker)
    worker.served = 3
    (life,) = lives.since(0.0)
    assert (life.end, life.how, life.served) == (None, "", 3)


def test_times_count_from_the_start_of_the_crawl() -> None:
    lives, before = WorkerLives(), time.monotonic()
    lives.started(a_worker())
    (life,) = lives.since(before)
    assert 0 <= life.start <= time.monotonic() - before
    # It was started while the crawl was about to begin.
    (life,) = lives.since(time.monotonic() + 10)
    assert life.start == 0


def test_the_oldest_that_have_ended_are_forgotten_first() -> None:
    lives, first = WorkerLives(most=3), a_worker(pid=1)
    lives.started(first)
    for pid in range(2, 10):
        worker = a_worker(pid=pid)
        lives.started(worker)
        worker.transition(Event.STOP, Cause.CRASHED)
        lives.exited(worker, -9)
    assert [life.pid for life in lives.since(0.0)] == [1, 8, 9]
    assert lives.forgotten == 6

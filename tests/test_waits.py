"""Waits for a worker or a permit: how long they are, and what is logged; in virtual time."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from scrapy_curl_safe._pool.errors import FetchTimeoutError, WorkersExhaustedError
from tests.fake_worker import FakePool, Fetching, in_virtual_time, passed, settle

SPARE_SECONDS = 300.0
# Twice what a check is apart.
SOME_SECONDS = 20.0


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().startswith("Waiting for ")]


def fetch_several(fake: FakePool, count: int, **fields: Any) -> list[Fetching]:
    """Have the first request take the only permit of an origin, and others wait for it."""
    return [fake.fetch(f"/{n}", **fields) for n in range(count)]


@in_virtual_time
async def test_a_wait_without_progress_has_an_end() -> None:
    """A download without a timeout of its own may hold a permit for ever."""
    async with FakePool(most=1) as fake:
        first, *others = fetch_several(fake, 4)
        await passed(SPARE_SECONDS - SOME_SECONDS)
        assert not any(fetching.is_done for fetching in others)
        await passed(2 * SOME_SECONDS)
        assert all(isinstance(fetching.error, FetchTimeoutError) for fetching in others)
        assert "permit for a TLS handshake with https://origin.example" in str(others[0].error)
        assert "no request got any in 300 s" in str(others[0].error)
        # Nobody is left in the queue.
        fake.workers[0].complete_all()
        await settle()
        assert first.error is None
        assert [fetching.listener.times_sent for fetching in others] == [0, 0, 0]


@in_virtual_time
async def test_a_permit_that_is_held_for_too_long_comes_free() -> None:
    """Its worker does not end a download that is over, and so it is killed."""
    async with FakePool(most=1) as fake:
        first, second = fetch_several(fake, 2, timeout_seconds=180.0)
        await passed(180.0 + SPARE_SECONDS - SOME_SECONDS)
        assert isinstance(first.error, FetchTimeoutError)
        assert second.listener.times_sent == 1


@in_virtual_time
async def test_a_long_queue_that_moves_on_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    async with FakePool(most=1) as fake:
        fetchings = fetch_several(fake, 30, timeout_seconds=180.0)
        for _ in fetchings:
            await passed(100.0)
            (worker,) = fake.workers
            worker.complete_all(headers=[(b"Connection", b"close")])
        await settle()
        assert [fetching.error for fetching in fetchings] == [None] * 30
    said = warnings(caplog)
    # At 60 s, and each time after twice as long.
    assert 4 <= len(said) <= 6
    assert said[0].startswith(
        "Waiting for a permit for a TLS handshake with https://origin.example"
    )
    assert "): 29 requests, the first one for 60 s. " in said[0]


@in_virtual_time
async def test_the_longest_download_timeout_of_the_crawl_counts() -> None:
    async with FakePool(most=1) as fake:
        fake.fetch("/long", origin="https://other.example", timeout_seconds=3600.0)
        await settle()
        fake.workers[0].complete_all()
        _, waiting = fetch_several(fake, 2)
        await passed(3600.0 + SPARE_SECONDS - SOME_SECONDS)
        assert not waiting.is_done
        await passed(2 * SOME_SECONDS)
        assert isinstance(waiting.error, FetchTimeoutError)


@in_virtual_time
async def test_a_wait_for_a_worker_is_logged_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    """Workers that start, and neither come up nor exit, for longer than any hang timeout."""
    async with FakePool(starts=False, comes_up=False, hang_timeout_seconds=1000.0) as fake:
        waiting = fake.fetch()
        await passed(70.0)
        (said,) = warnings(caplog)
        assert said.startswith("Waiting for a worker (<Supervisor of [<Worker 0 (pid ")
        await passed(SPARE_SECONDS - 70.0 - SOME_SECONDS)
        assert not waiting.is_done
        await passed(2 * SOME_SECONDS)
        assert isinstance(waiting.error, FetchTimeoutError)
        assert "waited" in str(waiting.error)
        assert "for a worker (" in str(waiting.error)


@in_virtual_time
async def test_a_wait_for_a_worker_of_its_own_is_logged_and_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with FakePool(most=1) as fake:
        fake.fleet.comes_up = False
        waiting = fake.fetch(in_quarantine=True)
        await passed(70.0)
        assert warnings(caplog)[0].startswith("Waiting for a worker of its own (")
        assert not waiting.is_done
        fake.fleet.comes_up = True
        await passed(60.0)
        assert waiting.listener.times_sent == 1


@in_virtual_time
async def test_what_is_cancelled_waits_no_longer(caplog: pytest.LogCaptureFixture) -> None:
    async with FakePool(most=1) as fake:
        _, waiting = fetch_several(fake, 2)
        await settle()
        waiting.task.cancel()
        await passed(1000.0)
        assert warnings(caplog) == []


@in_virtual_time
async def test_each_wait_is_logged_at_the_same_time(caplog: pytest.LogCaptureFixture) -> None:
    async with FakePool(most=1) as fake:
        for number in (1, 2):
            fetch_several(fake, 2)
            await passed(130.0)
            assert len(warnings(caplog)) == 2 * number
            for _ in range(2):
                fake.workers[0].complete_all(headers=[(b"Connection", b"close")])
                await passed(SOME_SECONDS)


@in_virtual_time
async def test_short_waits_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with FakePool(most=1) as fake:
        for n in range(20):
            fetchings = fetch_several(fake, 2)
            await passed(25.0)
            for _ in fetchings:
                fake.workers[0].complete_all(headers=[(b"Connection", b"close")])
                await passed(5.0)
            assert [f.error for f in fetchings] == [None, None], n
        assert warnings(caplog) == []


@in_virtual_time
async def test_what_waits_when_the_pool_closes_fails(caplog: pytest.LogCaptureFixture) -> None:
    async with FakePool(most=1) as fake:
        _, waiting = fetch_several(fake, 2)
        await settle()
        await fake.pool.close()
        await settle()
        assert isinstance(waiting.error, WorkersExhaustedError)
        late = fake.fetch("/late")
        await settle()
        assert isinstance(late.error, WorkersExhaustedError)

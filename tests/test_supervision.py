"""Workers that die, hang, are recycled, and crawlers that go."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._ipc.messages import Hello, Profile, encode_profile
from scrapy_curl_safe._pool.batching import ResponseBatcher
from scrapy_curl_safe._pool.launcher import WorkerLauncher
from scrapy_curl_safe._pool.supervisor import Supervisor
from scrapy_curl_safe._pool.worker import Worker
from scrapy_curl_safe._pool.worker_limits import WorkerLimits
from testkit.crawling import Crawl, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way
from testkit.waiting import wait_until
from tests.fake_worker import RecordingEvents

# So many at once that each worker has some in flight at any time.
BUSY: dict[str, Any] = {"CONCURRENT_REQUESTS": 32, "CONCURRENT_REQUESTS_PER_DOMAIN": 32}


def kill_when_busy(crawl: Crawl, origin: TlsOrigin, how: signal.Signals) -> int:
    """Signal one worker while it has requests in flight."""
    crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
    before = len(origin.requests)
    # All that may be in flight: no worker is left without its share.
    crawl.wait_for(lambda: len(origin.requests) >= before + 40 and origin.in_service >= 20)
    victim = crawl.workers()[0]
    os.kill(victim, how)
    return victim


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_that_is_killed_is_replaced_and_its_requests_are_retried(
    start_crawl: StartCrawl, way: Way
) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawl = start_crawl(*urls(origin, 500), way=way, **BUSY)
        victim = kill_when_busy(crawl, origin, signal.SIGKILL)
        crawled = crawl.finish()
    assert crawled.numbers == list(range(500))
    lost = crawled.stat("worker/lost_request_count")
    assert lost == crawled.stats["retry/reason_count/worker_crashed"] > 0
    assert crawled.stat("worker/crash_count") == 1
    assert crawled.stat("worker/start_count") == 3
    died = re.search(
        rf"\(pid {victim}\) died \(SIGKILL\) with (\d+) requests in flight", crawled.log
    )
    # Those that had not been written to it went to the other one.
    assert died is not None
    assert int(died[1]) >= lost


def test_a_worker_that_hangs_is_killed_and_its_requests_are_retried(
    start_crawl: StartCrawl,
) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawl = start_crawl(*urls(origin, 500), CURL_SAFE_WORKER_HANG_TIMEOUT=1, **BUSY)
        victim = kill_when_busy(crawl, origin, signal.SIGSTOP)
        crawled = crawl.finish()
    assert crawled.numbers == list(range(500))
    assert crawled.stat("worker/hang_count") == 1
    assert crawled.stat("worker/crash_count") == 0
    assert crawled.stats["retry/reason_count/worker_hung"] > 0
    assert f"(pid {victim}) hung and was killed" in crawled.log


def test_a_crawler_that_is_blocked_does_not_take_its_workers_for_hung(
    start_crawl: StartCrawl,
) -> None:
    with TlsOrigin(delay=0.05) as origin:
        crawl = start_crawl(*urls(origin, 100), CURL_SAFE_WORKER_HANG_TIMEOUT=1)
        crawl.wait_for(lambda: len(origin.requests) >= 10)
        os.kill(crawl.process.pid, signal.SIGSTOP)
        resumed = time.monotonic() + 3
        wait_until(lambda: time.monotonic() >= resumed)
        os.kill(crawl.process.pid, signal.SIGCONT)
        crawled = crawl.finish()
    assert len(crawled.responses) == 100
    assert crawled.stat("worker/hang_count") == 0
    assert crawled.stat("loop_lag_max") > 1


@pytest.mark.parametrize(
    "setting", ["CURL_SAFE_WORKER_MAX_REQUESTS", "CURL_SAFE_WORKER_MAX_MEMORY_MB"]
)
def test_recycling_loses_no_request(crawl: RunCrawl, setting: str) -> None:
    with TlsOrigin(delay=0.02) as origin:
        crawled = crawl(*urls(origin, 300), **{setting: 20})  # type: ignore[arg-type]
        assert len(origin.requests) == 300
    assert crawled.numbers == list(range(300))
    assert crawled.errors == []
    assert crawled.stat("worker/recycle_count") > 0
    assert crawled.stat("worker/crash_count") == 0
    assert "retry/count" not in crawled.stats


def test_ctrl_c_lets_what_is_in_flight_finish(start_crawl: StartCrawl) -> None:
    with TlsOrigin(delay=0.3) as origin:
        crawl = start_crawl(*urls(origin, 500), CONCURRENT_REQUESTS=8)
        crawl.wait_for(lambda: len(origin.requests) >= 8)
        crawl.process.send_signal(signal.SIGINT)
        crawled = crawl.finish()
        assert len(crawled.responses) == len(origin.requests) < 500
    assert crawled.errors == []
    assert crawled.stats["finish_reason"] == "shutdown"
    assert crawled.stat("worker/crash_count") == 0


@pytest.mark.parametrize(
    ("is_there", "why", "starts"),
    [
        (False, "cannot start a worker: [Errno 2]", 0),
        (True, "a new worker ended with exit status 1", 9),
    ],
    ids=["missing", "broken"],
)
def test_workers_that_cannot_start_close_the_crawl(
    crawl: RunCrawl, tmp_path: Path, is_there: bool, why: str, starts: int
) -> None:
    interpreter = tmp_path / "python"
    if is_there:
        interpreter.write_text("#!/bin/sh\nexit 1\n")
        interpreter.chmod(0o755)
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, scenario=Scenario(interpreter=str(interpreter)))
        assert origin.accepted == 0
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"
    assert f"no worker can be had: {why}" in crawled.log
    assert crawled.responses == []
    # Both slots try, with growing waits, until eight starts in a row have failed.
    assert starts - 1 <= crawled.stat("worker/start_count") <= starts


def test_a_worker_whose_memory_runs_out_is_replaced(start_crawl: StartCrawl) -> None:
    with TlsOrigin(delay=0.05) as origin:
        crawl = start_crawl(*urls(origin, 200))
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        victim = crawl.workers()[0]
        subprocess.run(["prlimit", "--pid", str(victim), "--as=1:1"], check=True)
        crawled = crawl.finish()
    assert_all_pages(crawled, 200)


def test_a_crawl_that_fails_before_it_starts_leaves_no_worker(start_crawl: StartCrawl) -> None:
    crawl = start_crawl(
        ITEM_PIPELINES={"testkit.components.BrokenPipeline": 1}, scenario=Scenario(linger=True)
    )
    crawl.wait_for(lambda: crawl.lingers)
    assert "Spider opened" not in crawl.log
    # The first one was being prepared, and nothing was said to it.
    crawl.wait_for(lambda: crawl.workers() == [])


class Owner:
    """An owner of workers that waits until some are ready."""

    def __init__(self) -> None:
        self.ready: asyncio.Queue[Worker] = asyncio.Queue()

    def on_worker_ready(self, worker: Worker) -> None:
        self.ready.put_nowait(worker)

    def on_worker_lost(self, worker: Worker, exit_status: int) -> None:
        raise AssertionError("none is lost")

    def on_exhausted(self, reason: str) -> None:
        raise AssertionError(reason)


def test_one_that_was_released_and_is_slow_to_exit_holds_up_nobody(
    processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(processes))

    async def run() -> list[int]:
        owner = Owner()
        loop = asyncio.get_running_loop()
        supervisor = Supervisor(
            loop,
            WorkerLauncher.capture(),
            WorkerLimits(
                count=2,
                hang_timeout_seconds=30.0,
                max_requests=0,
                max_memory_mb=0,
                requests_at_once=16,
            ),
            Hello(profiles=[("default", encode_profile(Profile()))]),
            RecordingEvents(),
            owner,
            ResponseBatcher(loop.call_soon, 5_000_000),
        )
        supervisor.extend_quarantine(2)
        released = [await owner.ready.get() for _ in range(2)]
        for worker in released:
            os.kill(worker.process.pid, signal.SIGSTOP)
            supervisor.request_finished(worker)
        supervisor.extend_quarantine(1)
        successor = await owner.ready.get()
        pids = [worker.process.pid for worker in (*released, successor)]
        await supervisor.close()
        return pids

    pids = asyncio.run(run())
    assert len(set(pids)) == 3
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def test_the_first_worker_that_is_up_leaves_the_others_their_share(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawled = crawl(
            *urls(origin, 60),
            CURL_SAFE_WORKERS=3,
            CONCURRENT_REQUESTS=60,
            CONCURRENT_REQUESTS_PER_DOMAIN=60,
        )
    assert crawled.errors == []
    shares = Counter(r["meta"]["curl_safe_info"]["worker"] for r in crawled.responses)
    assert len(shares) == 3
    assert min(shares.values()) >= 10

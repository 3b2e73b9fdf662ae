"""Signals to a whole service: systemd, and `docker stop` without an init, signal all processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from scrapy_curl_safe._pool.launcher import WorkerLauncher
from testkit.crawling import Crawl, urls
from testkit.fixtures import StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.processes import descendants
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes

AT_ONCE: dict[str, Any] = {"CONCURRENT_REQUESTS": 8, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}


def signal_all(crawl: Crawl, number: signal.Signals) -> None:
    """Signal all processes of a crawl, the workers first: they have no time to be told."""
    workers = crawl.workers()
    assert workers
    for pid in [*workers, crawl.process.pid]:
        os.kill(pid, number)


def requested(origin: TlsOrigin) -> Counter[str]:
    return Counter(request.path for request in origin.requests)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_requests_in_flight_finish(start_crawl: StartCrawl, number: signal.Signals) -> None:
    with TlsOrigin(delay=1.0) as origin:
        crawl = start_crawl(*urls(origin, 100), **AT_ONCE)
        crawl.wait_for(lambda: origin.in_service >= 8)
        signal_all(crawl, number)
        crawled = crawl.finish()
        assert set(requested(origin).values()) == {1}
    assert crawled.errors == []
    assert len(crawled.responses) == len(origin.requests) < 100
    assert crawled.stats["finish_reason"] == "shutdown"
    assert crawled.stat("worker/crash_count") == 0


def test_a_job_that_is_resumed_sends_nothing_twice(start_crawl: StartCrawl, tmp_path: Path) -> None:
    settings = {**AT_ONCE, "JOBDIR": str(tmp_path / "job")}
    with TlsOrigin(delay=0.5) as origin:
        crawl = start_crawl(*urls(origin, 40), **settings)
        crawl.wait_for(lambda: origin.in_service >= 8)
        signal_all(crawl, signal.SIGTERM)
        first = crawl.finish()
        assert 0 < len(first.responses) < 40
        second = start_crawl(**settings).finish()
        assert set(requested(origin).values()) == {1}
    assert sorted(first.numbers + second.numbers) == list(range(40))
    assert first.errors == second.errors == []


def test_a_hang_up_that_the_crawler_handles_costs_no_worker(start_crawl: StartCrawl) -> None:
    """As programs do that read their configuration anew."""
    with TlsOrigin(delay=0.5) as origin:
        crawl = start_crawl(*urls(origin, 24), **AT_ONCE)
        crawl.wait_for(lambda: origin.in_service >= 8)
        for pid in crawl.workers():
            os.kill(pid, signal.SIGHUP)
        crawled = crawl.finish()
    assert crawled.numbers == list(range(24))
    assert crawled.stat("worker/crash_count") == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_worker_is_protected_from_its_first_instruction_on(number: signal.Signals) -> None:
    """The interpreter takes some time before it runs any code of a worker."""
    process = WorkerLauncher.capture().start()
    try:
        os.kill(process.pid, number)
        os.kill(process.pid, number)
        wait_until(lambda: is_set_up(process.pid))
        assert process.exit_status is None
    finally:
        process.stop()


def is_set_up(pid: int) -> bool:
    """Tell whether a process ignores SIGTERM and holds nothing back (proc_pid_status(5))."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    bit = 1 << (signal.SIGTERM - 1)
    return bool(int(fields["SigIgn"], 16) & bit) and not int(fields["SigBlk"], 16) & bit


def test_the_crawler_keeps_its_own_signals() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    process = WorkerLauncher.capture().start()
    try:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    finally:
        process.stop()


def test_workers_end_with_a_crawler_that_is_terminated(tmp_path: Path) -> None:
    """Without a handler of its own the crawler is gone at once, and its workers see that."""
    code = (
        "import time; from scrapy_curl_safe._pool.launcher import WorkerLauncher;"
        "process = WorkerLauncher.capture().start(); print(process.pid, flush=True); time.sleep(99)"
    )
    crawler = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert crawler.stdout is not None
    worker = int(crawler.stdout.readline())
    assert worker in [child.pid for child in descendants(crawler.pid)]
    for pid in (worker, crawler.pid):
        os.kill(pid, signal.SIGTERM)
    crawler.wait()
    crawler.stdout.close()
    wait_until(lambda: not psutil.pid_exists(worker))

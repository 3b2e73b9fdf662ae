"""The CPUs that workers run on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from scrapy_curl_safe._pool.affinity import WorkerAffinity, choose_cpus
from testkit.crawling import Crawl, urls
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Scenario
from testkit.waiting import burn, wait_until

if sys.platform != "linux":
    pytest.skip("only Linux lets processes choose their CPUs", allow_module_level=True)

ALL = os.sched_getaffinity(0)
needs_cpus = pytest.mark.skipif(len(ALL) < 2, reason="there is one CPU")


@pytest.mark.parametrize(
    ("allowed", "crawler_cpu", "load", "chosen"),
    [
        ({0, 1}, 0, 1.0, {1}),
        ({0, 1}, 1, 0.7, {0}),
        ({0, 1, 2, 3}, 2, 0.9, {0, 1, 3}),
        ({0, 1}, 0, 0.69, {0, 1}),
        ({0, 1}, 0, 0.0, {0, 1}),
        # The only one, or one that the crawler may not be on any more.
        ({3}, 3, 1.0, {3}),
        ({0, 1}, 5, 1.0, {0, 1}),
    ],
)
def test_choose_cpus(allowed: set[int], crawler_cpu: int, load: float, chosen: set[int]) -> None:
    assert choose_cpus(frozenset(allowed), crawler_cpu, load) == chosen


@pytest.fixture
def pid() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, text=True
    ) as process:
        yield process.pid
        process.kill()


@needs_cpus
@pytest.mark.processes
def test_a_process_is_kept_off_the_cpu_of_a_busy_thread_and_may_come_back(pid: int) -> None:
    affinity = WorkerAffinity()
    affinity.apply(pid)
    assert len(os.sched_getaffinity(pid)) == len(ALL) - 1

    def has_time() -> bool:  # between two reviews
        affinity.review([pid])
        return os.sched_getaffinity(pid) == ALL

    def is_busy() -> bool:
        affinity.review([pid])
        burn(0.002)  # within one time slice of a machine that has more to do
        return not has_time()

    for _ in range(2):
        wait_until(has_time)
        wait_until(is_busy)


@pytest.mark.processes
def test_a_process_that_has_ended_is_no_error() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(ProcessLookupError):
        os.sched_getaffinity(ended.pid)
    WorkerAffinity().apply(ended.pid)


@pytest.mark.processes
@needs_cpus
def test_workers_leave_its_cpu_to_a_busy_crawler(start_crawl: Callable[..., Crawl]) -> None:
    with TlsOrigin() as origin:
        crawl = start_crawl(*urls(origin, 100), scenario=Scenario(burn_seconds=0.05))
        crawl.wait_for(lambda: any(len(cpus_of(pid)) == len(ALL) - 1 for pid in crawl.workers()))
        crawled = crawl.finish()
    assert len(crawled.responses) == 100


@pytest.mark.processes
@needs_cpus
def test_workers_go_anywhere_where_the_crawler_has_time(start_crawl: Callable[..., Crawl]) -> None:
    with TlsOrigin(delay=0.5) as origin:
        crawl = start_crawl(*(f"{origin.url}/{n}" for n in range(200)))
        crawl.wait_for(
            lambda: (
                len(crawl.workers()) == 2 and all(cpus_of(pid) == ALL for pid in crawl.workers())
            )
        )


def cpus_of(pid: int) -> set[int]:
    try:
        return os.sched_getaffinity(pid)
    except ProcessLookupError:
        return set()

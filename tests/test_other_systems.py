"""Whole crawls on macOS and Windows. On Linux, other tests have more of each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "linux":
    pytest.skip("this is Linux", allow_module_level=True)

from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.scenario import WAYS, Way
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("way", WAYS)
def test_pages_over_tls_in_every_way_that_scrapy_runs(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(*urls(origin, 200), way=way)
    assert_all_pages(crawled, 200)
    assert crawled.stat("worker/crash_count") == 0


def test_no_worker_outlives_a_killed_crawler(start_crawl: StartCrawl, tmp_path: Path) -> None:
    with TlsOrigin(delay=3600) as origin:
        crawl = start_crawl(*urls(origin, 10))
        crawl.wait_for(lambda: origin.in_service > 0 and len(crawl.ready_workers) == 2)
        assert sorted(pid for _, pid in crawl.ready_workers) == worker_pids(tmp_path)
        crawl.kill()
        wait_until(lambda: not worker_pids(tmp_path))

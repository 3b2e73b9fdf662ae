"""Workers that are replaced when what they were started from has changed or gone."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe import _version
from testkit.crawling import ROOT, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Scenario

pytestmark = pytest.mark.processes

BUSY: dict[str, Any] = {"CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16}


def test_the_start_directory_may_be_removed(start_crawl: StartCrawl, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    with TlsOrigin(delay=0.1) as origin:
        crawl = start_crawl(*urls(origin, 100), cwd=here, env={"PYTHONPATH": str(ROOT)}, **BUSY)
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        here.rmdir()
        for pid in crawl.workers():
            os.kill(pid, signal.SIGKILL)
        crawled = crawl.finish()
    assert_all_pages(crawled, 100)
    assert crawled.stat("worker/start_count") == 4


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package, in a directory to start crawls in."""
    directory = tmp_path / "copy"
    shutil.copytree(
        Path(_version.__file__).parent,
        directory / "scrapy_curl_safe",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (directory / "testkit").symlink_to(ROOT / "testkit")
    return directory


def upgrade(copy: Path, what: str) -> None:
    package = copy / "scrapy_curl_safe"
    text = (package / "_version.py").read_text()
    (package / "_version.py").write_text(text.replace(_version.__version__, "99.0"))
    if what == "and another protocol":
        messages = package / "_ipc" / "messages.py"
        fields = ["    curl: str\n", "    max_descriptors: int\n"]
        text = messages.read_text()
        assert "".join(fields) in text
        messages.write_text(text.replace("".join(fields), "".join(reversed(fields))))


@pytest.mark.parametrize("what", ["the same protocol", "and another protocol"])
def test_an_upgrade_in_place_closes_the_crawl_and_keeps_its_requests(
    start_crawl: StartCrawl, copy: Path, tmp_path: Path, what: str
) -> None:
    settings: dict[str, Any] = {
        **BUSY,
        "JOBDIR": str(tmp_path / "job"),
        "CURL_SAFE_WORKER_MAX_REQUESTS": 20,
    }
    options: dict[str, Any] = {"cwd": copy, "env": {"PYTHONPATH": str(copy)}}
    with TlsOrigin(delay=0.1) as origin:
        # None may be retried: each that fails has failed for good.
        requests = [{"url": url, "meta": {"dont_retry": True}} for url in urls(origin, 200)]
        crawl = start_crawl(*requests, **options, **settings)
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2)
        upgrade(copy, what)
        first = crawl.finish()
        assert 0 < len(first.responses) < 200
        second = start_crawl(**options, **{**settings, "CURL_SAFE_WORKER_MAX_REQUESTS": 0}).finish()
        assert set(Counter(request.path for request in origin.requests).values()) == {1}
    assert first.stats["finish_reason"] == "curl_safe_no_worker"
    assert "scrapy_curl_safe was changed on disk while the crawl ran" in first.log
    assert first.errors == second.errors == []
    assert sorted(first.numbers + second.numbers) == list(range(200))


def test_requests_that_find_no_worker_are_kept_and_not_blamed(
    start_crawl: StartCrawl, copy: Path, tmp_path: Path
) -> None:
    """Both workers are gone at once, and none comes after them."""
    settings: dict[str, Any] = {**BUSY, "JOBDIR": str(tmp_path / "job")}
    options: dict[str, Any] = {"cwd": copy, "env": {"PYTHONPATH": str(copy)}}
    with TlsOrigin(delay=0.1) as origin:
        requests = [{"url": url, "meta": {"max_retry_times": 3}} for url in urls(origin, 100)]
        crawl = start_crawl(*requests, **options, **settings)
        crawl.wait_for(lambda: len(crawl.ready_workers) == 2 and origin.in_service)
        upgrade(copy, "the same protocol")
        for pid in crawl.workers():
            os.kill(pid, signal.SIGKILL)
        first = crawl.finish()
        second = start_crawl(**options, **settings).finish()
    assert first.stats["finish_reason"] == "curl_safe_no_worker"
    assert first.errors == second.errors == []
    assert sorted(first.numbers + second.numbers) == list(range(100))


def test_robots_txt_does_not_keep_a_crawl_without_workers_open(
    crawl: RunCrawl, tmp_path: Path
) -> None:
    """Scrapy asks for it beside the scheduler, again and again for as long as it is retried."""
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/false\n")
    broken.chmod(0o700)
    with TlsOrigin() as origin:
        crawled = crawl(
            *urls(origin, 4), ROBOTSTXT_OBEY=True, scenario=Scenario(interpreter=str(broken))
        )
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"
    assert crawled.responses == []

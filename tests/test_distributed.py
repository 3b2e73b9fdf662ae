"""Several crawls on one queue, and crawls that Scrapyd starts."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from testkit.crawling import ROOT
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids

PROJECT = ROOT / "example_project"

pytestmark = pytest.mark.processes
needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None or find_spec("scrapy_redis") is None,
    reason="needs redis-server and scrapy-redis",
)


def run(marker: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(marker), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_redis
@pytest.mark.timeout(1500)
def test_two_crawls_share_a_queue_and_one_of_them_is_stopped(tmp_path: Path) -> None:
    demo = run(tmp_path, "demo_distributed.py")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stdout.count("stopping one of two crawls after") == 2
    assert "0 cookies with two proxies, 0 with two fingerprints" in demo.stdout
    assert worker_pids(tmp_path) == []


@needs_redis
def test_what_is_asked_of_the_pool_survives_the_queue_and_its_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PROJECT))
    demo = importlib.import_module("demo_distributed")
    with (
        demo.redis_server(tmp_path) as url,
        TlsOrigin(drop=[True, False, True], requests_per_connection=1) as origin,
    ):
        spider = tmp_path / "firefox.py"
        spider.write_text(FIREFOX.replace("ORIGIN", origin.url))
        settings = ("-s", "ROBOTSTXT_OBEY=False", "-s", "PATIENCE=0")
        crawled = run(
            tmp_path,
            *("-m", "scrapy", "runspider", str(spider), *settings),
            SCRAPY_PROJECT="shared",
            REDIS_URL=url,
        )
        agents = [request.header("User-Agent") for request in origin.requests]
        paths = {request.path for request in origin.requests}
    assert crawled.returncode == 0, crawled.stderr
    assert paths == {f"/{n}" for n in range(6)}, crawled.stderr
    assert all(b"Firefox/" in (agent or b"") for agent in agents)
    assert "'curl_safe/handshake/recovered_count': 2" in crawled.stderr
    assert "'scheduler/dequeued/redis': 8" in crawled.stderr


FIREFOX = """
import scrapy

class Firefox(scrapy.Spider):
    name = "firefox"

    async def start(self):
        for n in range(6):
            yield scrapy.Request(f"ORIGIN/{n}", meta={"curl_safe": {"impersonate": "firefox133"}})

    def parse(self, response):
        pass
"""


@pytest.mark.skipif(find_spec("scrapyd") is None, reason="needs scrapyd")
def test_scrapyd_runs_the_crawl(tmp_path: Path) -> None:
    demo = run(tmp_path, "demo_scrapyd.py")
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "'curl_safe/handshake/recovered_count'" in demo.stdout
    assert worker_pids(tmp_path) == []

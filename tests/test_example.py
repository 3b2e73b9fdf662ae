"""The example project, as a new user runs it."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.crawling import ROOT
from testkit.processes import worker_pids

pytestmark = pytest.mark.processes
PROJECT = ROOT / "example_project"


def run(marker: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env={**os.environ, "TMPDIR": str(marker)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.syspath_prepend(str(PROJECT))
    local = importlib.import_module("docs_example.local_origin").LocalOrigin(drop=0.2)
    yield local.start()
    local.stop()


def test_the_demo_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And prints what the documentation has samples of."""
    demo = run(tmp_path, "demo.py")
    assert demo.returncode == 0, demo.stderr
    first, *_, last = demo.stdout.splitlines()
    assert first.startswith("The local origin drops 20% of the TLS handshakes on purpose: ")
    assert "0 duplicates, 0 missing" in demo.stdout
    assert last == "result      every page exactly once"
    assert "'curl_safe/handshake/failure_count/syscall'" in demo.stderr
    assert worker_pids(tmp_path) == []
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    samples = importlib.import_module("samples")
    printed = demo.stderr + demo.stdout
    readme, guide = (samples.refreshed(page.read_text(), printed) for page in samples.PAGES)
    assert demo.stdout.splitlines()[-2] in readme
    count = re.search(r"'curl_safe/request_count': \d+", demo.stderr)
    assert count is not None
    assert count[0] in guide


def test_the_demo_fails_where_pages_are_lost(tmp_path: Path) -> None:
    demo = run(tmp_path, "demo.py", "--drop", "1")
    assert demo.returncode == 1
    assert "not so: every page of the origin is an item" in demo.stdout
    assert "not so: no request was given up" in demo.stdout
    assert re.match(
        r"result      0 duplicates, (\d+) of \1 pages missing: /, /\S+(, /\S+){3} \.\.\.$",
        demo.stdout.splitlines()[-1],
    )


@pytest.mark.slow
def test_bodies_are_those_of_scrapys_own_handler(tmp_path: Path, origin: tuple[str, int]) -> None:
    url, pages = origin

    def bodies(name: str, *options: str) -> dict[str, str]:
        out = tmp_path / f"{name}.jsonl"
        command = ("-m", "scrapy", "crawl", "docs", "-a", f"url={url}", "-O", str(out))
        crawled = run(tmp_path, *command, *options)
        assert crawled.returncode == 0, crawled.stderr
        items = [json.loads(line) for line in out.read_text().splitlines()]
        assert len({i["url"] for i in items}) == len(items)
        return {i["url"]: i["sha256"] for i in items}

    ours = bodies("ours")
    fixed = bodies("fixed", "-s", "CURL_SAFE_BROWSER_HEADERS=static")
    scrapys = bodies("scrapys", "-s", "ADDONS={}", "-s", "RETRY_TIMES=20")
    assert len(ours) == pages
    assert ours == fixed == scrapys

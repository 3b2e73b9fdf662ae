"""Workers that do not keep to the protocol."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from testkit.crawling import ROOT, assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Scenario
from tests.liar import ENDS, LIES


def liar(tmp_path: Path, kind: str) -> Scenario:
    """Return the scenario of a crawl whose first worker lies in this way."""
    mark = tmp_path / "lied"
    command = shlex.join([sys.executable, str(ROOT / "tests/liar.py"), kind, str(mark)])
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {command} "$@"\n')
    interpreter.chmod(0o755)
    return Scenario(interpreter=str(interpreter))


@pytest.mark.parametrize("kind", [kind for kind in LIES if kind != "silent"])
def test_a_lie_ends_the_worker_and_not_the_crawl(
    crawl: RunCrawl, tmp_path: Path, kind: str
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(*urls(origin, 20), CURL_SAFE_WORKERS=1, scenario=liar(tmp_path, kind))
    assert (tmp_path / "lied").read_text()
    assert_all_pages(crawled, 20)
    assert crawled.stat("worker/crash_count") == 1
    assert crawled.stat("worker/start_count") == 2
    broke = "broke the protocol (" in crawled.log
    assert broke == (kind not in ENDS)
    assert "Traceback" not in crawled.log
    assert crawled.exit_code == 0


def test_a_worker_that_says_nothing_is_taken_for_hung(crawl: RunCrawl, tmp_path: Path) -> None:
    """The worker takes a request and sends no more heartbeats."""
    with TlsOrigin() as origin:
        crawled = crawl(
            *urls(origin, 20),
            CURL_SAFE_WORKERS=1,
            CURL_SAFE_WORKER_HANG_TIMEOUT=1,
            # The first request would be for the headers of the browser, and would go unanswered.
            CURL_SAFE_BROWSER_HEADERS="static",
            scenario=liar(tmp_path, "silent"),
        )
    assert crawled.numbers == list(range(20))
    assert crawled.stat("worker/hang_count") == 1
    assert crawled.stats["retry/reason_count/worker_hung"] > 0


def test_workers_that_all_lie_close_no_crawl_and_storm_no_machine(
    crawl: RunCrawl, tmp_path: Path
) -> None:
    """Each comes up, and breaks the protocol at once: a bound on starts holds."""
    scenario = liar(tmp_path, "not there")
    assert scenario.interpreter is not None
    script = Path(scenario.interpreter)
    script.write_text(script.read_text().replace(str(tmp_path / "lied"), '"$(mktemp -u)"'))
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url, CURL_SAFE_WORKERS=1, CURL_SAFE_BROWSER_HEADERS="static", scenario=scenario
        )
    assert [error["type"] for error in crawled.errors] == ["WorkerCrashedError"]
    assert "ended even the worker that it had for itself" in crawled.log
    assert crawled.stat("worker/crash_count") == 3
    assert crawled.stat("worker/quarantine_count") == 1

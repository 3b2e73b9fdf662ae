"""A crawl as the documentation has it run in a container, with its limits and without Docker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from testkit.cgroups import Group
from testkit.container import MEMORY_MB, NoContainerError, container
from testkit.crawling import ROOT, Crawl, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.certs import certs
from testkit.origins.tls import TlsOrigin
from testkit.processes import descendants
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes
PROJECT = ROOT / "example_project"
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
AT_ONCE: dict[str, Any] = {"CONCURRENT_REQUESTS": 8, "CONCURRENT_REQUESTS_PER_DOMAIN": 8}


def instruction(name: str) -> str:
    """Return the arguments of the last such instruction of the Dockerfile."""
    found = re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
    return str(found[-1])


@pytest.fixture(scope="module")
def boxed() -> Iterator[tuple[list[str], Group]]:
    """The words to put before a command that is to run in a container, and its group."""
    try:
        with container(int(instruction("USER"))) as made:
            yield made
    except NoContainerError as error:
        pytest.skip(str(error))


@pytest.fixture
def around(boxed: tuple[list[str], Group]) -> Iterator[list[str]]:
    """As `boxed`; nothing is left in the container when a test ends."""
    words, group = boxed
    yield words
    wait_until(lambda: group.pids() == [])


def crawler_of(crawl: Crawl) -> int:
    """Return the pid of PID 1 of the container, as the machine sees it."""
    (first,) = (p.pid for p in descendants(crawl.process.pid) if _is_first(p.pid))
    return first


def _is_first(pid: int) -> bool:
    pids = re.search(r"^NSpid:(.+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return pids is not None and pids[1].split()[1:] == ["1"]


def test_a_crawl(crawl: RunCrawl, around: list[str]) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(*urls(origin, 200), around=around, **AT_ONCE)
    assert_all_pages(crawled, 200)
    assert crawled.exit_code == 0
    assert crawled.stat("worker/crash_count") == 0
    assert "is refused" not in crawled.log


def test_the_signal_of_docker_stop_ends_a_crawl(start_crawl: StartCrawl, around: list[str]) -> None:
    """Requests in flight finish. A worker that was killed before is no zombie by then."""
    with TlsOrigin(delay=0.5) as origin:
        crawl = start_crawl(*urls(origin, 400), around=around, **AT_ONCE)
        crawl.wait_for(lambda: origin.in_service >= 8)
        worker = crawl.workers()[0]
        os.kill(worker, signal.SIGKILL)
        crawl.wait_for(lambda: not psutil.pid_exists(worker))
        os.kill(crawler_of(crawl), signal.SIGTERM)
        crawled = crawl.finish()
    assert crawled.stats["finish_reason"] == "shutdown"
    assert crawled.exit_code == 0
    assert crawled.stat("worker/crash_count") == 1
    assert 0 < len(crawled.responses) < 400


def test_the_doctor_finds_no_problem(around: list[str]) -> None:
    done = subprocess.run(
        [*around, sys.executable, "-m", "scrapy", "curlsafe", "doctor", "--json"],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    found = {finding["check"]: finding for finding in json.loads(done.stdout)["checks"]}
    assert (done.returncode, [f for f in found.values() if f["status"] == "problem"]) == (0, [])
    assert f"MB free of {MEMORY_MB} MB by /" in found["memory"]["value"]
    assert " free of 64 processes and threads by /" in found["tasks"]["value"]


def test_the_command_of_the_dockerfile(around: list[str]) -> None:
    """As JSON: otherwise a shell would be PID 1, and pass on no signal."""
    assert int(instruction("USER")) > 0
    (scrapy,), command = json.loads(instruction("ENTRYPOINT")), json.loads(instruction("CMD"))
    environment = dict(word.split("=", 1) for word in instruction("ENV").split())
    program = str(Path(sys.executable).with_name(scrapy))
    with TlsOrigin() as origin:
        done = subprocess.run(
            [*around, program, *command, "-a", f"url={origin.url}/"],
            cwd=PROJECT,
            env={**os.environ, **environment, "SSL_CERT_FILE": str(certs().ca_pem)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert sorted(request.path for request in origin.requests) == ["/", "/robots.txt"]
    assert "INFO: Spider closed (finished)" in done.stderr
    assert "is refused" not in done.stderr

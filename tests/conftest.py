from __future__ import annotations

import select
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import hypothesis
import pytest

from testkit.crawling import ROOT, Crawl, Crawled, Wanted
from testkit.fixtures import MakeOrigin, RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.scenario import Scenario, Way
from testkit.waiting import wait_until

_STARTS_OF_PROCESSES = ("subprocess.Popen", "os.fork", "os.posix_spawn", "pty.spawn")
_may_start_processes = True

# How long an example takes says nothing on a machine that is shared.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "processes" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.processes)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global _may_start_processes  # noqa: PLW0603
    _may_start_processes = item.get_closest_marker("processes") is not None
    yield
    _may_start_processes = True


def _check_mark(event: str, args: tuple[object, ...]) -> None:
    """Fail a test that starts a process and has no mark to keep it out of `make test-fast`."""
    if event in _STARTS_OF_PROCESSES and not _may_start_processes:
        raise RuntimeError("this test starts a process: mark it as `processes`")


sys.addaudithook(_check_mark)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Path]:
    """The TMPDIR for the processes that a test starts. Their workers are gone when it ends."""
    yield tmp_path
    # A worker sees the end of its crawler at once, and may be about to exit.
    wait_until(lambda: not worker_pids(tmp_path))


@pytest.fixture
def start_crawl(processes: Path) -> Iterator[StartCrawl]:
    crawls: list[Crawl] = []

    def start(
        *requests: Wanted,
        way: Way = "asyncio",
        env: Mapping[str, str] | None = None,
        limit: tuple[str, str] | None = None,
        around: Sequence[str] = (),
        module: str = "testkit.runner",
        scenario: Scenario | None = None,
        cwd: Path = ROOT,
        **settings: Any,
    ) -> Crawl:
        crawls.append(
            Crawl(
                requests,
                settings,
                marker=processes,
                way=way,
                env=env,
                limit=limit,
                around=around,
                module=module,
                scenario=scenario,
                cwd=cwd,
            )
        )
        return crawls[-1]

    yield start
    for crawl in crawls:
        crawl.kill()


@pytest.fixture
def crawl(start_crawl: StartCrawl, request: pytest.FixtureRequest) -> RunCrawl:
    """Run a crawl of these requests with these settings to its end.

    A module whose tests are to run in every way that Scrapy can has `in_every_way` as mark.
    """
    default: Way = getattr(request, "param", "asyncio")

    def run(*requests: Wanted, way: Way = default, **arguments: Any) -> Crawled:
        return start_crawl(*requests, way=way, **arguments).finish()

    return run


# Only Linux has epoll's reactor.
_OTHER_REACTOR = "epoll" if hasattr(select, "epoll") else "select"
in_every_way = pytest.mark.parametrize("crawl", ["asyncio", _OTHER_REACTOR, "none"], indirect=True)
# The same, but what a reactor hardly has a part in runs on the other one only among the slow tests.
in_most_ways = pytest.mark.parametrize(
    "crawl",
    ["asyncio", pytest.param(_OTHER_REACTOR, marks=pytest.mark.slow), "none"],
    indirect=True,
)


@pytest.fixture(
    params=[{"tls": False}, {}, {"alpn": ("h2",)}],
    ids=["HTTP/1.1 over TCP", "HTTP/1.1 over TLS", "HTTP/2"],
)
def make_origin(request: pytest.FixtureRequest) -> MakeOrigin:
    """Make origins; a test runs with each protocol in turn."""
    return cast("MakeOrigin", partial(TlsOrigin, **request.param))

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from testkit.crawling import Crawl, Crawled, worker_pids
from testkit.origins.tls import TlsOrigin
from testkit.waiting import wait_until

WAYS = ("asyncio", "epoll", "select", "none")


@pytest.fixture
def start_crawl(tmp_path: Path) -> Iterator[Callable[..., Crawl]]:
    crawls: list[Crawl] = []

    def start(
        *requests: str | dict[str, Any],
        way: str = "asyncio",
        env: dict[str, str] | None = None,
        limit: tuple[str, str] | None = None,
        **settings: Any,
    ) -> Crawl:
        crawls.append(Crawl(list(requests), settings, way, tmp_path, env or {}, limit))
        return crawls[-1]

    yield start
    for crawl in crawls:
        if crawl.process.poll() is None:
            crawl.process.kill()
        crawl.process.wait()
    # A worker sees the end of its crawler at once, and may be about to exit.
    wait_until(lambda: not worker_pids(tmp_path))


@pytest.fixture
def crawl(
    start_crawl: Callable[..., Crawl], request: pytest.FixtureRequest
) -> Callable[..., Crawled]:
    """Run a crawl of these requests with these settings to its end.

    A module whose tests are to run in every way that Scrapy can has `in_every_way` as mark.
    """
    default = getattr(request, "param", "asyncio")

    def run(*requests: str | dict[str, Any], way: str = default, **arguments: Any) -> Crawled:
        return start_crawl(*requests, way=way, **arguments).finish()

    return run


in_every_way = pytest.mark.parametrize("crawl", ["asyncio", "epoll", "none"], indirect=True)


@pytest.fixture(
    params=[{"tls": False}, {}, {"alpn": ("h2",)}],
    ids=["HTTP/1.1 over TCP", "HTTP/1.1 over TLS", "HTTP/2"],
)
def make_origin(request: pytest.FixtureRequest) -> Callable[..., TlsOrigin]:
    """An origin of each protocol in turn."""
    return partial(TlsOrigin, **request.param)

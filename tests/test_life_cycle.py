"""Handlers that are built, used and closed in other ways than Scrapy's by default."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testkit.crawling import ROOT, assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.scenario import WAYS, Way
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("handler", ["LazyHandler", "CompositeHandler"])
def test_a_handler_that_is_built_after_the_spider_has_opened(
    crawl: RunCrawl, way: Way, handler: str
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            *urls(origin, 8),
            way=way,
            DOWNLOAD_HANDLERS=dict.fromkeys(("http", "https"), f"testkit.components.{handler}"),
        )
    assert_all_pages(crawled, 8)
    assert crawled.stat("worker/start_count") == 2


ALONE = """
import asyncio
from scrapy import Request, Spider
from scrapy.exceptions import DownloadFailedError
from scrapy.utils.misc import build_from_crawler
from scrapy.utils.test import get_crawler
from scrapy_curl_safe import CurlSafeDownloadHandler

async def main():
    crawler = get_crawler(Spider, {settings!r})
    handler = build_from_crawler(CurlSafeDownloadHandler, crawler)
    response = await handler.download_request(Request({url!r}))
    print(response.status)
    await handler.close()
    await handler.close()
    try:
        await handler.download_request(Request({url!r}))
    except DownloadFailedError as error:
        print(error)

{run}
"""
ON_ASYNCIO = "asyncio.run(main())"
ON_A_REACTOR = """
from scrapy.utils.reactor import install_reactor
install_reactor("twisted.internet.%s")
from twisted.internet.defer import Deferred
from twisted.internet.task import react
react(lambda reactor: Deferred.fromCoroutine(main()))
"""


@pytest.mark.parametrize(
    ("run", "settings"),
    [
        (ON_ASYNCIO, {"TWISTED_REACTOR_ENABLED": False}),
        (ON_A_REACTOR % "epollreactor.EPollReactor", {"TWISTED_REACTOR": None}),
    ],
    ids=["asyncio", "epoll"],
)
def test_a_handler_alone(processes: Path, run: str, settings: dict[str, Any]) -> None:
    """As Scrapy's tests use handlers: no engine, no spider that opens, no signal at all."""
    with TlsOrigin() as origin:
        code = ALONE.format(url=origin.url, settings=settings, run=run)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"TMPDIR": str(processes), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert done.stdout.splitlines() == ["200", "the download handler is closed"], done.stderr
    wait_until(lambda: not worker_pids(processes))


OURS, ZYTES = "scrapy_curl_safe.Addon", "scrapy_zyte_api.Addon"
# So that its add-on changes nothing but the handlers, and no request goes to its API.
ZYTE: dict[str, Any] = {"ZYTE_API_KEY": "none", "ZYTE_API_TRANSPARENT_MODE": False}


def test_an_add_on_that_comes_after_has_this_handler_as_its_own_fallback(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(*urls(origin, 8), ADDONS={OURS: 500, ZYTES: 600}, **ZYTE)
    assert_all_pages(crawled, 8)
    assert all("curl_safe_info" in response["meta"] for response in crawled.responses)
    assert crawled.stat("request_count") == 8


def test_an_add_on_that_comes_before_is_an_error(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, ADDONS={OURS: 500, ZYTES: 400}, **ZYTE)
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    assert (
        "DOWNLOAD_HANDLERS has scrapy_zyte_api.handler.ScrapyZyteAPIHTTPDownloadHandler for http "
        "already: give scrapy_curl_safe.Addon a lower order in ADDONS"
    ) in crawled.log

"""Requests that wait for a session, also in a crawl that is stopped."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import NoSessionError
from scrapy_curl_safe._crawl import session_waits
from scrapy_curl_safe._crawl.meta import REFUSALS, WAITED, reset_if_no_session
from scrapy_curl_safe._crawl.session_waits import SessionWaits
from testkit.crawling import Crawl, assert_all_pages, urls
from testkit.fixtures import StartCrawl
from testkit.origins.tls import Reply, SeenRequest
from testkit.origins.visitors import AddressProxy, VisitorsOrigin
from testkit.scenario import Scenario, Way

# No proxy and no origin says when to come back before that.
LONG_SECONDS = 60.0
CLOSING = "the crawl is closing, and no session is free"

COME_BACK_LATER = Reply(status=503, headers=[(b"Retry-After", b"600")])


# A crawl that is stopped


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("way", ["asyncio", "none"])
def test_a_crawl_that_waits_for_robots_txt_ends(
    start_crawl: StartCrawl, tmp_path: Path, way: Way, number: signal.Signals
) -> None:
    """The pages are kept, and come when the crawl goes on with a proxy that works."""
    with AddressProxy(200) as dead:
        pass
    settings: dict[str, Any] = {"JOBDIR": str(tmp_path / "crawl"), "ROBOTSTXT_OBEY": True}
    with VisitorsOrigin() as origin:
        first = start_crawl(
            *urls(origin, 5), way=way, CURL_SAFE_SESSIONS={"proxies": [dead.url]}, **settings
        )
        first.wait_for(lambda: "The only proxy of CURL_SAFE_SESSIONS rests" in first.log)
        first.process.send_signal(number)
        stopped = first.finish(LONG_SECONDS)
        assert stopped.stats["finish_reason"] == "shutdown"
        assert stopped.responses == stopped.errors == []
        assert CLOSING in stopped.log
        assert "AlreadyCalled" not in stopped.log
        with AddressProxy(2) as proxy:
            continued = start_crawl(CURL_SAFE_SESSIONS={"proxies": [proxy.url]}, **settings)
            assert_all_pages(continued.finish(), 5)


def crawl_with_a_file_that_waits(start: StartCrawl, tmp_path: Path, **more: Any) -> Crawl:
    """Start a crawl whose first response asks its session to wait, before the file of its item."""

    def app(seen: SeenRequest) -> Reply:
        return COME_BACK_LATER

    with VisitorsOrigin(app=app) as busy, VisitorsOrigin() as other:
        crawl = start(
            {
                "url": busy.url,
                "meta": {"handle_httpstatus_list": [503], "dont_retry": True},
                "then": [{"url": other.url}],
            },
            CURL_SAFE_SESSIONS={},
            CONCURRENT_ITEMS=2,
            ITEM_PIPELINES={"scrapy_curl_safe.FilesPipeline": 1},
            FILES_STORE=str(tmp_path / "files"),
            scenario=Scenario(file_urls=(f"{busy.url}/file",), **more),
        )
        crawl.wait_for(lambda: "Crawled (200)" in crawl.log)
    return crawl


@pytest.mark.processes
def test_a_crawl_whose_files_wait_ends(start_crawl: StartCrawl, tmp_path: Path) -> None:
    crawl = crawl_with_a_file_that_waits(start_crawl, tmp_path)
    crawl.process.send_signal(signal.SIGTERM)
    crawled = crawl.finish(LONG_SECONDS)
    assert crawled.stats["finish_reason"] == "shutdown"
    assert CLOSING in crawled.log
    assert crawled.stats["item_scraped_count"] >= 1


@pytest.mark.processes
def test_so_does_one_that_its_spider_closes(start_crawl: StartCrawl, tmp_path: Path) -> None:
    crawl = crawl_with_a_file_that_waits(start_crawl, tmp_path, close_spider_at=2)
    crawled = crawl.finish(LONG_SECONDS)
    assert crawled.stats["finish_reason"] == "enough"
    assert CLOSING in crawled.log
    assert crawled.stats["item_scraped_count"] == 1


# One request


class Waits:
    """Waits of a crawl, for which there is no session, without the time that they take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_closing = False
        self.crawler: Crawler = get_crawler(Spider)
        self.crawler.engine = SimpleNamespace()  # type: ignore[assignment]
        self.waits = SessionWaits(self.crawler, 1)

        async def sleep(seconds: float) -> None: ...

        monkeypatch.setattr(session_waits, "_sleep", sleep)
        monkeypatch.setattr(session_waits, "is_closing", lambda crawler: self.is_closing)

    def back(self, request: Request, *, seconds: float = 100.0) -> Request:
        found = asyncio.run(self.waits.find(request, "https://a.test:443", lambda: seconds))
        assert isinstance(found, Request)
        return found

    def schedule(self, request: Request) -> Request:
        self.crawler.signals.send_catch_log(signals.request_scheduled, request=request)
        return request


def parse(response: Response) -> None: ...


def test_a_request_goes_back_with_a_lower_priority_once(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    request = waits.back(Request("https://a.test", priority=5))
    assert [request.priority, waits.back(request).priority] == [4, 4]


def test_when_the_crawl_closes_the_scheduler_keeps_its_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    waited = waits.schedule(waits.back(Request("https://a.test", parse)))
    waits.is_closing = True
    assert waits.back(waited)
    assert waits.back(Request("https://a.test", parse))


@pytest.mark.parametrize("seconds", [0.5, 100.0])
def test_when_the_crawl_closes_others_fail(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    waits = Waits(monkeypatch)
    # One that a callback downloads, and which went back once.
    waited = waits.back(Request("https://a.test"))
    waits.is_closing = True
    for request in (waited, Request("https://a.test", NO_CALLBACK)):
        with pytest.raises(NoSessionError, match=f"^https://a.test:443: {CLOSING}$"):
            waits.back(request, seconds=seconds)
        assert request.meta["dont_retry"]


def test_a_request_waits_for_an_hour_and_once_more_if_it_is_sent_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits = Waits(monkeypatch)
    request = Request("https://a.test", meta={WAITED: 3598.5, REFUSALS: 3})
    request = waits.back(request)
    with pytest.raises(NoSessionError, match="no session could be had for an hour"):
        waits.back(request)
    assert request.meta["dont_retry"]
    reset_if_no_session(request.meta)
    assert request.meta == {}
    assert waits.back(request)


def test_what_a_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    request = Request("https://a.test", meta={WAITED: 3600.0, "dont_retry": True})
    with pytest.raises(NoSessionError):
        waits.back(request)
    reset_if_no_session(request.meta)
    assert request.meta["dont_retry"]

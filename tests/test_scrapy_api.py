"""Undocumented names of Scrapy: a contract for each, and crawls without them."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Literal

import pytest
import scrapy.http
from pydispatch import dispatcher
from scrapy import Request, Spider, signals
from scrapy.core.downloader import Downloader
from scrapy.core.engine import ExecutionEngine
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.http import Headers, HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from scrapy.utils.test import get_crawler

from scrapy_curl_safe._crawl import scrapy_api
from scrapy_curl_safe._crawl.places import Places
from scrapy_curl_safe._crawl.scrapy_api import DownloadSignals
from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario

BINARY = b"\x01\x02"
PAIRS = [(b"content-type", b"text/html"), (b"Set-Cookie", b"a=1"), (b"set-cookie", b"b=2")]


@pytest.fixture
def crawler() -> Crawler:
    return get_crawler(Spider)


# The contract of each name


def test_a_receiver_shows_while_it_is_connected(crawler: Crawler) -> None:
    download = DownloadSignals(crawler)
    assert not download.have_receivers()

    def receive() -> None: ...

    for signal in (signals.headers_received, signals.bytes_received):
        crawler.signals.connect(receive, signal)
        assert download.have_receivers()
        crawler.signals.disconnect(receive, signal)
        assert not download.have_receivers()


def test_a_receiver_of_all_senders_shows(crawler: Crawler) -> None:
    def receive() -> None: ...

    dispatcher.connect(receive, signals.bytes_received)
    try:
        assert DownloadSignals(crawler).have_receivers()
    finally:
        dispatcher.disconnect(receive, signals.bytes_received)


def test_headers_are_those_that_scrapy_would_make() -> None:
    headers = scrapy_api.make_headers(PAIRS)
    assert headers == Headers({"Content-Type": "text/html", "Set-Cookie": ["a=1", "b=2"]})
    assert headers.getlist("SET-COOKIE") == [b"a=1", b"b=2"]
    assert list(scrapy_api.header_items(headers)) == list(dict.items(headers))
    assert scrapy_api.has_header(headers, b"set-COOKIE")
    assert not scrapy_api.has_header(headers, b"Cookie")


def test_the_engine_has_what_closing_a_crawl_needs() -> None:
    assert callable(ExecutionEngine.close_spider_async)
    names = set(ExecutionEngine.__init__.__code__.co_names)
    assert {"running", "start_time"} <= names


def test_the_engine_has_what_shows_that_it_closes() -> None:
    source = inspect.getsource(ExecutionEngine.needs_backout)
    parts = ("self.running", "closing", "self.downloader.needs_backout", "slot.needs_backout")
    assert all(part in source for part in parts)
    assert "self.scraper" in inspect.getsource(ExecutionEngine)


def test_the_cookie_middleware_has_a_jar_for_each_key() -> None:
    jars = CookiesMiddleware().jars
    assert list(jars["a"]) == []
    assert jars.pop("a", None) is not None
    assert "a" not in jars


def test_the_engine_has_what_giving_up_a_place_needs() -> None:
    source = inspect.getsource(ExecutionEngine)
    assert "self.downloader" in source
    assert "nextcall.schedule" in source
    downloader = Downloader(get_crawler(Spider))
    assert downloader.active == set()
    assert downloader.slots == {}
    assert downloader.get_slot_key(Request("https://a.test/")) == "a.test"


def test_scrapy_has_a_handler_for_each_scheme(crawler: Crawler) -> None:
    for scheme in ("http", "https"):
        path = scrapy_api.default_handler_path(crawler, scheme)
        module, _, name = path.rpartition(".")
        assert hasattr(importlib.import_module(module), name)


def test_the_defaults_are_what_scrapy_sends(crawler: Crawler) -> None:
    assert scrapy_api.DEFAULT_HEADERS[b"user-agent"].startswith(b"Scrapy/")
    assert b"accept-language" in scrapy_api.DEFAULT_HEADERS
    assert b"gzip" in scrapy_api.OFFERED_ENCODINGS.split(b", ")


# Without a name


class Without:
    """Imports the module anew with other modules in place of some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, **modules: ModuleType | None) -> Any:
        for name, module in modules.items():
            self._monkeypatch.setitem(sys.modules, name.replace("__", "."), module)
        spec = importlib.util.find_spec(scrapy_api.__name__)
        assert spec is not None
        assert spec.loader is not None
        anew = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(anew)
        return anew


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    return Without(monkeypatch)


def stub(**names: Any) -> Any:
    return SimpleNamespace(**names)


@pytest.mark.parametrize(
    "pydispatch",
    [
        None,
        stub(dispatcher=stub()),
        stub(dispatcher=stub(connections={}, Any=object())),
        stub(dispatcher=stub(connections=None, Any=object())),
    ],
    ids=["no module", "no names", "a table that stays empty", "no table"],
)
def test_without_the_table_of_receivers_each_download_is_heard(
    without: Without, crawler: Crawler, caplog: pytest.LogCaptureFixture, pydispatch: Any
) -> None:
    download = without(pydispatch=pydispatch).DownloadSignals(crawler)
    assert download.have_receivers()
    (record,) = (r for r in caplog.records if "headers_received" in r.getMessage())
    assert record.levelname == "WARNING"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("text/html; charset=utf-8", HtmlResponse),
        ("application/xhtml+xml", HtmlResponse),
        ("application/xml", XmlResponse),
        ("application/atom+xml", XmlResponse),
        ("application/json", JsonResponse),
        ("text/plain", TextResponse),
        ("image/png", Response),
    ],
)
def test_without_the_response_types_the_content_type_decides(
    without: Without, content_type: str, expected: type[Response]
) -> None:
    api = without(scrapy__responsetypes=None)
    for module in (api, scrapy_api):
        headers = module.make_headers([(b"Content-Type", content_type.encode())])
        assert module.response_class(headers, "https://origin.example/", BINARY) is expected
    assert api.response_class(Headers(), "https://origin.example/", b"<html>") is Response


def test_a_compressed_body_has_no_type_yet(without: Without) -> None:
    pairs = [(b"Content-Type", b"text/html"), (b"Content-Encoding", b"gzip")]
    for module in (without(scrapy__responsetypes=None), scrapy_api):
        headers = module.make_headers(pairs)
        assert module.response_class(headers, "https://origin.example/", BINARY) is Response


def test_without_its_encodings_less_is_asked_for(without: Without) -> None:
    documented = stub(HttpCompressionMiddleware=HttpCompressionMiddleware)
    api = without(scrapy__downloadermiddlewares__httpcompression=documented)
    assert api.OFFERED_ENCODINGS == b"gzip, deflate"


def test_headers_that_are_no_dicts_are_made_by_their_methods(
    without: Without, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other:
        """Headers as they may be one day."""

        def __init__(self) -> None:
            self.lists: dict[bytes, list[bytes]] = {}

        def appendlist(self, name: bytes, value: bytes) -> None:
            self.lists.setdefault(name.lower(), []).append(value)

        def items(self) -> list[tuple[bytes, list[bytes]]]:
            return list(self.lists.items())

        def __contains__(self, name: bytes) -> bool:
            return name.lower() in self.lists

    monkeypatch.setattr(scrapy.http, "Headers", Other)
    api = without()
    headers = api.make_headers(PAIRS)
    assert isinstance(headers, Other)
    assert list(api.header_items(headers)) == [
        (b"content-type", [b"text/html"]),
        (b"set-cookie", [b"a=1", b"b=2"]),
    ]
    assert api.has_header(headers, b"Set-Cookie")
    assert not api.has_header(headers, b"Cookie")


# Crawls without them


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    def site(seen: SeenRequest) -> Reply:
        return Reply(headers=[(b"Content-Type", b"text/html")], body=b"x" * 100_000)

    with TlsOrigin(site) as origin:
        yield origin


WITHOUT_NAMES = "tests.without_scrapy_names"


@pytest.mark.processes
@pytest.mark.parametrize("signal", ["headers_received", "bytes_received"])
def test_a_download_can_still_be_stopped(
    crawl: RunCrawl, origin: TlsOrigin, signal: Literal["headers_received", "bytes_received"]
) -> None:
    crawled = crawl(
        f"{origin.url}/stop",
        f"{origin.url}/go",
        module=WITHOUT_NAMES,
        scenario=Scenario(stop_at=signal, stop_path="/stop"),
    )
    assert crawled.errors == []
    flags = {response["url"]: response["flags"] for response in crawled.responses}
    assert flags == {f"{origin.url}/stop": ["download_stopped"], f"{origin.url}/go": []}
    assert crawled.log.count("headers_received and bytes_received have receivers") == 1


@pytest.mark.processes
def test_pages_are_those_of_a_crawl_with_all_names(crawl: RunCrawl, origin: TlsOrigin) -> None:
    kept = ("number", "status", "headers", "body", "class", "flags", "protocol")
    pages = []
    for module in ("testkit.runner", WITHOUT_NAMES):
        crawled = crawl(*urls(origin, 20), module=module)
        assert_all_pages(crawled, 20)
        responses = sorted(crawled.responses, key=lambda response: response["number"])
        pages.append([{key: response[key] for key in kept} for response in responses])
    assert pages[0] == pages[1]


# The state of the engine


def engine(**names: Any) -> SimpleNamespace:
    """An engine that runs; `full` names what has too many requests, and `closing` is said too."""

    def part(is_full: bool) -> SimpleNamespace:
        return SimpleNamespace(needs_backout=lambda: is_full)

    full = names.pop("full", "")
    shown = {
        "start_time": 1.0,
        "running": True,
        "needs_backout": lambda: bool(full),
        "downloader": part(full == "downloader"),
        "scraper": SimpleNamespace(slot=part(full == "scraper")),
    }
    return SimpleNamespace(**{**shown, **names})


@pytest.mark.parametrize(
    ("names", "is_closing"),
    [
        ({}, False),
        ({"full": "downloader"}, False),
        ({"full": "scraper"}, False),
        ({"full": "closing"}, True),
        ({"running": False}, True),
        ({"running": False, "full": "downloader"}, True),
        ({"running": False, "start_time": None}, False),
    ],
)
def test_a_crawl_that_is_being_closed_shows_it(
    crawler: Crawler, names: dict[str, Any], is_closing: bool
) -> None:
    crawler.engine = engine(**names)  # type: ignore[assignment]
    assert scrapy_api.is_closing(crawler) == is_closing


def test_without_names_only_one_that_is_stopped_does(crawler: Crawler) -> None:
    assert not scrapy_api.is_closing(crawler)
    for running in (True, False):
        crawler.engine = SimpleNamespace(running=running, start_time=1.0)  # type: ignore[assignment]
        assert scrapy_api.is_closing(crawler) != running


# Places


class ShownDownloader:
    """Stand-in for Scrapy's downloader, with one active request."""

    def __init__(self, request: Request) -> None:
        self.active = {request}
        self.slots = {"a.test": SimpleNamespace(active=set())}

    def get_slot_key(self, request: Request) -> str:
        return "a.test"


@pytest.mark.parametrize(
    ("missing", "leaves"),
    [
        (None, True),
        ("slots", True),
        ("get_slot_key", True),
        ("active", False),
        ("downloader", False),
    ],
)
def test_a_request_leaves_its_place_as_far_as_scrapy_lets_it(
    crawler: Crawler, missing: str | None, leaves: bool
) -> None:
    request = Request("https://a.test/")
    shown = ShownDownloader(request)
    names = {"active", "slots", "get_slot_key"} - {missing}
    downloader = SimpleNamespace(**{name: getattr(shown, name) for name in names})
    attributes = {} if missing == "downloader" else {"downloader": downloader}
    crawler.engine = Engine(**attributes)  # type: ignore[assignment]
    places = Places(crawler, 1)
    assert places.leave(request) is leaves
    assert places.have_waiting() is leaves
    assert (request in shown.active) is not leaves
    assert (request in shown.slots["a.test"].active) is (missing is None)
    if leaves:
        places.take_back(request)
        assert not places.have_waiting()
    assert shown.active == {request}
    assert shown.slots["a.test"].active == set()


# Closing a crawl


class Engine:
    """An engine with the attributes that it is given."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


async def close(crawler: Crawler) -> None:
    scrapy_api.close_crawl(crawler, "why")
    await asyncio.sleep(0)


def test_a_crawl_is_closed_by_an_engine_that_cannot_be_given_a_reason(
    crawler: Crawler, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = []

    async def stop() -> None:
        stopped.append(True)

    monkeypatch.setattr(crawler, "stop_async", stop)
    crawler.engine = Engine(start_time=1.0, running=True)  # type: ignore[assignment]
    asyncio.run(close(crawler))
    assert stopped == [True]


@pytest.mark.parametrize("attributes", [{"running": True}, {"start_time": 1.0}])
def test_one_of_two_names_tells_that_the_engine_runs(
    crawler: Crawler, attributes: dict[str, Any]
) -> None:
    reasons = []

    async def close_spider_async(*, reason: str) -> None:
        reasons.append(reason)

    engine = Engine(close_spider_async=close_spider_async, **attributes)
    crawler.engine = engine  # type: ignore[assignment]
    asyncio.run(close(crawler))
    assert reasons == ["why"]

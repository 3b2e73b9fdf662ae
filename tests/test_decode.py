"""Crawls whose workers decode bodies show spiders and middlewares what they would see without."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._ipc.messages import (
    Cancelled,
    Completed,
    Fetch,
    Hello,
    Profile,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.compressed import ENCODERS, LARGE, SMALL, Body, app_of, bodies, gzip_bomb
from testkit.crawling import Crawled, assert_all_pages
from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.processes import resident_mb
from testkit.scenario import Scenario
from testkit.waiting import until

SERVED = bodies()
LIMITS: dict[str, Any] = {"DOWNLOAD_MAXSIZE": 1_100_000, "DOWNLOAD_WARNSIZE": 600_000}
SEEN: dict[str, Any] = {
    "DOWNLOADER_MIDDLEWARES": {"tests.responses_seen.Below": 800, "tests.responses_seen.Above": 570}
}
SCRAPYS = "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware"
_OF_TIME = ("curl_safe", "download_latency", "download_slot")
_VARYING = re.compile(
    r"curl_safe|time|startup|memusage|memory|rate|per_minute|start_|log_count/(INFO|DEBUG)"
)


@pytest.fixture(scope="module")
def origin() -> Iterator[TlsOrigin]:
    with TlsOrigin(app_of(SERVED)) as origin:
        yield origin


def facts(crawled: Crawled) -> dict[str, Any]:
    """Return what does not vary from crawl to crawl."""
    responses = [
        {**r, "meta": {k: v for k, v in r["meta"].items() if not k.startswith(_OF_TIME)}}
        for r in crawled.responses
    ]
    errors = [(e["number"], e["type"], e["text"], e["stopped_flags"]) for e in crawled.errors]
    seen = crawled.stats.pop("seen", [])
    known = crawled.stats.pop("known", 0)
    stats = {k: v for k, v in crawled.stats.items() if not _VARYING.search(k)}
    log = [line[20:] for line in crawled.log.splitlines() if re.search("WARNING|ERROR", line)]
    return {
        "responses": {response.pop("number"): response for response in responses},
        "errors": sorted(errors),
        "seen": {str(each[:2]): each for each in seen},
        "stats": stats,
        "log": sorted(log),
        "known": known,
    }


def requests(origin: TlsOrigin, served: list[Body], **meta: Any) -> list[dict[str, Any]]:
    every = {"handle_httpstatus_all": True, **meta}
    return [{"url": origin.url + b.path, "method": b.method, "meta": every} for b in served]


def assert_same(crawl: RunCrawl, *wanted: Any, **settings: Any) -> int:
    """Crawl both ways and compare; return how many bodies a worker decoded."""
    ready = facts(crawl(*wanted, CURL_SAFE_DECODE=True, **settings))
    scrapys = facts(crawl(*wanted, CURL_SAFE_DECODE=False, **settings))
    assert scrapys.pop("known") == 0
    known: int = ready.pop("known")
    for key, values in scrapys.items():
        if isinstance(values, dict):
            assert ready[key].keys() == values.keys()
            for each, value in values.items():
                assert ready[key][each] == value, each
        assert ready[key] == values, key
    return known


def test_hundreds_of_bodies_look_the_same(crawl: RunCrawl, origin: TlsOrigin) -> None:
    known = assert_same(crawl, *requests(origin, SERVED), **SEEN, **LIMITS)
    assert known > 150


def test_limits_of_a_request(crawl: RunCrawl, origin: TlsOrigin) -> None:
    served = [body for body in SERVED if re.search("large|warned|bomb|small", body.path)]
    meta = {"download_maxsize": 200_000, "download_warnsize": 1_000}
    assert assert_same(crawl, *requests(origin, served, **meta), **SEEN) > 10


def test_no_limits(crawl: RunCrawl, origin: TlsOrigin) -> None:
    served = [body for body in SERVED if re.search("large|warned|bomb|small", body.path)]
    no_limits: dict[str, Any] = {"DOWNLOAD_MAXSIZE": 0, "DOWNLOAD_WARNSIZE": 0}
    assert assert_same(crawl, *requests(origin, served), **SEEN, **no_limits) > 10


@pytest.mark.parametrize("way", ["epoll", "none"])
def test_in_every_way_that_scrapy_runs(crawl: RunCrawl, origin: TlsOrigin, way: Any) -> None:
    served = [body for body in SERVED if re.search("large|bomb", body.path)][::4]
    assert assert_same(crawl, *requests(origin, served), way=way, **SEEN, **LIMITS) > 1


def test_somebody_who_listens_hears_the_encoded_body(crawl: RunCrawl, origin: TlsOrigin) -> None:
    served = [body for body in SERVED if "large" in body.path][::4]
    listening = Scenario(listen=True)
    assert assert_same(crawl, *requests(origin, served), scenario=listening, **SEEN) == 0


def test_a_middleware_below_may_replace_the_response(crawl: RunCrawl, origin: TlsOrigin) -> None:
    served = [body for body in SERVED if "large" in body.path]
    replacing: dict[str, Any] = {"DOWNLOADER_MIDDLEWARES": {"tests.responses_seen.Replacing": 700}}
    assert_same(crawl, *requests(origin, served), **replacing)


@pytest.mark.parametrize(
    "settings",
    [
        {"COMPRESSION_ENABLED": False},
        {"DOWNLOADER_MIDDLEWARES": {**SEEN["DOWNLOADER_MIDDLEWARES"], SCRAPYS: None}},
        {"DOWNLOADER_MIDDLEWARES": {**SEEN["DOWNLOADER_MIDDLEWARES"], SCRAPYS: 850}},
    ],
)
def test_what_the_user_set_about_compression_wins(
    crawl: RunCrawl, origin: TlsOrigin, settings: dict[str, Any]
) -> None:
    served = [body for body in SERVED if "-small" in body.path]
    assert assert_same(crawl, *requests(origin, served), **{**SEEN, **settings}) == 0


@pytest.fixture
def pages() -> Iterator[TlsOrigin]:
    """An origin with a page and a file in each encoding."""

    def app(seen: SeenRequest) -> Reply:
        encoding, _, name = seen.path.strip("/").partition("/")
        kind = b"text/html" if name == "page" else b"application/octet-stream"
        headers = [(b"Content-Type", kind), (b"Content-Encoding", encoding.encode())]
        return Reply(headers=headers, body=ENCODERS[encoding](LARGE))

    with TlsOrigin(app) as origin:
        yield origin


@pytest.mark.parametrize("storage", ["FilesystemCacheStorage", "DbmCacheStorage"])
@pytest.mark.parametrize("first", [True, False])
def test_the_cache_holds_pages_as_they_came(
    crawl: RunCrawl, pages: TlsOrigin, tmp_path: Path, storage: str, first: bool
) -> None:
    """Pages that were stored before the workers decoded are still good, and the other way round."""
    settings: dict[str, Any] = {
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_DIR": str(tmp_path / "cache"),
        "HTTPCACHE_STORAGE": f"scrapy.extensions.httpcache.{storage}",
    }
    urls = [f"{pages.url}/{encoding}/page" for encoding in ENCODERS]
    stored = crawl(*urls, CURL_SAFE_DECODE=first, **settings)
    again = crawl(*urls, CURL_SAFE_DECODE=not first, **settings)
    for crawled in (stored, again):
        assert_all_pages(crawled, len(urls))
        assert {r["body"].encode("latin-1") for r in crawled.responses} == {LARGE}
        assert {r["class"] for r in crawled.responses} == {"HtmlResponse"}
    assert {tuple(r["flags"]) for r in again.responses} == {("cached",)}
    assert len(pages.requests) == len(urls)
    if storage == "FilesystemCacheStorage":
        kept = {path.read_bytes() for path in (tmp_path / "cache").rglob("response_body")}
        assert kept == {encode(LARGE) for encode in ENCODERS.values()}


def test_a_media_pipeline_stores_the_decoded_file(
    crawl: RunCrawl, pages: TlsOrigin, tmp_path: Path
) -> None:
    files = tuple(f"{pages.url}/{encoding}/file.bin" for encoding in ENCODERS)
    for decode in (True, False):
        store = tmp_path / str(decode)
        crawl(
            f"{pages.url}/gzip/page",
            ITEM_PIPELINES={"scrapy.pipelines.files.FilesPipeline": 1},
            FILES_STORE=str(store),
            CURL_SAFE_DECODE=decode,
            scenario=Scenario(file_urls=files),
        )
        stored = [path.read_bytes() for path in store.rglob("*.bin")]
        assert stored == [LARGE] * len(files)


# In the worker

PLAIN = encode_profile(Profile())
HELLO = Hello(
    profiles=[("default", PLAIN)],
    max_sessions=8,
    max_in_flight=8,
    max_idle=8,
    encodings=sorted(name.encode() for name in ENCODERS),
)
BOMB = gzip_bomb(10_000)
_GIGABYTE = 1024**3


@pytest.fixture
def bombs() -> Iterator[TlsOrigin]:
    """An origin with a bomb of 10 GB, of 10 MB in gzip, and small pages."""
    encoded = [(b"Content-Encoding", b"gzip")]

    def app(seen: SeenRequest) -> Reply:
        return Reply(headers=encoded, body=BOMB if seen.path == "/bomb" else SMALL_GZIP)

    with TlsOrigin(app) as origin:
        yield origin


SMALL_GZIP = ENCODERS["gzip"](SMALL)


def make_fetch(url: str) -> Fetch:
    return Fetch(url=url, profile=PLAIN, timeout_seconds=240.0, maxsize_bytes=_GIGABYTE)


@pytest.mark.processes
def test_a_bomb_stops_at_the_limit_while_other_transfers_go_on(bombs: TlsOrigin) -> None:
    async def run() -> None:
        with WorkerClient(HELLO) as worker:
            await worker.ready()
            _, body = await worker.fetch(make_fetch(f"{bombs.url}/small"))
            assert body == SMALL
            pid = worker.process.pid
            before = most = resident_mb(pid)
            bomb = asyncio.ensure_future(worker.fetch(make_fetch(f"{bombs.url}/bomb")))
            await until(lambda: any(seen.path == "/bomb" for seen in bombs.requests))
            others = 0
            while not bomb.done():
                await worker.fetch(make_fetch(f"{bombs.url}/small"))
                others += 1
                most = max(most, resident_mb(pid))
            outcome, body = bomb.result()
            assert isinstance(outcome, Completed)
            assert _GIGABYTE < outcome.excess_bytes <= _GIGABYTE + 65536
            assert body == BOMB
            assert outcome.encoded is None
            assert others > 20
            # Three copies of what came, and what is kept until it is clear that it is too much.
            assert most - before < 3 * len(BOMB) / 1e6 + 64

    asyncio.run(run())


@pytest.mark.processes
@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("size", [0, 1_000, 120_000, 200_000, 3_000_000, 9_000_000])
def test_bodies_of_each_size_come_decoded_and_as_they_came(encoding: str, size: int) -> None:
    """In frames, in shared memory, and beyond a slot of it; decoded at once and in pieces."""
    page = (LARGE * 40)[:size]
    encoded = ENCODERS[encoding](page)
    headers = [(b"Content-Encoding", encoding.encode())]

    async def run() -> None:
        with WorkerClient(HELLO) as worker:
            for _ in range(3):
                outcome, body = await worker.fetch(make_fetch(f"{server.url}/"))
                assert isinstance(outcome, Completed)
                assert body == page
                assert outcome.encoded == encoded

    with TlsOrigin(lambda seen: Reply(headers=headers, body=encoded)) as server:
        asyncio.run(run())


@pytest.mark.processes
def test_a_download_is_cancelled_while_its_body_is_decoded(bombs: TlsOrigin) -> None:
    async def run() -> None:
        with WorkerClient(HELLO) as worker:
            await worker.ready()
            fetch = make_fetch(f"{bombs.url}/bomb")
            bomb = asyncio.ensure_future(worker.fetch(fetch))
            await until(lambda: bombs.requests)
            # A page that came after it, so that all of it is there.
            await worker.fetch(make_fetch(f"{bombs.url}/small"))
            worker.connection.cancel(fetch)
            outcome, _ = await bomb
            assert outcome == Cancelled(fetch.id)
            _, body = await worker.fetch(make_fetch(f"{bombs.url}/small"))
            assert body == SMALL

    asyncio.run(run())

"""Crawls whose workers decode bodies show spiders and middlewares what they would see without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from testkit.compressed import Body, app_of, bodies
from testkit.crawling import Crawled
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin

SERVED = bodies()
LIMITS = {"DOWNLOAD_MAXSIZE": 1_100_000, "DOWNLOAD_WARNSIZE": 600_000}
SEEN = {
    "DOWNLOADER_MIDDLEWARES": {"tests.responses_seen.Below": 800, "tests.responses_seen.Above": 570}
}
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
    no_limits = {"DOWNLOAD_MAXSIZE": 0, "DOWNLOAD_WARNSIZE": 0}
    assert assert_same(crawl, *requests(origin, served), **SEEN, **no_limits) > 10

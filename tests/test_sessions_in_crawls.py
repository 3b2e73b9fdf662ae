"""Sessions in whole crawls: each origin sees visitors that stay what they are."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from testkit.crawling import ROOT, Crawled, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import Reply, SeenRequest
from testkit.origins.visitors import AddressProxy, VisitorsOrigin
from testkit.scenario import Scenario

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None or find_spec("scrapy_redis") is None,
    reason="needs redis-server and scrapy-redis",
)


@contextlib.contextmanager
def proxies(count: int, **of_number: dict[str, Any]) -> Iterator[list[AddressProxy]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(AddressProxy(n + 2, **of_number.get(f"n{n}", {})))
            for n in range(count)
        ]


def all_at_once(origin: VisitorsOrigin, count: int) -> dict[str, Any]:
    """Return a request whose callback yields the others, so that all are in the queue before the
    crawl can end."""
    then = [{"url": url} for url in urls(origin, count)]
    return {"url": f"{origin.url}/root", "then": then}


def paths_of(crawled: Crawled) -> list[str]:
    paths = [response["url"].rpartition("/")[2] for response in crawled.responses]
    return sorted(paths, key=lambda path: (path.isdigit(), path.zfill(5)))


def assert_visitors_stay_the_same(origin: VisitorsOrigin, crawled: Crawled) -> None:
    """No cookie is sent from two addresses or browsers, and no session has two cookies."""
    assert origin.mixed_up() == {}
    by_session = defaultdict(set)
    for response in crawled.responses:
        by_session[response["meta"]["curl_safe"]["session"]].add(response["body"])
    assert {name: seen for name, seen in by_session.items() if len(seen) > 1} == {}


@pytest.mark.parametrize("pages", [5, 20, 100])
def test_all_pages_come_from_an_origin_that_blocks_visitors(crawl: RunCrawl, pages: int) -> None:
    with VisitorsOrigin(pages) as origin, proxies(8) as through:
        crawled = crawl(
            *urls(origin, 200),
            CURL_SAFE_SESSIONS={"proxies": [proxy.url for proxy in through]},
        )
        assert_all_pages(crawled, 200)
        assert_visitors_stay_the_same(origin, crawled)
        assert {visit.address for visit in origin.visits} == {p.address for p in through}
    blocked = crawled.stats.get("retry/reason_count/session_blocked", 0)
    assert blocked == origin.blocked == crawled.stat("session/block_count/403")
    assert bool(blocked) == (pages < 25)


@pytest.mark.parametrize("size", [0, 5])
@pytest.mark.parametrize("status", [407, 502, 0])
def test_a_proxy_that_refuses_costs_no_page(crawl: RunCrawl, status: int, size: int) -> None:
    with VisitorsOrigin() as origin, proxies(10, n3={"status": status}) as through:
        crawled = crawl(
            *urls(origin, 60),
            CURL_SAFE_SESSIONS={"proxies": [proxy.url for proxy in through], "size": size},
        )
        assert_all_pages(crawled, 60)
        assert_visitors_stay_the_same(origin, crawled)
        assert through[3].address not in {visit.address for visit in origin.visits}
        # Its trials are few.
        assert through[3].tunnels <= 8
    failed = crawled.stats.get("retry/reason_count/session_proxy", 0)
    assert failed == sum(
        value for key, value in crawled.stats.items() if "proxy/failure_count/" in key
    )
    assert failed >= 1 or size


def test_a_dead_proxy_costs_no_page(crawl: RunCrawl) -> None:
    with VisitorsOrigin() as origin, proxies(9) as through:
        with AddressProxy(200) as dead:
            pass
        crawled = crawl(
            *urls(origin, 60),
            CURL_SAFE_SESSIONS={"proxies": [dead.url, *(proxy.url for proxy in through)]},
        )
        assert_all_pages(crawled, 60)
        assert_visitors_stay_the_same(origin, crawled)
    assert crawled.stat("proxy/failure_count/refused") >= 1
    assert "All 10 proxies" not in crawled.log


def test_that_all_proxies_rest_is_said_once(crawl: RunCrawl) -> None:
    with (
        VisitorsOrigin() as origin,
        AddressProxy(2, status=502) as refusing,
        AddressProxy(3, status=407) as strict,
    ):
        through = [proxy.url.replace("//", "//user:secret@") for proxy in (refusing, strict)]
        crawled = crawl(
            {"url": f"{origin.url}/0", "meta": {"max_retry_times": 3}},
            CURL_SAFE_SESSIONS={"proxies": through},
        )
        assert len(crawled.errors) == 1
        assert refusing.tunnels + strict.tunnels == 4
    assert crawled.log.count("All 2 proxies of CURL_SAFE_SESSIONS rest") == 1
    assert f"{refusing.url} (answered CONNECT with 502)" in crawled.log
    assert f"{strict.url} (407: wrong or missing user or password)" in crawled.log
    assert "secret" not in crawled.log


@pytest.mark.parametrize("count", [2, 30])
def test_that_no_request_had_a_session_is_said_once(crawl: RunCrawl, count: int) -> None:
    with VisitorsOrigin() as origin, proxies(1) as through, AddressProxy(99) as own:
        wanted = [{"url": url, "meta": {"proxy": own.url}} for url in urls(origin, count)]
        crawled = crawl(*wanted, CURL_SAFE_SESSIONS={"proxies": [through[0].url]})
        assert_all_pages(crawled, count)
    so_far = "" if count == 2 else " so far"
    said = f"All {min(count, 20)} requests{so_far} had a proxy of their own"
    assert crawled.log.count(said) == crawled.log.count("of their own") == 1


def test_a_request_waits_as_long_as_it_is_asked_to(crawl: RunCrawl) -> None:
    times: list[float] = []

    def app(seen: SeenRequest) -> Reply:
        times.append(time.monotonic())
        if len(times) == 3:
            return Reply(status=429, headers=[(b"Retry-After", b"2")])
        return Reply()

    with VisitorsOrigin(app=app) as origin:
        crawled = crawl(*urls(origin, 10), CURL_SAFE_SESSIONS={}, CONCURRENT_REQUESTS=1)
        assert_all_pages(crawled, 10)
        assert len({visit.cookie for visit in origin.visits if visit.cookie}) == 1
    assert times[3] - times[2] >= 1.9
    assert crawled.stat("session/block_count/429") == 1
    assert crawled.stat("session/open_count") == 1


def test_a_crawl_does_not_end_while_its_last_request_waits(crawl: RunCrawl) -> None:
    replies = iter([Reply(status=503, headers=[(b"Retry-After", b"2")]), Reply()])
    with VisitorsOrigin(app=lambda _: next(replies)) as origin:
        crawled = crawl(origin.url, CURL_SAFE_SESSIONS={})
        assert_all_pages(crawled, 1)
    assert crawled.responses[0]["status"] == 200
    assert crawled.stats["finish_reason"] == "finished"


def test_requests_that_wait_leave_their_places_to_others(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(status=503, headers=[(b"Retry-After", b"600")])

    with VisitorsOrigin(app=app) as busy, VisitorsOrigin() as other:
        crawled = crawl(
            *urls(busy, 30),
            *urls(other, 40),
            CURL_SAFE_SESSIONS={"size": 2},
            CONCURRENT_REQUESTS=4,
            scenario=Scenario(close_spider_at=40),
        )
        assert len(crawled.responses) == 40
        # One for each session, and no more.
        assert len(busy.visits) == 2


def test_a_named_session_goes_through_redirects_and_callbacks(crawl: RunCrawl) -> None:
    """A login: what it sets is there on the pages after it, and nowhere else."""

    def app(seen: SeenRequest) -> Reply:
        if seen.path == "/login":
            headers = [(b"Set-Cookie", b"login=yes; Path=/"), (b"Location", b"/welcome")]
            return Reply(status=302, headers=headers)
        return Reply(body=b"in" if b"login=yes" in (seen.header("Cookie") or b"") else b"out")

    meta = {"curl_safe": {"session": "account"}}
    with VisitorsOrigin(app=app) as origin, proxies(4) as through:
        then = [{"url": f"{origin.url}/{n}", "meta": meta} for n in range(20)]
        crawled = crawl(
            {"url": f"{origin.url}/login", "meta": meta, "then": then},
            *urls(origin, 100, 110),
            CURL_SAFE_SESSIONS={"proxies": [proxy.url for proxy in through], "max_requests": 1000},
        )
        assert crawled.errors == []
        bodies = defaultdict(set)
        for response in crawled.responses:
            bodies[response["meta"]["curl_safe"]["session"] == "account"].add(response["body"])
        assert bodies == {True: {"in"}, False: {"out"}}
        assert len(crawled.responses) == 31
        ins = [seen for seen in origin.requests if b"login=yes" in (seen.header("Cookie") or b"")]
        assert len({origin.visit_of(seen) for seen in ins}) == 1


def test_what_a_request_sets_itself_wins(crawl: RunCrawl) -> None:
    with VisitorsOrigin() as origin, proxies(3) as through, AddressProxy(99) as own:
        crawled = crawl(
            {"url": f"{origin.url}/0", "meta": {"proxy": own.url}},
            {"url": f"{origin.url}/1", "meta": {"cookiejar": 7}},
            {"url": f"{origin.url}/2", "meta": {"curl_safe": {"impersonate": "firefox"}}},
            {"url": f"{origin.url}/3", "meta": {"proxy": own.url, "curl_safe": {"session": "a"}}},
            {"url": f"{origin.url}/4", "meta": {"proxy": None}},
            CURL_SAFE_SESSIONS={
                "proxies": [proxy.url for proxy in through],
                "browsers": ["chrome"],
            },
            COOKIES_DEBUG=True,
        )
        assert_all_pages(crawled, 5)
        seen = {int(seen.path[1:]): origin.visit_of(seen) for seen in origin.requests}
    metas = {response["number"]: response["meta"] for response in crawled.responses}
    assert seen[0].address == seen[3].address == own.address
    assert seen[4].address == "127.0.0.1"
    assert "curl_safe" not in metas[0]
    assert "curl_safe" not in metas[4]
    assert metas[1]["cookiejar"] == 7
    assert metas[2]["curl_safe"]["impersonate"] == "firefox"
    assert metas[2]["curl_safe"]["session"].startswith("~")
    assert metas[3]["curl_safe"]["session"] == "a"
    assert "of their own" not in crawled.log
    assert seen[2].fingerprint != seen[3].fingerprint


def test_the_languages_and_the_system_of_a_browser_agree(crawl: RunCrawl) -> None:
    with VisitorsOrigin() as origin:
        crawled = crawl(
            *urls(origin, 4),
            {"url": f"{origin.url}/4", "headers": {"Accept-Language": "fr"}},
            {"url": f"{origin.url}/5", "meta": {"curl_safe": {"impersonate": "firefox"}}},
            CURL_SAFE_SESSIONS={
                "browsers": [
                    {"impersonate": "chrome", "os": "android", "languages": ["de-AT", "en-US"]}
                ],
            },
            # Scrapy's own languages give way.
            DEFAULT_REQUEST_HEADERS={"Accept-Language": "en"},
        )
        assert_all_pages(crawled, 6)
        seen = {seen.path: seen for seen in origin.requests}
    for number in range(5):
        assert b"Android" in (seen[f"/{number}"].header("User-Agent") or b"")
        assert seen[f"/{number}"].header("Sec-CH-UA-Platform") == b'"Android"'
        assert seen[f"/{number}"].header("Sec-CH-UA-Mobile") == b"?1"
    languages = [seen[f"/{number}"].header("Accept-Language") for number in range(6)]
    assert languages[:4] == [b"de-AT,de;q=0.9,en-US;q=0.8,en;q=0.7"] * 4
    # What a request sets itself wins, and the session's languages are its browser's.
    assert languages[4] == b"fr"
    assert (languages[5] or b"").startswith(b"en-US,en;q=")


def test_sessions_go_on_after_a_stop(start_crawl: StartCrawl, tmp_path: Path) -> None:
    with VisitorsOrigin(15) as origin, proxies(4) as through:
        settings: dict[str, Any] = {
            "JOBDIR": str(tmp_path / "crawl"),
            "CURL_SAFE_SESSIONS": {"proxies": [proxy.url for proxy in through]},
            "CONCURRENT_REQUESTS": 4,
            "SCHEDULER_START_DISK_QUEUE": "scrapy.squeues.PickleFifoDiskQueue",
        }
        first = start_crawl(all_at_once(origin, 150), **settings)
        first.wait_for(lambda: len(origin.visits) > 30)
        first.process.send_signal(signal.SIGTERM)
        one = first.finish()
        cookies_before = {visit.cookie for visit in origin.visits if visit.cookie}
        count_before = len(origin.visits)
        second = start_crawl(**settings)
        two = second.finish()
        cookies_after = {visit.cookie for visit in origin.visits[count_before:] if visit.cookie}
        crawled = replace(two, responses=[*one.responses, *two.responses])
        assert crawled.errors == []
        assert paths_of(crawled) == ["root", *map(str, range(150))]
        assert_visitors_stay_the_same(origin, crawled)
    assert cookies_before & cookies_after
    (kept,) = (tmp_path / "crawl").glob("curl_safe_sessions.json")
    assert kept.stat().st_mode & 0o077 == 0


def test_no_session_uses_the_connections_of_another(crawl: RunCrawl) -> None:
    """Not even its successor, with the same proxy and browser."""
    with VisitorsOrigin() as origin, proxies(1) as through:
        crawled = crawl(
            *urls(origin, 40),
            CURL_SAFE_SESSIONS={
                "proxies": [through[0].url],
                "browsers": ["chrome"],
                "max_requests": 8,
            },
            CONCURRENT_REQUESTS=1,
        )
        assert_all_pages(crawled, 40)
        cookie_of = {response["number"]: response["body"] for response in crawled.responses}
        by_connection = defaultdict(set)
        for seen in origin.requests:
            by_connection[seen.connection].add(cookie_of[int(seen.path[1:])])
        assert len(set(cookie_of.values())) == 5
        assert {len(cookies) for cookies in by_connection.values()} == {1}
        assert origin.resumed == 0


def test_the_end_of_the_log_names_the_worst_proxies_without_credentials(crawl: RunCrawl) -> None:
    with VisitorsOrigin(10) as origin, proxies(2) as through, AddressProxy(9, status=502) as bad:
        urls_of_proxies = [proxy.url.replace("//", "//user:secret@") for proxy in (*through, bad)]
        crawled = crawl(*urls(origin, 60), CURL_SAFE_SESSIONS={"proxies": urls_of_proxies})
        assert_all_pages(crawled, 60)
        assert_visitors_stay_the_same(origin, crawled)
    assert "secret" not in crawled.log
    _, table, rows = crawled.log.partition("Requests by proxy, the worst first:\n")
    assert table
    assert rows.splitlines()[0].split() == ["proxy", "requests", "failed", "blocked", "causes"]
    assert rows.splitlines()[1].startswith(bad.url)
    assert rows.splitlines()[1].endswith("refused")
    assert "sessions, ended before: " in crawled.log


@needs_redis
def test_crawls_on_one_queue_have_no_session_in_common(
    start_crawl: StartCrawl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One begins, and is stopped with requests of its sessions in the queue; two others go on."""
    monkeypatch.syspath_prepend(str(ROOT / "example_project"))
    demo = importlib.import_module("demo_distributed")
    with (
        demo.redis_server(tmp_path) as url,
        VisitorsOrigin(10, delay=0.02) as origin,
        proxies(4) as through,
    ):
        settings: dict[str, Any] = {
            "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
            "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
            "SCHEDULER_PERSIST": True,
            "REDIS_URL": url,
            "CURL_SAFE_SESSIONS": {"proxies": [proxy.url for proxy in through]},
        }
        first = start_crawl(all_at_once(origin, 200), **settings)
        first.wait_for(lambda: origin.blocked)
        first.process.send_signal(signal.SIGTERM)
        ended = [first.finish()]
        ended += [crawl.finish() for crawl in [start_crawl(**settings) for _ in range(2)]]
        assert [crawled.errors for crawled in ended] == [[], [], []]
        responses = [response for crawled in ended for response in crawled.responses]
        crawled = replace(ended[0], responses=responses)
        assert paths_of(crawled) == ["root", *map(str, range(200))]
        assert_visitors_stay_the_same(origin, crawled)

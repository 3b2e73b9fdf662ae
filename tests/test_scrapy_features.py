"""Scrapy's own features work with the handler in place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from testkit.compressed import ENCODERS
from testkit.crawling import ROOT, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.raw import RawOrigin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.processes import worker_pids
from testkit.scenario import Scenario

PROJECT = """
ADDONS = {"scrapy_curl_safe.Addon": 500}
SPIDER_MODULES = ["spiders"]
"""


class RunScrapy(Protocol):
    def __call__(self, *command: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def scrapy(processes: Path) -> RunScrapy:
    """Run a scrapy command in a project of one line."""
    (processes / "project.py").write_text(PROJECT)
    (processes / "spiders.py").write_text("")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "scrapy", *command],
            cwd=processes,
            env={
                **os.environ,
                "TMPDIR": str(processes),
                "PYTHONPATH": f"{processes}{os.pathsep}{ROOT}",
                "SCRAPY_SETTINGS_MODULE": "project",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert worker_pids(processes) == []
        return done

    return run


def through_the_pool(run: subprocess.CompletedProcess[str], responses: int) -> bool:
    return f"'curl_safe/response_count': {responses}" in run.stderr


def site(seen: SeenRequest) -> Reply:
    """A page that sets a cookie, one that wants it, one that has moved, and files."""
    if seen.path == "/robots.txt":
        return Reply(body=b"User-agent: *\nDisallow: /private")
    if seen.path == "/cookie":
        return Reply(status=302, headers=[(b"Set-Cookie", b"a=1"), (b"Location", b"/wants")])
    if seen.path == "/wants":
        return Reply(status=200 if seen.header("Cookie") == b"a=1" else 403)
    if seen.path == "/auth":
        return Reply(status=200 if seen.header("Authorization") else 401)
    return Reply(headers=[(b"Content-Type", b"text/html")], body=b"<title>T</title>")


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    with TlsOrigin(site) as origin:
        yield origin


def test_fetch(scrapy: RunScrapy, origin: TlsOrigin) -> None:
    run = scrapy("fetch", f"{origin.url}/")
    assert run.stdout.strip() == "<title>T</title>"
    assert through_the_pool(run, 1)


def test_shell(scrapy: RunScrapy, origin: TlsOrigin) -> None:
    run = scrapy("shell", f"{origin.url}/", "-c", "response.css('title::text').get()")
    assert run.stdout.strip().splitlines()[-1] == "T"
    assert "curl_safe" not in run.stdout
    assert [seen.path for seen in origin.requests] == ["/"]
    assert "sec-ch-ua" in str(origin.requests[0].headers)


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("decode", ["True", "False"])
def test_fetch_and_shell_of_a_compressed_page(
    scrapy: RunScrapy, encoding: str, decode: str
) -> None:
    headers = [(b"Content-Type", b"text/html"), (b"Content-Encoding", encoding.encode())]
    body = ENCODERS[encoding](b"<title>tea</title>")
    with TlsOrigin(lambda seen: Reply(headers=headers, body=body)) as origin:
        setting = f"CURL_SAFE_DECODE={decode}"
        fetched = scrapy("fetch", f"{origin.url}/", "-s", setting)
        assert fetched.stdout.strip() == "<title>tea</title>"
        asked = "(response.css('title::text').get(), fetch(response.url), response.text)"
        shell = scrapy("shell", f"{origin.url}/", "-c", asked, "-s", setting)
    assert shell.stdout.strip().splitlines()[-1] == "('tea', None, '<title>tea</title>')"
    assert through_the_pool(fetched, 1)
    assert len(origin.requests) == 3


def test_parse_and_contracts(scrapy: RunScrapy, origin: TlsOrigin, tmp_path: Path) -> None:
    (tmp_path / "spiders.py").write_text(
        f"""
import scrapy
class S(scrapy.Spider):
    name = "s"
    def parse(self, response):
        '''
        @url {origin.url}/
        @returns items 1 1
        '''
        yield {{"title": response.css("title::text").get()}}
"""
    )
    parsed = scrapy("parse", "--spider=s", f"{origin.url}/")
    assert "'title': 'T'" in parsed.stdout
    assert through_the_pool(parsed, 1)
    checked = scrapy("check", "s")
    assert checked.returncode == 0
    assert "OK" in checked.stdout + checked.stderr


def test_cookies_and_redirects(crawl: RunCrawl, origin: TlsOrigin) -> None:
    crawled = crawl(f"{origin.url}/cookie")
    assert [(r["status"], r["url"]) for r in crawled.responses] == [(200, f"{origin.url}/wants")]


def test_cookies_of_a_domain_need_nothing_from_the_network(crawl: RunCrawl, tmp_path: Path) -> None:
    """Scrapy asks tldextract what a public suffix is; here it has the list that came with it."""
    cookie = (b"Set-Cookie", b"a=1; Domain=example.com")
    with (
        TlsOrigin(lambda seen: Reply(headers=[cookie])) as origin,
        RawOrigin(b"HTTP/1.1 502 Bad Gateway\r\n\r\n", tls=False) as proxy,
    ):
        env = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "https_proxy": proxy.url}
        crawled = crawl(
            {"url": origin.url, "headers": {"Host": "www.example.com"}},
            env=env,
            HTTPPROXY_ENABLED=False,
        )
        assert proxy.heads == []
    assert_all_pages(crawled, 1)
    assert (tmp_path / "cache").exists()
    assert "Traceback" not in crawled.log


def test_offsite_requests_are_not_sent(crawl: RunCrawl, origin: TlsOrigin) -> None:
    with TlsOrigin() as other:
        crawled = crawl(
            {"url": f"{origin.url}/page", "meta": {"allow_offsite": True}},
            f"https://localhost:{other.port}/elsewhere",
            scenario=Scenario(allowed_domains=("127.0.0.1",), filter_duplicates=True),
        )
        assert other.accepted == 0
    assert [r["number"] for r in crawled.responses] == [0]
    assert crawled.stats["offsite/filtered"] == 1


def test_http_auth(crawl: RunCrawl, origin: TlsOrigin) -> None:
    meta = {"url": f"{origin.url}/auth", "headers": {"Authorization": "Basic YTpi"}}
    assert crawl(meta).responses[0]["status"] == 200


def test_robots_txt_goes_through_the_pool(crawl: RunCrawl, origin: TlsOrigin) -> None:
    crawled = crawl(f"{origin.url}/public", f"{origin.url}/private", ROBOTSTXT_OBEY=True)
    assert [r["url"] for r in crawled.responses] == [f"{origin.url}/public"]
    assert crawled.errors[0]["type"] == "IgnoreRequest"
    assert crawled.stat("response_count") == 2


def test_the_http_cache(crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(tmp_path / "cache")}
    first = crawl(f"{origin.url}/", **settings)
    second = crawl(f"{origin.url}/", **settings)
    assert first.responses[0]["body"] == second.responses[0]["body"]
    assert second.responses[0]["flags"] == ["cached"]
    assert "curl_safe_info" not in second.responses[0]["meta"]
    assert second.stat("request_count") == 0
    assert len(origin.requests) == 1


def test_autothrottle_learns_the_latency(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.2) as origin:
        crawled = crawl(
            *urls(origin, 5),
            AUTOTHROTTLE_ENABLED=True,
            AUTOTHROTTLE_START_DELAY=0.01,
        )
    assert all(r["meta"]["download_latency"] >= 0.2 for r in crawled.responses)


def test_the_files_pipeline(crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path) -> None:
    store = tmp_path / "store"
    crawled = crawl(
        f"{origin.url}/page",
        ITEM_PIPELINES={"scrapy.pipelines.files.FilesPipeline": 1},
        FILES_STORE=str(store),
        scenario=Scenario(file_urls=(f"{origin.url}/one.pdf", f"{origin.url}/two.pdf")),
    )
    assert len(list(store.rglob("*.pdf"))) == 2
    assert crawled.stat("response_count") == 3


def test_feed_exports(crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path) -> None:
    feed = tmp_path / "items.json"
    crawl(f"{origin.url}/a", f"{origin.url}/b", FEEDS={str(feed): {"format": "json"}})
    assert sorted(item["number"] for item in json.loads(feed.read_text())) == [0, 1]


def test_jobdir_brings_each_page_once_over_two_runs(
    start_crawl: StartCrawl, tmp_path: Path
) -> None:
    """Requests with options, some of them waiting for a retry, are kept on disk."""
    settings: dict[str, Any] = {"JOBDIR": str(tmp_path / "job"), "CONCURRENT_REQUESTS": 8}
    scenario = Scenario(filter_duplicates=True)
    options = {"curl_safe": {"impersonate": "firefox", "raw_headers": [["A", "b"]]}}
    with TlsOrigin(delay=0.1, drop=0.3, requests_per_connection=1) as origin:
        requests = [{"url": url, "meta": options} for url in urls(origin, 100)]
        first = start_crawl(*requests, scenario=scenario, **settings)
        first.wait_for(lambda: len(origin.requests) >= 20)
        first.process.send_signal(signal.SIGINT)
        one = first.finish()
        two = start_crawl(*requests, scenario=scenario, **settings).finish()
        assert len(origin.requests) == 100
        assert {seen.header("A") for seen in origin.requests} == {b"b"}
    numbers = [r["number"] for r in one.responses + two.responses]
    assert 20 <= len(one.responses) < 100
    assert sorted(numbers) == list(range(100))


def test_no_limit_on_requests_at_once(crawl: RunCrawl) -> None:
    """CONCURRENT_REQUESTS = 0, since Scrapy 2.18."""
    with TlsOrigin(delay=0.1) as origin:
        crawled = crawl(
            *urls(origin, 60), CONCURRENT_REQUESTS=0, CONCURRENT_REQUESTS_PER_DOMAIN=1000
        )
    assert_all_pages(crawled, 60)
    assert crawled.stat("in_flight_max") > 16


def test_scrapys_own_handler_without_a_reactor(crawl: RunCrawl, origin: TlsOrigin) -> None:
    """Scrapy then takes aiohttp, and not Twisted."""
    pytest.importorskip("aiohttp")
    crawled = crawl(
        {"url": f"{origin.url}/theirs", "meta": {"curl_safe": False}},
        f"{origin.url}/ours",
        way="none",
        DOWNLOAD_VERIFY_CERTIFICATES=False,
    )
    assert_all_pages(crawled, 2)
    agents = {seen.path: seen.header("User-Agent") or b"" for seen in origin.requests}
    assert agents["/theirs"].startswith(b"Scrapy/")
    assert agents["/ours"].startswith(b"Mozilla/")
    assert crawled.stat("response_count") == 1


def test_what_a_copy_of_the_meta_brings_along(scrapy: RunScrapy, tmp_path: Path) -> None:
    """MetaCopyDetectionMiddleware names no key of this package, and a copy of them does no harm."""
    with TlsOrigin(drop=0.3, requests_per_connection=1) as origin:
        (tmp_path / "spiders.py").write_text(
            f"""
import scrapy
class S(scrapy.Spider):
    name = "s"
    start_urls = ["{origin.url}/0"]
    def parse(self, response):
        number = int(response.url.rpartition("/")[2])
        yield {{"number": number, "attempt": response.meta["curl_safe_info"]["attempt"]}}
        if number < 30:
            yield response.follow(f"/{{number + 1}}", meta=response.meta)
"""
        )
        run = scrapy("crawl", "s", "-s", "RETRY_TIMES=0", "-O", "items.json")
        paths = [seen.path for seen in origin.requests]
    assert paths == [f"/{number}" for number in range(31)]
    assert "internal meta keys" in run.stderr
    (warning,) = (line for line in run.stderr.splitlines() if "internal meta keys" in line)
    assert "curl_safe" not in warning.partition("Source response")[0]
    items = json.loads((tmp_path / "items.json").read_text())
    # Each page counts its own tries.
    assert {item["attempt"] for item in items} >= {1, 2}
    assert max(item["attempt"] for item in items) < 10

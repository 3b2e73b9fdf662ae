"""RandomBrowserMiddleware: one session is one browser, handshake and headers alike."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import RandomBrowserMiddleware
from scrapy_curl_safe._crawl.scrapy_api import DEFAULT_HEADERS
from testkit.fixtures import RunCrawl
from testkit.origins.hello import ja3, parse_client_hello
from testkit.origins.proxies import Proxy
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

BROWSERS = ("chrome", "firefox", "safari")
ON: dict[str, Any] = {"DOWNLOADER_MIDDLEWARES": {"scrapy_curl_safe.RandomBrowserMiddleware": 760}}


def middleware(**settings: Any) -> RandomBrowserMiddleware:
    return RandomBrowserMiddleware.from_crawler(get_crawler(settings_dict=settings))


def picked(by: RandomBrowserMiddleware, **meta: Any) -> Any:
    request = Request("https://a.test/", meta=meta)
    by.process_request(request)
    return request.meta["curl_safe"]["impersonate"]


def test_a_session_keeps_its_browser() -> None:
    by = middleware()
    for session in range(100):
        assert len({picked(by, cookiejar=session) for _ in range(5)}) == 1


def test_sessions_are_spread_over_all_browsers() -> None:
    by = middleware(CURL_SAFE_BROWSERS=["chrome", "firefox", "safari", "edge"])
    counted = Counter(picked(by, cookiejar=n) for n in range(4000))
    assert counted.keys() == {"chrome", "firefox", "safari", "edge"}
    assert min(counted.values()) > 800


def test_a_session_is_a_proxy_its_user_and_a_cookiejar() -> None:
    by = middleware(CURL_SAFE_BROWSERS=[f"b{n}" for n in range(10_000)])
    visitors: list[dict[str, Any]] = [
        {},
        {"cookiejar": 1},
        {"proxy": "http://a.test"},
        {"proxy": "http://a.test", "cookiejar": 1},
        {"proxy": "http://u:p@a.test"},
    ]
    assert len({picked(by, **visitor) for visitor in visitors}) == len(visitors)
    one, other = (
        Request("https://a.test/", headers={"Proxy-Authorization": user}) for user in "ab"
    )
    assert by.session_key(one) != by.session_key(other)


def test_each_crawl_of_a_spider_picks_the_same() -> None:
    """One that goes on after a stop, and one on another machine, too."""
    settings: dict[str, Any] = {"CURL_SAFE_BROWSERS": [f"b{n}" for n in range(10_000)]}
    assert picked(middleware(**settings)) == picked(middleware(**settings))
    assert picked(middleware(**settings)) != picked(middleware(BOT_NAME="other", **settings))


def test_the_key_can_be_another() -> None:
    class ByDomain(RandomBrowserMiddleware):
        def session_key(self, request: Request) -> Any:
            return request.meta["domain"]

    by = ByDomain.from_crawler(get_crawler())
    assert len({picked(by, domain="a", cookiejar=n) for n in range(50)}) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"impersonate": "edge"},
        {"ja3": "771,..."},
        {"akamai": "1:2"},
        {"perk": "1:2"},
        {"extra_fp": {}},
        {"raw_headers": []},
        {"default_headers": False},
        False,
    ],
)
def test_a_request_that_says_what_it_looks_like_is_left_alone(options: object) -> None:
    request = Request("https://a.test/", meta={"curl_safe": options}, headers={"User-Agent": "x"})
    middleware().process_request(request)
    assert request.meta == {"curl_safe": options}
    assert request.headers["User-Agent"] == b"x"


def test_a_header_that_is_not_sent_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    by = middleware()
    caplog.set_level("INFO", "scrapy_curl_safe.random_browser")
    caplog.clear()
    for agent in (DEFAULT_HEADERS[b"user-agent"], b"mine/1.0", b"mine/2.0"):
        request = Request("https://a.test/", headers={"User-Agent": agent})
        by.process_request(request)
        assert "User-Agent" not in request.headers
    assert caplog.messages == [
        "The User-Agent of <GET https://a.test/> is not sent, and that of no other request: each "
        "session has its browser's own"
    ]


def test_what_else_a_request_asks_for_stays() -> None:
    options = {"verify": True}
    request = Request("https://a.test/", meta={"curl_safe": options})
    middleware(CURL_SAFE_BROWSERS=["edge"]).process_request(request)
    assert request.meta["curl_safe"] == {"verify": True, "impersonate": "edge"}
    assert options == {"verify": True}


def test_a_retry_through_another_proxy_is_another_session() -> None:
    by = middleware(CURL_SAFE_BROWSERS=[f"b{n}" for n in range(10_000)])
    request = Request("https://a.test/", meta={"proxy": "http://a.test"})
    by.process_request(request)
    first = request.meta["curl_safe"]["impersonate"]
    retry = request.replace(meta={**request.meta, "proxy": "http://b.test"})
    by.process_request(retry)
    assert retry.meta["curl_safe"]["impersonate"] != first
    back = retry.replace(meta={**retry.meta, "proxy": "http://a.test"})
    by.process_request(back)
    assert back.meta["curl_safe"]["impersonate"] == first


def looks(origin: TlsOrigin, seen: SeenRequest) -> tuple[str, bytes | None]:
    hello = parse_client_hello(origin.hello_of(seen))
    fingerprint = ja3(hello, sort_extensions=True, leave_out=(21, 41))
    return fingerprint, seen.header("User-Agent")


def test_no_handshake_is_mixed_with_headers_of_another_browser(crawl: RunCrawl) -> None:
    """Through redirects, retries and proxies, whatever headers somebody sets."""

    def app(seen: SeenRequest) -> Reply:
        if seen.path.startswith("/moved"):
            return Reply(status=302, headers=[(b"Location", seen.path[6:].encode())])
        return Reply()

    with TlsOrigin(drop=0.2, requests_per_connection=1) as known:
        crawl(
            *(
                {"url": f"{known.url}/{b}", "meta": {"curl_safe": {"impersonate": b}}}
                for b in BROWSERS
            )
        )
        pairs = {looks(known, seen) for seen in known.requests}
    assert len(pairs) == len(BROWSERS)
    with (
        TlsOrigin(app, drop=0.2, seed=5, requests_per_connection=1) as origin,
        Proxy() as one,
        Proxy("a", "x") as other,
    ):
        proxies = [None, f"http://{one.location}", f"http://a:x@{other.location}"]
        crawled = crawl(
            *(
                {
                    "url": f"{origin.url}/moved/{n}",
                    "headers": {"User-Agent": "other/1.0", "Sec-CH-UA": '"Other";v="1"'},
                    "meta": {"cookiejar": n % 10, "proxy": proxies[n % 3]},
                }
                for n in range(60)
            ),
            **ON,
        )
        assert len(crawled.responses) == 60, crawled.errors
        assert crawled.stat("handshake/retry_count") > 0
        seen = origin.requests
        assert len(seen) == 120
        assert {looks(origin, request) for request in seen} == pairs
        by_session: dict[tuple[int, int], set[tuple[str, bytes | None]]] = {}
        for request in seen:
            number = int(request.path.rpartition("/")[2])
            by_session.setdefault((number % 10, number % 3), set()).add(looks(origin, request))
    assert len(by_session) == 30
    assert all(len(browsers) == 1 for browsers in by_session.values())

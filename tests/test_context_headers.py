"""The context of a crawl's requests: the page that asks, what is asked for, and what the user has
set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from curl_cffi import CurlOpt
from scrapy.spidermiddlewares.referer import ReferrerPolicy

from scrapy_curl_safe._crawl.browser.contradictions import contradictions
from testkit.fixtures import RunCrawl
from testkit.origins.site import Site, fields_of, make_site
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario

pytestmark = pytest.mark.processes

A, B = "https://www.site-a.test", "https://www.site-b.test"
ONE_WORKER: dict[str, Any] = {"CURL_SAFE_WORKERS": 1, "CONCURRENT_REQUESTS": 1}


def through(site: Site, url: str, *then: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Return a request by the site's proxy, and what its callback yields."""
    meta = {"proxy": site.proxy.url, **arguments.pop("meta", {})}
    return {"url": url, "meta": meta, "then": list(then), **arguments}


def values(seen: SeenRequest, *names: str) -> list[str | None]:
    found = [seen.header(name) for name in names]
    return [None if value is None else value.decode() for value in found]


def page(seen: SeenRequest) -> Reply:
    return Reply(headers=[(b"Content-Type", b"text/html")], body=b"<html></html>")


def test_one_connection_carries_all_kinds(crawl: RunCrawl) -> None:
    kinds = ("page", "fetch", "xhr", "image", "script", "style", "frame")
    options: list[dict[str, Any]] = [{"as": kind} for kind in kinds]
    options += [{"raw_headers": [["A", "1"]]}, {"default_headers": False}, {"clicked": False}]
    options += [{"from": B}, {"as": "image", "from": f"{B}/page"}]
    with TlsOrigin(alpn=("h2",)) as origin:
        requests: list[dict[str, Any]] = [
            {"url": f"{origin.url}/{number}", "meta": {"curl_safe": each}}
            for number, each in enumerate(options)
        ]
        crawled = crawl(
            origin.url,
            *requests,
            *({**each, "method": "POST", "body": "a=1"} for each in requests),
            scenario=Scenario(wait_for_first=True),
            CURL_SAFE_WORKERS=1,
        )
        assert crawled.errors == []
        assert len(origin.requests) == 1 + 2 * len(options)
        assert {seen.connection for seen in origin.requests} == {0}


@pytest.mark.parametrize(
    "option",
    [{"raw_headers": [["User-Agent", "me"]]}, {"default_headers": False}, {"impersonate": None}],
)
def test_a_request_can_switch_it_off(crawl: RunCrawl, option: dict[str, Any]) -> None:
    with TlsOrigin() as origin:
        request = {
            "url": origin.url,
            "method": "POST",
            "body": "a=1",
            "headers": {"X-B": "1", "Referer": "https://b.test/page", "Cookie": "a=1; b=2"},
            "meta": {"curl_safe": option},
        }
        for mode in ("context", "static"):
            crawled = crawl(request, CURL_SAFE_BROWSER_HEADERS=mode)
            assert crawled.errors == []
        context, static = origin.requests
    assert context.headers == static.headers
    assert context.header("Sec-Fetch-Site") is None


@pytest.mark.parametrize("mode", ["static", "none"])
def test_a_setting_switches_it_off(crawl: RunCrawl, mode: str) -> None:
    with TlsOrigin() as origin:
        # Nobody computes anything from these.
        options = {"as": "image", "from": B, "clicked": False}
        link = {"url": f"{origin.url}/next"}
        first = {"url": f"{origin.url}/", "meta": {"curl_safe": options}, "then": [link]}
        asked = {"url": f"{origin.url}/asked", "meta": {"curl_safe": {"default_headers": True}}}
        crawled = crawl(first, asked, CURL_SAFE_BROWSER_HEADERS=mode)
        assert crawled.errors == []
        seen = {each.path: each for each in origin.requests}
    # As Scrapy's own policy has it.
    assert seen["/next"].header("Referer") == f"{origin.url}/".encode()
    has_set = mode == "static"
    for path in ("/", "/next"):
        assert (seen[path].header("sec-ch-ua") is not None) is has_set
        assert seen[path].header("Sec-Fetch-Dest") == (b"document" if has_set else None)
        assert (b"Scrapy" not in (seen[path].header("User-Agent") or b"")) is has_set
    assert seen["/asked"].header("sec-ch-ua") is not None


def test_a_bad_value_fails_its_request_alone(crawl: RunCrawl) -> None:
    bad: list[dict[str, Any]] = [
        {"as": "movie"},
        {"as": None},
        {"from": "nowhere"},
        {"from": "https://a.test:x/"},
        {"from": 1},
        {"clicked": "no"},
    ]
    with TlsOrigin() as origin:
        crawled = crawl(
            *({"url": origin.url, "meta": {"curl_safe": each}} for each in bad), origin.url
        )
        assert len(origin.requests) == 1
    texts = [error["text"] for error in sorted(crawled.errors, key=lambda error: error["number"])]
    for text, each in zip(texts, bad, strict=True):
        ((key, value),) = each.items()
        assert text.startswith(f'meta["curl_safe"][{key!r}] is {value!r}: it takes ')


HEADERS = {
    "User-Agent": "me",
    "Accept": "text/plain",
    "Accept-Language": "fr",
    "X-Mine": "1",
    "Origin": "https://c.test",
    "Sec-Fetch-Dest": None,
}


def test_what_a_user_set_keeps_its_value_in_the_browsers_place(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawl({"url": origin.url, "headers": HEADERS}, origin.url, **ONE_WORKER)
        mine, browsers = ([name for name, _ in each.headers] for each in origin.requests)
        assert dict(zip(HEADERS, values(origin.requests[0], *HEADERS), strict=True)) == HEADERS
    if hasattr(CurlOpt, "HTTPHEADER_ORDER"):
        added = [name for name in mine if name not in (b"X-Mine", b"Origin")]
        assert added == [name for name in browsers if name != b"Sec-Fetch-Dest"]
        assert mine.index(b"X-Mine") < mine.index(b"User-Agent") < mine.index(b"Origin")


def test_a_referer_of_ones_own_names_the_page_that_asks(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(302, [(b"Location", b"/2")]) if seen.path == "/1" else Reply()

    with TlsOrigin(app) as origin:
        referer = f"{origin.url}/search?q=1"
        crawl(
            {"url": f"{origin.url}/1", "headers": {"Referer": referer}},
            {"url": f"{origin.url}/3", "headers": {"Referer": f"{B}/path"}},
        )
        seen = {each.path: values(each, "Referer", "Sec-Fetch-Site") for each in origin.requests}
    assert seen == {
        "/1": [referer, "same-origin"],
        "/2": [referer, "same-origin"],
        "/3": [f"{B}/path", "cross-site"],
    }


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [f"{A}/page", f"{A}/"]),
        ({"REFERRER_POLICY": "origin"}, [f"{A}/", f"{A}/"]),
        ({"REFERRER_POLICY": "scrapy-default"}, [f"{A}/page", f"{A}/page"]),
        ({"REFERRER_POLICY": "tests.test_context_headers.OwnPolicy"}, ["x:/mine", "x:/mine"]),
        ({"REFERER_ENABLED": False}, [None, None]),
    ],
)
def test_the_users_policy_wins(
    crawl: RunCrawl, settings: dict[str, Any], expected: list[str | None]
) -> None:
    with make_site(page) as site:
        links = [through(site, f"{A}/here"), through(site, f"{B}/there")]
        crawled = crawl(through(site, f"{A}/page", *links), **settings)
        assert crawled.errors == []
        seen = [site.last(url) for url in (f"{A}/here", f"{B}/there")]
    assert [values(each, "Referer")[0] for each in seen] == expected
    assert [values(each, "Sec-Fetch-Site")[0] for each in seen] == ["same-origin", "cross-site"]


class OwnPolicy(ReferrerPolicy):
    """Names no page that there is."""

    def referrer(self, response_url: str, request_url: str) -> str | None:
        return "x:/mine"


def test_a_pages_policy_hides_it_and_not_where_it_is(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(headers=[(b"Referrer-Policy", b"no-referrer")])

    with TlsOrigin(app) as origin:
        crawl({"url": origin.url, "then": [{"url": f"{origin.url}/next"}]})
        assert values(origin.requests[1], "Referer", "Sec-Fetch-Site") == [None, "same-origin"]


def test_a_retry_is_asked_for_as_before(crawl: RunCrawl, tmp_path: Path) -> None:
    tries: list[str] = []

    def app(seen: SeenRequest) -> Reply:
        tries.append(seen.path)
        return Reply(503 if tries.count(seen.path) == 1 else 200)

    with TlsOrigin(app) as origin:
        link = {"url": f"{origin.url}/next", "meta": {"curl_safe": {"as": "script"}}}
        # The queue is on disk.
        crawled = crawl({"url": origin.url, "then": [link]}, JOBDIR=str(tmp_path))
        assert crawled.errors == []
        first, second = (each for each in origin.requests if each.path == "/next")
    assert first.headers == second.headers
    assert values(first, "Referer", "Sec-Fetch-Site", "Sec-Fetch-Dest") == [
        f"{origin.url}/",
        "same-origin",
        "script",
    ]


def test_a_file_of_a_pipeline_is_asked_for_by_its_items_page(
    crawl: RunCrawl, tmp_path: Path
) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(302, [(b"Location", b"/moved.png")]) if seen.path == "/a.png" else Reply()

    with make_site(app) as site:
        # Names that libcurl resolves by itself: pipelines know no proxies.
        port = site.h2.port
        files = (f"https://b.localhost:{port}/a.png", f"https://a.localhost:{port}/data.json")
        crawl(
            f"https://a.localhost:{port}/page",
            scenario=Scenario(file_urls=files),
            ITEM_PIPELINES={"scrapy.pipelines.files.FilesPipeline": 1},
            FILES_STORE=str(tmp_path / "files"),
            MEDIA_ALLOW_REDIRECTS=True,
        )
        seen = {
            each.path: values(each, "Sec-Fetch-Dest", "Sec-Fetch-Site", "Referer")
            for each in site.h2.requests
        }
    home = f"https://a.localhost:{port}/"
    assert seen == {
        "/page": ["document", "none", None],
        "/a.png": ["image", "cross-site", home],
        "/moved.png": ["image", "cross-site", home],
        "/data.json": ["empty", "same-origin", f"{home}page"],
    }


def test_robots_txt_is_typed(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(body=b"User-agent: *\nAllow: /\n")

    with TlsOrigin(app, alpn=("h2",)) as origin:
        crawl(f"{origin.url}/page", ROBOTSTXT_OBEY=True)
        robots, its_page = origin.requests
    assert robots.path == "/robots.txt"
    assert fields_of(robots) == fields_of(its_page)
    assert values(robots, "Sec-Fetch-Dest", "Sec-Fetch-Site") == ["document", "none"]


def test_hints_that_an_origin_asked_for_go_to_it_alone(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        asks = seen.path in ("/", "/script.js")
        hint = b"Sec-CH-UA-Arch" if seen.path == "/" else b"Sec-CH-UA-Model"
        return Reply(headers=[(b"Accept-CH", hint)] if asks else [])

    with TlsOrigin(app) as origin, TlsOrigin(app) as other:
        script = {"url": f"{origin.url}/script.js", "meta": {"curl_safe": {"as": "script"}}}
        links = [script, {"url": f"{origin.url}/next"}, {"url": f"{other.url}/other"}]
        as_firefox = {
            "url": f"{origin.url}/firefox",
            "meta": {"curl_safe": {"impersonate": "firefox"}},
        }
        crawl({"url": origin.url, "then": [*links, as_firefox]}, **ONE_WORKER)
        hints = {
            each.path: [name for name in ("Sec-CH-UA-Arch", "Sec-CH-UA-Model") if each.header(name)]
            for each in (*origin.requests, *other.requests)
        }
    assert hints == {
        "/": [],
        "/script.js": ["Sec-CH-UA-Arch"],
        "/next": ["Sec-CH-UA-Arch"],
        "/other": [],
        "/firefox": [],
    }


def test_third_parties_get_the_cookies_that_they_would_get(crawl: RunCrawl) -> None:
    def app(seen: SeenRequest) -> Reply:
        cookies = (
            []
            if seen.path != "/login"
            else [
                b"strict=1; SameSite=Strict",
                b"lax=1; SameSite=Lax",
                b"free=1",
                b"none=1; secure; samesite=None",
                b"domain=1; Domain=site-b.test",
            ]
        )
        return Reply(headers=[(b"Set-Cookie", each) for each in cookies])

    with make_site(app) as site:
        image = {"curl_safe": {"as": "image"}}
        login = through(
            site,
            f"{B}/login",
            through(site, f"{B}/own"),
            through(site, f"{B}/own.png", meta=image),
            through(site, "https://api.site-b.test/api", meta={"curl_safe": {"as": "fetch"}}),
            through(
                site,
                f"{A}/page2",
                through(site, f"{B}/page", meta={"curl_safe": {"from": f"{A}/page"}}),
                through(site, f"{B}/cross.png", meta=image),
                through(site, f"{B}/form", method="POST"),
                # Last, since the jar keeps it.
                through(
                    site, f"{B}/explicit.png", meta=image, cookies={"mine": "1"}, priority=-100
                ),
            ),
        )
        crawled = crawl(login, **ONE_WORKER)
        assert crawled.errors == []
        cookies = {
            each.path: b"; ".join(v for n, v in each.headers if n == b"cookie").decode()
            for each in site.h2.requests
        }
        broken = [contradictions(site.sent(each)) for each in site.requests]
    everything = "strict=1; lax=1; free=1; none=1; domain=1"
    assert cookies == {
        "/login": "",
        "/own": everything,
        "/own.png": everything,
        "/api": "domain=1",
        "/page": "lax=1; free=1; none=1; domain=1",
        "/page2": "",
        "/cross.png": "",
        "/form": "none=1",
        "/explicit.png": "mine=1",
    }
    assert sum(map(len, broken)) == 1  # what the user has set


def test_over_plain_http_nothing_is_said_that_browsers_keep_to_themselves(crawl: RunCrawl) -> None:
    with make_site(page) as site:
        plain = "http://www.site-a.test"
        crawl(through(site, f"{plain}/page", through(site, f"{plain}/next")), **ONE_WORKER)
        crawl(through(site, f"{plain}/safari"), CURL_SAFE_IMPERSONATE="safari")
        names = [[n for n, _ in fields_of(each)] for each in site.plain.requests]
        encodings = {each.header("accept-encoding") for each in site.plain.requests}
        assert {seen.connection for seen in site.plain.requests[:2]} == {0}
    lower = {name.lower() for each in names for name in each}
    assert not any(name.startswith(b"sec-") for name in lower)
    assert lower.isdisjoint({b"upgrade", b"http2-settings"})
    assert encodings == {b"gzip, deflate"}
    if hasattr(CurlOpt, "HTTPHEADER_ORDER"):
        assert {each[0] for each in names} == {b"Host"}


def test_a_request_that_names_its_page_has_that_pages_referer(crawl: RunCrawl) -> None:
    """Also where no callback has yielded it, so that Scrapy sets none."""
    named = {"curl_safe": {"from": f"{A}/page?q=1"}}
    with make_site(page) as site:
        crawled = crawl(
            through(site, f"{A}/same", meta=named),
            through(site, f"{B}/cross", meta=named),
            through(site, f"{B}/own", meta=named, headers={"Referer": f"{A}/mine"}),
            through(site, f"{A}/typed", meta={"curl_safe": {"from": None}}),
            **ONE_WORKER,
        )
        assert crawled.errors == []
        seen = {each.path: values(each, "referer", "sec-fetch-site") for each in site.requests}
    assert seen == {
        "/same": [f"{A}/page?q=1", "same-origin"],
        "/cross": [f"{A}/", "cross-site"],
        "/own": [f"{A}/mine", "cross-site"],
        "/typed": [None, "none"],
    }

"""Crawls through the recorded situations send what the real browsers sent in them."""

from __future__ import annotations

from typing import Any

import pytest
from curl_cffi import CurlOpt

from scrapy_curl_safe._crawl.browser.contradictions import contradictions
from testkit.fixtures import RunCrawl
from testkit.origins.site import Site, fields_of, make_site
from testkit.origins.tls import Reply, SeenRequest
from testkit.scenario import Scenario
from tests.test_browser_headers import (
    BROWSERS,
    RECORDINGS,
    A,
    B,
    Recorded,
    comparable,
    describe,
)

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        not hasattr(CurlOpt, "HTTPHEADER_ORDER"), reason="this curl_cffi can give no order"
    ),
]

TARGETS = {"chromium-156": "chrome", "firefox-153": "firefox"}

#: Where pages lead on to, by path.
REDIRECTS = {
    "/h-start": (302, f"{A}/h-landing"),
    "/h-typed": (302, f"{A}/h-typed-landing"),
    "/h-cross": (302, f"{B}/h-landing-cross"),
    "/h-chain1": (302, f"{B}/h-chain2"),
    "/h-chain2": (302, f"{A}/h-chain3"),
    "/h-post": (303, f"{A}/h-post-landing"),
    "/h-up": (302, f"{A}/h-up-landing"),
}


def app(seen: SeenRequest) -> Reply:
    status, location = REDIRECTS.get(seen.path, (200, ""))
    return Reply(status, [(b"Location", location.encode())] if location else [])


def in_crawl(scenario: dict[str, Any], proxy: str) -> dict[str, Any]:
    """Return the request with which a crawl gets into a situation; mostly the page before it."""
    recorded = describe(scenario)
    request = recorded.request
    first: dict[str, Any] = {"url": request.url, "method": request.method}
    own = {}
    for name, value in recorded.own:
        if name == "Cookie":
            first["cookies"] = dict(crumb.split("=", 1) for crumb in value.split("; "))
        else:
            own[name] = value
    if request.redirects:
        first["url"] = request.redirects[0].url
        first["method"] = "POST" if request.was_post else request.method
    if first["method"] == "POST":
        first["body"] = "x" * int(dict(recorded.fields).get("content-length", "3"))
        if request.redirects:
            own["Content-Type"] = "application/x-www-form-urlencoded"
    first["headers"] = own
    meta = {"proxy": proxy, "cookiejar": scenario["key"]}
    first["meta"] = dict(meta)
    if request.kind not in ("page", "xhr") and request.method == "GET":
        first["meta"]["curl_safe"] = {"as": request.kind}
    if request.reload:
        return {"url": request.url, "meta": meta, "then": [first]}
    if request.initiator is None:
        return first
    return {"url": request.initiator, "meta": meta, "then": [first]}


def seen_in(scenario: dict[str, Any], site: Site) -> Recorded:
    recorded = describe(scenario)
    seen = site.last(recorded.request.url, scenario["method"])
    fields = [(name.decode(), value.decode()) for name, value in fields_of(seen)]
    return recorded._replace(fields=fields, weight=seen.weight, exclusive=seen.exclusive)


@pytest.mark.parametrize("browser", BROWSERS)
def test_every_recorded_situation_is_equal(crawl: RunCrawl, browser: str) -> None:
    scenarios = RECORDINGS[browser]["scenarios"]
    with make_site(app) as site:
        # Firefox's first request to an HTTP/1.1 origin would have no Priority.
        first = "https://www.site-a.test:9443/"
        crawled = crawl(
            {"url": first, "meta": {"proxy": site.proxy.url}},
            *(in_crawl(scenario, site.proxy.url) for scenario in scenarios),
            scenario=Scenario(wait_for_first=True),
            CURL_SAFE_IMPERSONATE=TARGETS[browser],
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=1,
        )
        assert crawled.errors == []
        different = {}
        for scenario in scenarios:
            seen, recorded = seen_in(scenario, site), describe(scenario)
            if comparable(seen) != comparable(recorded):
                different[scenario["key"]] = (seen.fields, recorded.fields)
        assert different == {}
        broken = {site.url_of(seen): contradictions(site.sent(seen)) for seen in site.requests}
        # Until curl_cffi 0.16.2 libcurl sends it before the origin is known to speak HTTP/1.1.
        if broken[first] == ["priority-h1"]:
            del broken[first]
        assert {url: rules for url, rules in broken.items() if rules} == {}
        # One for each of the three names, whatever was asked for.
        assert {seen.connection for seen in site.h2.requests} == {0, 1, 2}
        assert {seen.connection for seen in site.h1.requests} == {0}

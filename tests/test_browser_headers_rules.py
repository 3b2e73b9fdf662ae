"""No computed request contradicts itself, whatever the situation, and no recorded one does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe._crawl.browser.contradictions import RULES, Sent, contradictions
from scrapy_curl_safe._crawl.browser.headers import browser_headers, http1_fields, http2_fields
from scrapy_curl_safe._crawl.browser.referrer import POLICIES
from scrapy_curl_safe._crawl.browser.request import KINDS, BrowserRequest, Hop
from scrapy_curl_safe._crawl.browser.target import learn_target

from .test_browser_headers import BROWSERS, RECORDINGS, target_of

SAFARI = learn_target(
    [
        ("sec-fetch-dest", "document"),
        (
            "user-agent",
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
            "(KHTML, like Gecko) Version/26.0 Safari/605.1.15",
        ),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("accept-language", "en-US,en;q=0.9"),
        ("priority", "u=0, i"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
    ]
)
TARGETS = {browser: target_of(browser) for browser in BROWSERS} | {"safari": SAFARI}


def recorded() -> list[tuple[str, Sent]]:
    found = []
    for browser in BROWSERS:
        for each in RECORDINGS[browser]["scenarios"]:
            priority = (each.get("h2") or {}).get("priority")
            url = f"{each['scheme']}://{each['host']}{each['path']}"
            found.append(
                (f"{browser} {each['key']}", as_sent(each, each["method"], url, priority or {}))
            )
        for each in RECORDINGS[f"{browser}-more"]["requests"]:
            request = each["request"]
            method = request.get("method", "GET")
            found.append((f"{browser} {each['key']}", as_sent(each, method, request["url"], each)))
    return found


def as_sent(each: dict[str, Any], method: str, url: str, priority: dict[str, Any]) -> Sent:
    exclusive = priority.get("exclusive")
    return Sent(
        each["protocol"],
        method,
        url,
        tuple((name, value) for name, value in each["headers"]),
        priority.get("weight"),
        None if exclusive is None else bool(exclusive),
    )


def test_the_browsers_break_no_rule() -> None:
    requests = recorded()
    assert len(requests) > 700
    broken = {key: contradictions(sent) for key, sent in requests}
    assert {key: names for key, names in broken.items() if names} == {}


# Situations

ORIGINS = [
    "https://www.site-a.test",
    "https://api.site-a.test",
    "https://www.site-b.test:8443",
    "https://user:secret@shop.example.co.uk",
    "https://shop.other.co.uk",
    "https://one.github.io",
    "https://two.github.io",
    "http://www.site-a.test",
    "http://127.0.0.1:8000",
    "http://localhost",
    "https://[::1]:8443",
]
urls = st.builds(
    lambda origin, path: origin + path,
    st.sampled_from(ORIGINS),
    st.sampled_from(["/", "/a?b=1", "/a/b.png#c", ""]),
)
hops = st.builds(Hop, urls, st.none() | st.sampled_from(sorted(POLICIES)))


@st.composite
def situations(draw: Callable[..., Any]) -> tuple[BrowserRequest, list[tuple[bytes, bytes]]]:
    kind = draw(st.sampled_from(KINDS))
    methods = {"page": ["GET", "POST"], "fetch": ["GET", "POST", "PUT", "DELETE", "HEAD"]}
    method = draw(st.sampled_from(methods.get("fetch" if kind == "xhr" else kind, ["GET"])))
    request = BrowserRequest(
        kind=kind,
        url=draw(urls),
        method=method,
        initiator=draw(st.none() | urls),
        policy=draw(st.sampled_from(sorted(POLICIES))),
        redirects=tuple(draw(st.lists(hops, max_size=3))),
        clicked=draw(st.booleans()),
        reload=draw(st.sampled_from([None, "soft", "hard"])) if kind == "page" else None,
        was_post=method == "GET" and draw(st.booleans()),
        mode=draw(st.sampled_from([None, "cors", "no-cors"])),
        credentials=draw(st.sampled_from([None, "omit", "same-origin", "include"])),
        hints=draw(st.sampled_from([(), ("device-memory", "sec-ch-ua-arch")])),
    )
    own = draw(
        st.lists(
            st.sampled_from(
                [
                    (b"X-One", b"1"),
                    (b"X-Two", b"2"),
                    (b"Authorization", b"Basic dQ=="),
                    (b"If-None-Match", b'"1"'),
                    (b"Range", b"bytes=0-9"),
                ]
            ),
            unique=True,
        )
    )
    if method in ("POST", "PUT"):
        own += [(b"Content-Type", b"application/json"), (b"Content-Length", b"2")]
    return request, own


def sent_by(
    target: str, request: BrowserRequest, own: list[tuple[bytes, bytes]], protocol: str
) -> Sent:
    host = request.url.partition("//")[2].partition("/")[0].encode()
    headers = browser_headers(request, TARGETS[target], [*own, (b"Host", host)])
    fields = http2_fields(headers) if protocol == "h2" else http1_fields(headers)
    return Sent(
        protocol,
        request.method,
        request.url,
        tuple((name.decode(), value.decode()) for name, value in fields),
        headers.weight,
        headers.exclusive,
    )


@settings(max_examples=2000)
@given(situations(), st.sampled_from(sorted(TARGETS)), st.booleans())
def test_nothing_that_is_computed_breaks_a_rule(
    situation: tuple[BrowserRequest, list[tuple[bytes, bytes]]], target: str, http1: bool
) -> None:
    request, own = situation
    protocol = "http/1.1" if http1 or request.url.startswith("http:") else "h2"
    assert contradictions(sent_by(target, request, own, protocol)) == []


@settings(max_examples=500)
@given(situations(), st.sampled_from(sorted(TARGETS)))
def test_all_fields_have_a_place_and_each_place_is_named_once(
    situation: tuple[BrowserRequest, list[tuple[bytes, bytes]]], target: str
) -> None:
    request, own = situation
    headers = browser_headers(request, TARGETS[target], own)
    names = [name.lower() for name, _ in headers.fields]
    assert len(set(headers.order)) == len(headers.order)
    assert {b"host", b"content-length", b"cookie"} <= set(headers.order)
    assert names == [name for name in headers.order if name in names]
    for name, value in own:
        assert (name.lower(), value) in [(each.lower(), given) for each, given in headers.fields]


# Each rule finds what it is there for

CHROME = dict(RECORDINGS["chromium-156"]["scenarios"][1]["headers"])
FIREFOX = dict(RECORDINGS["firefox-153"]["scenarios"][1]["headers"])
IMAGE = next(
    dict(each["headers"])
    for each in RECORDINGS["chromium-156"]["scenarios"]
    if each["key"] == "g-img-cross.png"
)
FETCH = next(
    dict(each["headers"])
    for each in RECORDINGS["chromium-156"]["scenarios"]
    if each["key"] == "f-samesite.json"
)
HTTP1 = {"Host": "www.site-a.test", "Connection": "keep-alive", "User-Agent": "x"}


def with_(headers: dict[str, str], **changes: str | None) -> list[tuple[str, str]]:
    """Change values in their place, take headers away (None), or add them at the end."""
    changed = {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return [(name, value) for name, value in changed.items() if value is not None]


S, P, H1 = "https://www.site-a.test/", "http://www.site-a.test/", "http/1.1"
BREAKS: dict[str, tuple[str, str, str, list[tuple[str, str]], int | None, bool | None]] = {
    "none-referer": ("h2", "GET", S, with_(CHROME, sec_fetch_site="none"), 256, True),
    "sec-in-clear": (H1, "GET", P, [*HTTP1.items(), ("Sec-Fetch-Site", "none")], None, None),
    "br-in-clear": (H1, "GET", P, [*HTTP1.items(), ("Accept-Encoding", "br")], None, None),
    "metadata": ("h2", "GET", S, with_(CHROME, sec_fetch_dest=None), 256, True),
    "post-origin": ("h2", "POST", S, with_(CHROME), 256, True),
    "cors-origin": ("h2", "GET", S, with_(FETCH, origin=None), 220, True),
    "get-origin": ("h2", "GET", S, with_(CHROME, origin="https://www.site-a.test"), 256, True),
    "origin-site": (
        "h2",
        "POST",
        S,
        with_(CHROME, origin="https://www.site-b.test"),
        256,
        True,
    ),
    "referer-site": ("h2", "GET", S, with_(CHROME, referer="https://www.site-b.test/"), 256, True),
    "h2c": (H1, "GET", P, [*HTTP1.items(), ("Upgrade", "h2c")], None, None),
    "cookie-h2": ("h2", "GET", S, with_(CHROME, cookie="a=1; b=2"), 256, True),
    "cookie-h1": (H1, "GET", P, [*HTTP1.items(), ("Cookie", "a"), ("Cookie", "b")], None, None),
    "hop-by-hop": ("h2", "GET", S, with_(CHROME, connection="keep-alive"), 256, True),
    "host-first": (H1, "GET", P, list(HTTP1.items())[::-1], None, None),
    "keep-alive": (H1, "GET", P, [("Host", "x")], None, None),
    "case": (H1, "GET", P, [*HTTP1.items(), ("accept", "*/*")], None, None),
    "repeated": ("h2", "GET", S, [*CHROME.items(), ("accept", "x")], 256, True),
    "mode-dest": ("h2", "GET", S, with_(CHROME, sec_fetch_mode="cors"), 256, True),
    "upgrade": ("h2", "GET", S, with_(CHROME, upgrade_insecure_requests=None), 256, True),
    "user": ("h2", "GET", S, with_(IMAGE, sec_fetch_user="?1"), 220, True),
    "accept": ("h2", "GET", S, with_(CHROME, accept="*/*"), 256, True),
    "typed": ("h2", "GET", S, with_(IMAGE, sec_fetch_site="none", referer=None), 220, True),
    "hints": ("h2", "GET", S, with_(CHROME, sec_ch_ua_mobile=None), 256, True),
    "hints-other": ("h2", "GET", S, with_(FIREFOX, sec_ch_ua='"x"'), 42, False),
    "hints-missing": ("h2", "GET", S, with_(CHROME, sec_ch_ua=None), 256, True),
    "version": ("h2", "GET", S, with_(CHROME, sec_ch_ua='"Chromium";v="99"'), 256, True),
    "platform": ("h2", "GET", S, with_(CHROME, sec_ch_ua_platform='"Windows"'), 256, True),
    "te": ("h2", "GET", S, with_(FIREFOX, te=None), 42, False),
    "priority-h1": (
        H1,
        "GET",
        P,
        [("Host", "x"), ("User-Agent", "Chrome/156"), ("Priority", "u=0, i")],
        None,
        None,
    ),
    "range": ("h2", "GET", S, with_(CHROME, range="bytes=0-"), 256, True),
    "get-body": ("h2", "GET", S, with_(CHROME, content_type="text/plain"), 256, True),
    "cache-late": ("h2", "GET", S, [*CHROME.items(), ("cache-control", "max-age=0")], 256, True),
    "post-cache": ("h2", "POST", S, with_(CHROME, origin="null"), 256, True),
    "order": ("h2", "GET", S, [*CHROME.items()][::-1], 256, True),
    "agent-first": ("h2", "GET", S, [*FIREFOX.items()][::-1], 42, False),
    "storage": ("h2", "GET", S, with_(CHROME, sec_fetch_storage_access="none"), 256, True),
    "third-party": ("h2", "GET", S, with_(IMAGE, cookie="a=1"), 220, True),
    "weight": ("h2", "GET", S, with_(CHROME), 42, False),
    "page-priority": ("h2", "GET", S, with_(CHROME, priority="u=1, i"), 256, True),
}


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_a_rule_finds_what_breaks_it(rule: str) -> None:
    protocol, method, url, fields, weight, exclusive = BREAKS[rule]
    assert rule in contradictions(Sent(protocol, method, url, tuple(fields), weight, exclusive))

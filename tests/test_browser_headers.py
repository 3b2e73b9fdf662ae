"""The headers computed for each situation are those that the real browsers sent in it."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from scrapy_curl_safe._crawl.browser.client_hints import LOW_ENTROPY
from scrapy_curl_safe._crawl.browser.contradictions import Sent
from scrapy_curl_safe._crawl.browser.headers import browser_headers, http1_fields, http2_fields
from scrapy_curl_safe._crawl.browser.request import BrowserRequest, Hop
from scrapy_curl_safe._crawl.browser.target import Target, learn_target
from testkit import recordings

BROWSERS = ("chromium-156", "firefox-153")
RECORDINGS = {
    name: recordings.load(name)
    for name in (*BROWSERS, *(f"{browser}-more" for browser in BROWSERS))
}

A, B = "https://www.site-a.test", "https://www.site-b.test"

#: What each recorded situation is; its URL and method are those of the recording. Those of HTTP/1.1
#: (j-...) and of plain http (k-...) are the same situations at other origins.
SITUATIONS: dict[str, dict[str, Any]] = {
    "a-first": {"initiator": None},
    "e-form": {},
    "f-get.json": {"kind": "fetch"},
    "f-xhr.json": {"kind": "xhr"},
    "f-post.json": {"kind": "fetch"},
    "f-samesite.json": {"kind": "fetch"},
    "f-cross.json": {"kind": "fetch"},
    "g-img.png": {"kind": "image", "initiator": "/g-page?q=1"},
    "g-img-cross.png": {"kind": "image", "initiator": "/g-page?q=1"},
    "g-script.js": {"kind": "script", "initiator": "/g-page?q=1"},
    "g-style.css": {"kind": "style", "initiator": "/g-page?q=1"},
    "g-frame": {"kind": "frame", "initiator": "/g-page?q=1"},
    "h-landing": {"redirects": (Hop(f"{A}/h-start"),)},
    "h-typed-landing": {"initiator": None, "redirects": (Hop(f"{A}/h-typed"),)},
    "h-landing-cross": {"redirects": (Hop(f"{A}/h-cross"),)},
    "h-chain2": {"redirects": (Hop(f"{A}/h-chain1"),)},
    "h-chain3": {"redirects": (Hop(f"{A}/h-chain1"), Hop(f"{B}/h-chain2"))},
    "h-post-landing": {"redirects": (Hop(f"{A}/h-post"),), "was_post": True},
    "h-up-landing": {"initiator": None, "redirects": (Hop("http://www.site-a.test/h-up"),)},
    "i-page?reload": {"initiator": None, "reload": "soft"},
    "i-auth": {"initiator": None},
    "l-close": {"initiator": None},
    "l-second": {"initiator": None},
}
LINK = {"kind": "page", "initiator": "/hub?q=1"}

# What a user sets; everything else has to come from the tables.
OF_USERS = {
    "authorization",
    "content-type",
    "cookie",
    "if-modified-since",
    "if-none-match",
    "x-requested-with",
}

Fields = list[tuple[str, str]]


class Recorded(NamedTuple):
    request: BrowserRequest
    own: Fields
    protocol: str
    fields: Fields
    weight: int | None
    exclusive: bool | None


def target_of(browser: str) -> Target:
    page = RECORDINGS[browser]["scenarios"][0]
    return learn_target([(name, value) for name, value in page["headers"]])


def describe(scenario: dict[str, Any]) -> Recorded:
    """Say what the situation was, from its name and not from the headers."""
    key = scenario["key"]
    root = f"{scenario['scheme']}://{scenario['host']}"
    base, elsewhere = (key[2:], True) if key[:2] in ("j-", "k-") else (key, False)
    known = {**LINK, **SITUATIONS.get(base, {})}
    if known["initiator"] is not None:
        known["initiator"] = (root if elsewhere else A) + known["initiator"]
    request = BrowserRequest(url=root + scenario["path"], method=scenario["method"], **known)
    fields = [(name, value) for name, value in scenario["headers"]]
    own = [(name, value) for name, value in fields if name.lower() in OF_USERS - {"cookie"}]
    if known["kind"] == "xhr":
        own += [(name, value) for name, value in fields if name.lower() == "accept"]
    cookies = [value for name, value in fields if name.lower() == "cookie"]
    if cookies:
        own.append(("Cookie", "; ".join(cookies)))
    priority = (scenario.get("h2") or {}).get("priority") or {}
    return Recorded(
        request,
        own,
        scenario["protocol"],
        fields,
        priority.get("weight"),
        bool(priority["exclusive"]) if priority else None,
    )


def computed(recorded: Recorded, target: Target) -> Recorded:
    own = recorded.own + [
        (name, value)
        for name, value in recorded.fields
        # libcurl's own: only their place counts.
        if name.lower() in ("host", "content-length")
    ]
    headers = browser_headers(
        recorded.request, target, [(name.encode(), value.encode()) for name, value in own]
    )
    http2 = recorded.protocol == "h2"
    pairs = http2_fields(headers) if http2 else http1_fields(headers)
    return recorded._replace(
        fields=[(name.decode(), value.decode()) for name, value in pairs],
        weight=headers.weight if http2 else None,
        exclusive=headers.exclusive if http2 else None,
    )


def comparable(recorded: Recorded) -> Sent:
    return recordings.comparable(
        Sent(
            recorded.protocol,
            recorded.request.method,
            recorded.request.url,
            tuple(recorded.fields),
            recorded.weight,
            recorded.exclusive,
        )
    )


@pytest.mark.parametrize("browser", BROWSERS)
def test_every_recorded_situation_is_equal(browser: str) -> None:
    target = target_of(browser)
    different = {}
    for scenario in RECORDINGS[browser]["scenarios"]:
        recorded = describe(scenario)
        if comparable(computed(recorded, target)) != comparable(recorded):
            different[scenario["key"]] = (computed(recorded, target).fields, recorded.fields)
    assert different == {}
    assert len(RECORDINGS[browser]["scenarios"]) == 46


def test_every_name_in_the_table_is_recorded() -> None:
    keys = {scenario["key"] for scenario in RECORDINGS[BROWSERS[0]]["scenarios"]}
    assert set(SITUATIONS) <= keys


#: Situations beyond the recordings above, in the same browsers, each with why it differs.
#: One urgency is computed for all images and for all scripts, see `docs/browsers.md`.
SCREEN = "another screen, device or network"
NO_URGENCY = "the script or style sheet does not block the page"
CASE = "Scrapy does not keep the case in which a script would write a name"
DIFFERENT = {
    "chromium-156": {
        "g2-script-async": NO_URGENCY,
        "g2-script-defer": NO_URGENCY,
        "g2-script-insert": NO_URGENCY,
        "g2-style-print": NO_URGENCY,
        "g2-style-body": NO_URGENCY,
        "k2-custom POST": CASE,
        "j2-custom POST": CASE,
        "q2-ch": SCREEN,
        "q2-ch-fetch": SCREEN,
        "q2-ch-img": SCREEN,
        "q2-ch-script": SCREEN,
        "q2-ch-frame": SCREEN,
        "q2-ch-post POST": SCREEN,
        "q2-ch-redir": SCREEN,
        "q2-ch-redir hop 1": SCREEN,
        "q2-ch-h1": SCREEN,
    },
    "firefox-153": {
        "g2-style-print": NO_URGENCY,
        "k2-down-unsafe": "Connection stands elsewhere under unsafe-url",
        "k2-custom POST": CASE,
        "j2-custom POST": CASE,
        "z2-auth": "a 401 that a page's link has led to is not known",
    },
}


@pytest.mark.parametrize("browser", BROWSERS)
def test_so_is_nearly_every_other_situation(browser: str) -> None:
    target = target_of(browser)
    different = set()
    for recording in RECORDINGS[f"{browser}-more"]["requests"]:
        recorded = more(recording)
        got = computed(recorded, target)
        if recorded.request.kind in ("image", "script"):
            got, recorded = without_urgency(got), without_urgency(recorded)
        if comparable(got) != comparable(recorded):
            different.add(recording["key"])
    assert different == set(DIFFERENT[browser])
    assert len(RECORDINGS[f"{browser}-more"]["requests"]) > 300


def more(recording: dict[str, Any]) -> Recorded:
    known = dict(recording["request"])
    known["redirects"] = tuple(Hop(*hop) for hop in known.get("redirects", ()))
    known["hints"] = tuple(known.get("hints", ()))
    exclusive = recording["exclusive"]
    return Recorded(
        BrowserRequest(**known),
        [(name, value) for name, value in recording["own"]],
        recording["protocol"],
        [(name, value) for name, value in recording["headers"]],
        recording["weight"],
        None if exclusive is None else bool(exclusive),
    )


def without_urgency(recorded: Recorded) -> Recorded:
    fields = [
        (name, "" if name.lower() == "priority" else value) for name, value in recorded.fields
    ]
    return recorded._replace(fields=fields, weight=None, exclusive=None)


@pytest.mark.parametrize("kind", ["page", "fetch", "image"])
def test_hints_that_were_asked_for_stand_where_chromium_puts_them(kind: str) -> None:
    key = {"page": "q2-ch", "fetch": "q2-ch-fetch", "image": "q2-ch-img"}[kind]
    target = target_of("chromium-156")
    recorded = next(
        more(each) for each in RECORDINGS["chromium-156-more"]["requests"] if each["key"] == key
    )
    of_images = {"width", "sec-ch-width"}
    names = [name for name, _ in recorded.fields if name not in of_images]
    got = computed(recorded, target)
    assert [name for name, _ in got.fields] == names
    same = {name for name in names if name.startswith("sec-ch-ua") and name not in LOW_ENTROPY}
    assert len(same) == 8
    assert {pair for pair in got.fields if pair[0] in same} == {
        pair for pair in recorded.fields if pair[0] in same
    }

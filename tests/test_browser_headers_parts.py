"""Origins, Referer, cookies, kinds, Blink's table, targets and hints, each by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scrapy_curl_safe._crawl.browser.blink_order import blink_order
from scrapy_curl_safe._crawl.browser.classify import guess_kind
from scrapy_curl_safe._crawl.browser.client_hints import hint_values, parse_accept_ch
from scrapy_curl_safe._crawl.browser.cookies import crumbs, sends_cookie
from scrapy_curl_safe._crawl.browser.headers import browser_headers, http1_fields, http2_fields
from scrapy_curl_safe._crawl.browser.referrer import (
    Trim,
    parse_policy,
    referer,
    trim,
    trim_over_redirects,
)
from scrapy_curl_safe._crawl.browser.request import BrowserRequest, Hop, facts_of
from scrapy_curl_safe._crawl.browser.sites import (
    Relation,
    WebOrigin,
    registrable_domain,
    relation,
    web_origin,
)
from scrapy_curl_safe._crawl.browser.target import Target, learn_target

from .test_browser_headers import RECORDINGS, target_of

CHROMIUM, FIREFOX = target_of("chromium-156"), target_of("firefox-153")
A, B = "https://www.site-a.test/p?q=1", "https://www.site-b.test/"


# Origins and sites


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Example.COM:443/a", "https://example.com"),
        ("http://example.com:8080", "http://example.com:8080"),
        ("https://user:secret@[::1]:8443/", "https://[::1]:8443"),
        ("about:blank", "None"),
        ("data:text/html,x", "None"),
    ],
)
def test_an_origin_is_written_as_browsers_do(url: str, origin: str) -> None:
    assert str(web_origin(url)) == origin


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("www.example.co.uk", "example.co.uk"),
        ("example.co.uk.", "example.co.uk"),
        ("a.b.example.com", "example.com"),
        ("co.uk", None),
        ("one.github.io", "one.github.io"),
        ("github.io", None),
        ("www.site-a.test", "site-a.test"),
        ("localhost", None),
        ("192.168.1.2", None),
        ("::1", None),
        ("test", None),
    ],
)
def test_the_registrable_domain_follows_the_public_suffix_list(
    host: str, domain: str | None
) -> None:
    assert registrable_domain(host) == domain


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("https://a.example.com", "https://a.example.com:443/x", Relation.SAME_ORIGIN),
        ("https://a.example.com", "https://a.example.com:8443", Relation.SAME_SITE),
        ("https://a.example.com", "https://example.com", Relation.SAME_SITE),
        ("https://example.com", "http://example.com", Relation.CROSS_SITE),
        ("https://one.github.io", "https://two.github.io", Relation.CROSS_SITE),
        ("http://127.0.0.1:1", "http://127.0.0.1:2", Relation.SAME_SITE),
        ("http://127.0.0.1", "http://127.0.0.2", Relation.CROSS_SITE),
    ],
)
def test_sites_are_schemeful(one: str, other: str, expected: Relation) -> None:
    first, second = web_origin(one), web_origin(other)
    assert first is not None
    assert second is not None
    assert relation(first, second) is expected


@pytest.mark.parametrize(
    ("url", "trusted"),
    [
        ("https://example.com", True),
        ("http://example.com", False),
        ("http://localhost:1", True),
        ("http://a.localhost", True),
        ("http://127.9.9.9", True),
        ("http://[::1]", True),
        ("http://192.168.0.1", False),
    ],
)
def test_this_machine_counts_as_trustworthy(url: str, trusted: bool) -> None:
    origin = web_origin(url)
    assert origin is not None
    assert origin.is_trustworthy is trusted


# Referer

FULL, ORIGIN, NOTHING = "https://www.site-a.test/p?q=1", "https://www.site-a.test/", None


@pytest.mark.parametrize(
    ("policy", "same", "cross", "downgrade"),
    [
        ("no-referrer", NOTHING, NOTHING, NOTHING),
        ("no-referrer-when-downgrade", FULL, FULL, NOTHING),
        ("same-origin", FULL, NOTHING, NOTHING),
        ("origin", ORIGIN, ORIGIN, ORIGIN),
        ("strict-origin", ORIGIN, ORIGIN, NOTHING),
        ("origin-when-cross-origin", FULL, ORIGIN, ORIGIN),
        ("strict-origin-when-cross-origin", FULL, ORIGIN, NOTHING),
        ("unsafe-url", FULL, FULL, FULL),
    ],
)
def test_each_policy(
    policy: str, same: str | None, cross: str | None, downgrade: str | None
) -> None:
    page = "https://user:secret@www.site-a.test/p?q=1#part"
    for url, expected in (
        ("https://www.site-a.test/x", same),
        (B, cross),
        ("http://www.site-a.test/x", downgrade),
    ):
        assert referer(page, trim(policy, an_origin(page), an_origin(url))) == expected


def an_origin(url: str) -> WebOrigin:
    origin = web_origin(url)
    assert origin is not None
    return origin


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("https://www.site-a.test", ORIGIN),
        ("https://www.site-a.test/", ORIGIN),
        ("https://www.site-a.test/a@b", "https://www.site-a.test/a@b"),
        ("https://www.site-a.test?a=/b", "https://www.site-a.test/?a=/b"),
        ("https://u@www.site-a.test:8443#x", "https://www.site-a.test:8443/"),
        ("about:blank", None),
    ],
)
def test_a_full_referer_is_stripped(page: str, expected: str | None) -> None:
    assert referer(page, Trim.FULL if expected else Trim.ORIGIN) == expected


def test_a_long_referer_is_trimmed() -> None:
    page = "https://www.site-a.test/" + 5000 * "x"
    assert referer(page, Trim.FULL) == ORIGIN
    assert referer(page[:4096], Trim.FULL) == page[:4096]


def test_a_page_on_this_machine_keeps_its_referer_from_the_network() -> None:
    page, target = an_origin("http://localhost/x"), an_origin("http://example.com/")
    assert trim("strict-origin", page, target) is Trim.NOTHING


@pytest.mark.parametrize(
    ("header", "policy"),
    [
        (None, None),
        ("", None),
        ("no-referrer", "no-referrer"),
        ("no-referrer, Strict-Origin", "strict-origin"),
        ("origin, nonsense", "origin"),
        ("nonsense", None),
    ],
)
def test_the_last_policy_that_is_known_counts(header: str | None, policy: str | None) -> None:
    assert parse_policy(header) == policy


def test_what_a_redirect_has_trimmed_stays_trimmed() -> None:
    def over(*hops: tuple[str, str | None]) -> Trim:
        passed = [(an_origin(url), policy) for url, policy in hops]
        return trim_over_redirects("strict-origin-when-cross-origin", an_origin(A), passed)

    assert over((A, None)) is Trim.FULL
    assert over((B, None), (A, None)) is Trim.ORIGIN
    assert over((A, None), (A, "no-referrer"), (A, None)) is Trim.NOTHING
    assert over((A, None), (A, "origin")) is Trim.ORIGIN


# RequestFacts


def test_no_referrer_hides_the_referer_and_not_the_site() -> None:
    facts = facts_of(BrowserRequest("page", A, initiator=A, policy="no-referrer"))
    assert (facts.site, facts.referer) == ("same-origin", Trim.NOTHING)


def test_an_image_without_a_page_comes_from_the_home_page() -> None:
    facts = facts_of(BrowserRequest("image", A))
    assert (facts.site, facts.referer) == ("same-origin", Trim.ORIGIN)
    fields = dict(browser_headers(BrowserRequest("image", A), CHROMIUM).fields)
    assert fields[b"Referer"] == ORIGIN.encode()


def test_a_typed_address_stays_typed_over_redirects() -> None:
    assert facts_of(BrowserRequest("page", B, redirects=(Hop(A),))).site == "none"


@pytest.mark.parametrize("url", ["about:blank", "https://"])
def test_a_url_without_a_host_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        facts_of(BrowserRequest("page", url))


# Cookies


@pytest.mark.parametrize(
    ("request_", "lax", "strict", "none"),
    [
        (BrowserRequest("page", A), True, True, True),
        (BrowserRequest("page", A, initiator="https://api.site-a.test/"), True, True, True),
        (BrowserRequest("page", A, initiator=B), True, False, True),
        (BrowserRequest("page", A, "POST", initiator=B), False, False, True),
        (BrowserRequest("page", A, initiator="http://www.site-a.test/"), True, False, True),
        (BrowserRequest("image", A, initiator=A), True, True, True),
        (BrowserRequest("image", A, initiator=B), False, False, False),
        (BrowserRequest("frame", A, initiator=B), False, False, False),
        (BrowserRequest("fetch", A, initiator=A), True, True, True),
        (BrowserRequest("fetch", A, initiator="https://api.site-a.test/"), False, False, False),
        (
            BrowserRequest("fetch", A, initiator="https://api.site-a.test/", credentials="include"),
            True,
            True,
            True,
        ),
        (BrowserRequest("fetch", A, initiator=A, credentials="omit"), False, False, False),
    ],
)
def test_cookies_by_their_same_site_attribute(
    request_: BrowserRequest, lax: bool, strict: bool, none: bool
) -> None:
    assert sends_cookie(request_, "Lax", False) is lax
    assert sends_cookie(request_, None, False) is lax
    assert sends_cookie(request_, "Strict", False) is strict
    assert sends_cookie(request_, "None", True) is none


def test_same_site_none_needs_secure() -> None:
    assert not sends_cookie(BrowserRequest("page", A, initiator=B), "None", False)


@pytest.mark.parametrize("browser", ["chromium-156", "firefox-153"])
def test_the_browsers_sent_the_same_cookies(browser: str) -> None:
    # All but the one without an attribute: both browsers let it through for two minutes.
    jar = {"strict": ("Strict", False), "laxx": ("Lax", False), "sn": ("None", True)}
    seen = 0
    for each in RECORDINGS[f"{browser}-more"]["requests"]:
        if "cross-cookies" not in each["key"]:
            continue
        request = BrowserRequest(**each["request"])
        sent = {value.split("=")[0] for name, value in each["headers"] if name == "cookie"}
        assert sent & set(jar) == {
            name for name, cookie in jar.items() if sends_cookie(request, *cookie)
        }
        seen += 1
    assert seen >= 5


def test_crumbs() -> None:
    assert crumbs("a=1; b=2;c;  d=4;") == ["a=1", "b=2", "c", "d=4"]


# Kinds

JSON = "application/json, text/javascript, */*; q=0.01"


@pytest.mark.parametrize(
    ("method", "path", "headers", "has_callback", "kind"),
    [
        ("GET", "/", {}, True, "page"),
        ("POST", "/", {"content-type": "application/x-www-form-urlencoded"}, True, "page"),
        ("POST", "/", {"content-type": "application/json"}, True, "fetch"),
        ("POST", "/", {"content-type": "application/ld+json; charset=utf-8"}, True, "fetch"),
        ("GET", "/", {"accept": JSON}, True, "fetch"),
        ("GET", "/", {"accept": "text/html,application/json"}, True, "page"),
        ("GET", "/", {"accept": JSON, "x-requested-with": "XMLHttpRequest"}, True, "xhr"),
        ("PUT", "/", {}, True, "fetch"),
        ("HEAD", "/", {}, True, "fetch"),
        ("GET", "/a.png", {}, True, "page"),
        ("GET", "/a.png?x=.js", {}, False, "image"),
        ("GET", "/a.min.JS", {}, False, "script"),
        ("GET", "/a.css", {}, False, "style"),
        ("GET", "/a.pdf", {}, False, "page"),
        ("GET", "/v1.2/image", {}, False, "image"),
        ("GET", "/image.php?id=1", {}, False, "image"),
        ("GET", "/robots.txt", {}, False, "page"),
    ],
)
def test_kinds_are_guessed(
    method: str, path: str, headers: dict[str, str], has_callback: bool, kind: str
) -> None:
    assert guess_kind(method, f"https://example.com{path}", headers, has_callback) == kind


# Blink's table


@pytest.mark.parametrize(
    "names",
    [
        "sec-ch-ua-platform user-agent sec-ch-ua sec-ch-ua-mobile",
        "sec-ch-ua-platform x-requested-with user-agent accept sec-ch-ua sec-ch-ua-mobile",
        "sec-ch-ua-platform authorization x-one sec-ch-ua sec-ch-ua-mobile x-two user-agent accept",
        "authorization x-csrf-token user-agent accept content-type",
    ],
)
def test_the_order_is_that_of_chromium_156(names: str) -> None:
    hints = ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "user-agent")
    recorded = names.split()
    given = sorted(name for name in recorded if name not in hints)
    given += [name for name in hints if name in recorded]
    assert blink_order(given, 156) == recorded


def test_older_versions_have_another_hash() -> None:
    names = ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "user-agent")
    old = ["sec-ch-ua", "sec-ch-ua-mobile", "user-agent", "sec-ch-ua-platform"]
    assert blink_order(names, 120) == old
    assert blink_order(names, 130) != old


@pytest.mark.parametrize("length", [0, 1, 3, 8, 24, 30, 60])
def test_names_of_all_lengths_have_a_place(length: int) -> None:
    names = [letter * length for letter in "abcdefgh"][: 8 if length else 1]
    for major in (120, 156):
        assert sorted(blink_order(names, major)) == sorted(names)


# Targets


def test_a_target_is_learned_without_its_context() -> None:
    page = [
        ("User-Agent", "Mozilla/5.0 ... Chrome/152.0.0.0 Safari/537.36"),
        ("accept", "text/html,image/avif"),
        ("sec-fetch-site", "same-origin"),
        ("cache-control", "max-age=0"),
        ("priority", "u=4"),
    ]
    target = learn_target(page)
    assert (target.family, target.major) == ("chromium", 152)
    assert dict(target.values).keys() == {"user-agent", "accept"}
    assert target.has_priority
    assert target.has_fetch_metadata
    assert target.has_storage_access


@pytest.mark.parametrize(
    ("agent", "family", "major"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "gecko", 153),
        ("Mozilla/5.0 ... Chrome/101.0.0.0 Safari/537.36 Edg/101.0.1210.47", "chromium", 101),
        ("Mozilla/5.0 ... AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15", "webkit", 26),
        ("curl/8.0", "webkit", 0),
    ],
)
def test_families(agent: str, family: str, major: int) -> None:
    target = learn_target([("user-agent", agent)])
    assert (target.family, target.major) == (family, major)


def test_an_old_target_does_not_send_what_it_does_not_know() -> None:
    old = Target(
        "chromium",
        99,
        (("user-agent", "Chrome/99.0.0.0"), ("accept", "text/html"), ("accept-encoding", "gzip")),
        ("user-agent", "accept", "sec-fetch-site", "accept-encoding"),
    )
    names = [
        name
        for name, _ in http2_fields(browser_headers(BrowserRequest("image", A, initiator=B), old))
    ]
    assert b"priority" not in names
    assert b"sec-fetch-storage-access" not in names
    assert b"sec-ch-ua" not in names


# What the user sets

OWN = [(b"X-Mine", b"1"), (b"Accept-Language", b"de"), (b"User-Agent", b"mine"), (b"X-Mine", b"2")]


@pytest.mark.parametrize("target", [CHROMIUM, FIREFOX])
def test_the_users_values_win_in_the_browsers_place(target: Target) -> None:
    request = BrowserRequest("page", A, initiator=B)
    plain = [name for name, _ in browser_headers(request, target).fields]
    headers = browser_headers(request, target, OWN)
    values = {name: value for name, value in headers.fields if name != b"X-Mine"}
    assert (values[b"Accept-Language"], values[b"User-Agent"]) == (b"de", b"mine")
    assert [name for name, _ in headers.fields if name != b"X-Mine"] == plain
    assert [value for name, value in headers.fields if name == b"X-Mine"] == [b"1", b"2"]


def test_the_user_can_take_a_header_away() -> None:
    headers = browser_headers(BrowserRequest("page", A), CHROMIUM, [(b"Accept", None)])
    assert b"accept" not in [name.lower() for name, _ in headers.fields]
    assert b"accept" in headers.order


def test_a_referer_of_the_users_makes_its_page_the_initiator() -> None:
    headers = browser_headers(BrowserRequest("page", A), CHROMIUM, [(b"Referer", B.encode())])
    assert dict(headers.fields)[b"Sec-Fetch-Site"] == b"cross-site"


def test_a_script_writes_names_as_scripts_do() -> None:
    own = [(b"X-Csrf-Token", b"1"), (b"Content-Type", b"application/json")]
    for kind, expected in (
        ("fetch", {b"x-csrf-token", b"content-type"}),
        ("xhr", {b"X-Csrf-Token", b"Content-Type"}),
    ):
        request = BrowserRequest(kind, A, "POST", initiator=A)  # type: ignore[arg-type]
        fields = http1_fields(browser_headers(request, FIREFOX, own))
        assert expected <= {name for name, _ in fields}


def test_basic_credentials_stand_elsewhere_than_a_scripts_token() -> None:
    def place(kind: Any, value: bytes) -> int:
        request = BrowserRequest(kind, A, initiator=A)
        own = [(b"X-One", b"1"), (b"Authorization", value)]
        names = [name for name, _ in http2_fields(browser_headers(request, CHROMIUM, own))]
        return names.index(b"authorization")

    assert place("fetch", b"Basic dXNlcjpwYXNz") == 0
    assert place("fetch", b"Bearer t") > 0


def test_cookies_are_one_line_or_a_field_each() -> None:
    headers = browser_headers(BrowserRequest("page", A), CHROMIUM, [(b"Cookie", b"a=1; b=2")])
    assert [value for name, value in http1_fields(headers) if name == b"Cookie"] == [b"a=1; b=2"]
    assert [value for name, value in http2_fields(headers) if name == b"cookie"] == [
        b"a=1",
        b"b=2",
    ]


# Client hints


def test_hints_that_are_not_known_are_not_asked_for() -> None:
    asked = parse_accept_ch("Sec-CH-UA-Arch, Sec-CH-UA, DPR, Unknown")
    assert asked == ("dpr", "sec-ch-ua-arch")
    assert parse_accept_ch(None) == ()


def test_hints_agree_with_the_target() -> None:
    values = hint_values(CHROMIUM)
    assert values["sec-ch-ua-full-version"] == '"156.0.8078.108"'
    assert values["sec-ch-ua-full-version-list"] == (
        '"Not:A-Brand";v="8.0.0.0", "Chromium";v="156.0.8078.108"'
    )
    assert values["sec-ch-ua-form-factors"] == '"Desktop"'


def test_a_full_version_that_is_not_known_is_not_invented() -> None:
    target = replace(CHROMIUM, major=151)
    assert "sec-ch-ua-full-version-list" not in hint_values(target)


def test_other_origins_than_the_pages_get_no_more_hints() -> None:
    for url, expected in ((A, True), (B, False)):
        request = BrowserRequest("image", url, initiator=A, hints=("sec-ch-ua-arch",))
        names = [name for name, _ in browser_headers(request, CHROMIUM).fields]
        assert (b"sec-ch-ua-arch" in names) is expected

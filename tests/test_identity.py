"""Profiles and headers, made from a request and the settings: pure, without a process."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS
from scrapy.settings import Settings as ScrapySettings
from scrapy.settings import default_settings

from scrapy_curl_safe._crawl.meta import request_options
from scrapy_curl_safe._crawl.profile import encoded_profile, make_profile, origin_of, route_of
from scrapy_curl_safe._crawl.request_headers import request_headers
from scrapy_curl_safe._ipc.messages import HeaderPairs, Profile
from scrapy_curl_safe.settings import Settings

URL = "https://example.com/"
SCRAPYS = {
    **default_settings.DEFAULT_REQUEST_HEADERS,
    "User-Agent": default_settings.USER_AGENT,
    "Accept-Encoding": b", ".join(ACCEPTED_ENCODINGS),
}


needs_zstd = pytest.mark.skipif(
    b"zstd" not in ACCEPTED_ENCODINGS,
    reason="Scrapy's Accept-Encoding stays where Scrapy cannot decode all that browsers ask for",
)


def profile(request: Request, options: dict[str, Any] | None = None, **settings: Any) -> Profile:
    return make_profile(request, options or {}, Settings.load(ScrapySettings(settings)), {})


def headers(
    request: Request, options: dict[str, Any] | None = None, **settings: Any
) -> HeaderPairs:
    options = options or {}
    made = encoded_profile(request, options, Settings.load(ScrapySettings(settings)), {})
    return request_headers(request, options, like_browser=made.is_like_browser)


@pytest.mark.parametrize("length", ["4", "6", "x", "5, 5", ["5", "5"], "+5", " 5"])
def test_a_content_length_is_only_the_bodys(length: str | list[str]) -> None:
    request = Request(URL, method="POST", body=b"12345", headers={"Content-Length": length})
    sent = [value for name, value in headers(request) if name == b"Content-Length"]
    assert sent == ([b" 5"] if length == " 5" else [])
    lengths = [length] if isinstance(length, str) else length[1:]
    raw = [(b"content-length", text.encode()) for text in lengths]
    kept = headers(request, {"raw_headers": raw})
    assert kept == (raw if isinstance(length, list) else [])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://example.com/a?b", "https://example.com:443"),
        ("http://EXAMPLE.com", "http://example.com:80"),
        ("https://user:secret@example.com:8443/", "https://example.com:8443"),
        ("https://[::1]:9/", "https://[::1]:9"),
        ("http://[2001:db8::1]/", "http://[2001:db8::1]:80"),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, origin: str) -> None:
    assert origin_of(Request(url)) == origin


def test_options_absent_false_and_given() -> None:
    assert request_options({}) == {}
    assert request_options({"curl_safe": None}) == {}
    assert request_options({"curl_safe": False}) is False
    given = {"impersonate": None, "verify": True, "raw_headers": [["A", b"1"]]}
    assert request_options({"curl_safe": given}) == {**given, "raw_headers": [(b"A", b"1")]}


@pytest.mark.parametrize(
    ("meta", "authorization", "expected"),
    [
        ({"proxy": "http://p:1"}, None, ("http://p:1", None, None)),
        ({"proxy": "p:1"}, None, ("http://p:1", None, None)),
        ({"proxy": ""}, None, (None, None, None)),
        ({"proxy": None}, None, (None, None, None)),
        ({"proxy": "http://u:p%40ss%3A%2F@p:1"}, None, ("http://p:1", b"u", b"p@ss:/")),
        ({"proxy": "socks5h://%C3%BC:x@p:1"}, None, ("socks5h://p:1", "ü".encode(), b"x")),
        ({"proxy": "http://[::1]:3128"}, None, ("http://[::1]:3128", None, None)),
        ({"proxy": "http://u:p@[::1]:3128"}, None, ("http://[::1]:3128", b"u", b"p")),
        ({"proxy": "http://p:1"}, b"a:b:c", ("http://p:1", b"a", b"b:c")),
        ({"proxy": "http://p:1"}, b"\xe9:", ("http://p:1", b"\xe9", b"")),
    ],
)
def test_proxies_and_their_credentials(
    meta: dict[str, Any],
    authorization: bytes | None,
    expected: tuple[str | None, bytes | None, bytes | None],
) -> None:
    request = Request(URL, meta=meta)
    if authorization is not None:
        request.headers["Proxy-Authorization"] = b"Basic " + base64.b64encode(authorization)
    made = profile(request)
    assert (made.proxy, made.proxy_user, made.proxy_password) == expected
    assert made.proxy_headers == []
    assert all(name != b"Proxy-Authorization" for name, _ in headers(request))


def test_what_is_for_the_proxy_alone() -> None:
    request = Request(
        URL,
        headers={"Proxy-Authorization": "Bearer token"},
        meta={"proxy": "http://p:1", "proxy_headers": {"X-Session": ["1", "2"]}},
    )
    assert profile(request).proxy_headers == [
        (b"X-Session", b"1"),
        (b"X-Session", b"2"),
        (b"Proxy-Authorization", b"Bearer token"),
    ]
    assert all(b"roxy" not in name for name, _ in headers(request))


@pytest.mark.parametrize(
    "proxy", [None, "", "p:1", "http://p:1", "http://u:p%40ss@p:1", "socks5h://u:p@[::1]:3128"]
)
def test_the_route_is_that_of_the_profile(proxy: str | None) -> None:
    """The middleware and the handler speak of the same origin."""
    request = Request(URL, meta={"proxy": proxy})
    assert route_of(request, {}) == ("https://example.com:443", profile(request).proxy)


@pytest.mark.parametrize(
    ("setting", "meta", "expected"),
    [
        (None, {}, (None, 0)),
        ("127.0.0.2", {}, ("127.0.0.2", 0)),
        ("127.0.0.2", {"bindaddress": "127.0.0.3"}, ("127.0.0.3", 0)),
        (None, {"bindaddress": ("::1", 4000)}, ("::1", 4000)),
    ],
)
def test_bind_addresses(
    setting: str | None, meta: dict[str, Any], expected: tuple[str | None, int]
) -> None:
    made = profile(Request(URL, meta=meta), DOWNLOAD_BIND_ADDRESS=setting)
    assert (made.interface, made.local_port) == expected


def test_a_bad_bind_address_is_named() -> None:
    with pytest.raises(ValueError, match=r'meta\["bindaddress"\] is \'eth0\': it takes an IP'):
        profile(Request(URL, meta={"bindaddress": "eth0"}))


@needs_zstd
def test_scrapys_own_headers_give_way_to_the_browsers() -> None:
    assert headers(Request(URL, headers=SCRAPYS)) == []


def test_one_that_anybody_set_stays() -> None:
    mine = {**SCRAPYS, "Accept": "text/plain", "Accept-Encoding": "gzip", "X-A": ["1", "2"]}
    assert headers(Request(URL, headers=mine)) == [
        (b"Accept", b"text/plain"),
        (b"Accept-Encoding", b"gzip"),
        (b"X-A", b"1"),
        (b"X-A", b"2"),
    ]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {"CURL_SAFE_IMPERSONATE": None}),
        ({"impersonate": None}, {}),
        ({"default_headers": False}, {}),
    ],
)
def test_without_a_browsers_headers_scrapys_own_stay(
    options: dict[str, Any], settings: dict[str, Any]
) -> None:
    sent = headers(Request(URL, headers=SCRAPYS), options, **settings)
    assert {name for name, _ in sent} == {name.encode() for name in SCRAPYS}


@needs_zstd
def test_a_header_of_none_is_kept_from_being_sent() -> None:
    request = Request(URL, headers={**SCRAPYS, "User-Agent": None})
    assert headers(request) == [(b"User-Agent", None)]


def test_no_encoding_is_offered_where_none_is_decoded() -> None:
    assert headers(Request(URL)) == [(b"Accept-Encoding", None)]
    assert headers(Request(URL), CURL_SAFE_IMPERSONATE=None) == []


def test_raw_headers_replace_all() -> None:
    raw = [(b"b", b"1"), (b"B", b"2")]
    request = Request(URL, headers={"X-A": "1"})
    assert headers(request, {"raw_headers": raw}) == raw
    assert not profile(request, {"raw_headers": raw}).default_headers

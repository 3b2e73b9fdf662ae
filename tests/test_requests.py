"""Requests as they go out: methods, headers, bodies, URLs, in each version of HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import scrapy

from testkit.crawling import assert_all_pages
from testkit.fixtures import MakeOrigin, RunCrawl
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from tests.conftest import in_most_ways

pytestmark = in_most_ways


def values_of(seen: SeenRequest, name: str) -> list[bytes]:
    return [value for key, value in seen.headers if key.lower() == name.encode()]


def by_path(origin: TlsOrigin) -> dict[str, SeenRequest]:
    return {seen.path: seen for seen in origin.requests}


def test_methods(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    with_body = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "GET")
    without = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
    with make_origin(lambda seen: Reply(body=seen.method.encode())) as origin:
        crawled = crawl(
            *({"url": f"{origin.url}/with/{m}", "method": m, "body": f"{m}="} for m in with_body),
            *({"url": f"{origin.url}/without/{m}", "method": m} for m in without),
            # One handle after another: what one method set must not reach the next.
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=1,
        )
    seen = by_path(origin)
    for method in with_body:
        assert seen[f"/with/{method}"].method == method
        assert seen[f"/with/{method}"].body == f"{method}=".encode()
    for method in without:
        assert seen[f"/without/{method}"].method == method
        assert seen[f"/without/{method}"].body == b""
    bodies = {r["url"].partition("/without/")[2]: r["body"] for r in crawled.responses}
    assert bodies["HEAD"] == ""
    assert bodies["TRACE"] == "TRACE"
    assert_all_pages(crawled, len(with_body) + len(without))


def test_an_empty_post_has_one_content_length(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    with make_origin() as origin:
        crawl({"url": f"{origin.url}/", "method": "POST"})
    assert values_of(origin.requests[0], "content-length") == [b"0"]
    assert values_of(origin.requests[0], "content-type") == []


def test_a_content_length_of_ones_own_is_sent_once(
    crawl: RunCrawl, make_origin: MakeOrigin
) -> None:
    with make_origin() as origin:
        crawl(
            {
                "url": f"{origin.url}/",
                "method": "POST",
                "body": "12345",
                "headers": {"Content-Length": "5"},
            }
        )
    assert values_of(origin.requests[0], "content-length") == [b"5"]
    assert origin.requests[0].body == b"12345"


@pytest.mark.parametrize("is_raw", [False, True])
def test_a_content_length_that_is_not_the_bodys_is_left_out(crawl: RunCrawl, is_raw: bool) -> None:
    """With it, the origin would read this request and the next one on the connection wrongly."""
    headers: dict[str, Any] = {} if is_raw else {"Content-Length": "4"}
    meta = {"curl_safe": {"raw_headers": [["content-length", "6"]]}} if is_raw else {}
    with TlsOrigin(tls=False) as origin:
        posts = [
            {
                "url": f"{origin.url}/{number}",
                "method": "POST",
                "body": "12345",
                "headers": headers,
                "meta": meta,
            }
            for number in range(3)
        ]
        get = {"url": f"{origin.url}/get", "headers": headers, "meta": meta}
        crawled = crawl(*posts, get, f"{origin.url}/last", CONCURRENT_REQUESTS=1)
        assert origin.accepted == 1
    assert_all_pages(crawled, 5)
    assert [seen.body for seen in origin.requests] == [b"12345"] * 3 + [b""] * 2
    sent = [value for seen in origin.requests for value in values_of(seen, "content-length")]
    assert sent == [b"5"] * 3


def test_headers(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    headers = {
        "X-Repeated": ["1", "2", "1"],
        "X-Empty": "",
        "X-None": None,
        "X-Utf8": "ünï→",
        "Host": "of.my.own",
        "X-Last": "z",
    }
    with make_origin() as origin:
        crawl({"url": f"{origin.url}/", "headers": headers})
    (seen,) = origin.requests
    assert values_of(seen, "x-repeated") == [b"1", b"2", b"1"]
    assert values_of(seen, "x-empty") == [b""]
    assert values_of(seen, "x-none") == []
    assert values_of(seen, "x-utf8") == ["ünï→".encode()]
    assert values_of(seen, "x-last") == [b"z"]
    host = values_of(seen, "host") or values_of(seen, ":authority")
    assert host == [b"of.my.own"]


def test_each_request_has_its_own_headers(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    # Many lists of headers at once in one worker, and each of them for several requests.
    def requests(url: str) -> Iterator[dict[str, Any]]:
        for number in range(150):
            value = str(number % 50)
            yield {"url": f"{url}/{number}", "headers": {"X-Number": value, f"X-{value}": "here"}}

    with make_origin() as origin:
        crawled = crawl(*requests(origin.url), CURL_SAFE_WORKERS=1, CONCURRENT_REQUESTS=40)
    assert_all_pages(crawled, 150)
    for path, seen in by_path(origin).items():
        value = str(int(path[1:]) % 50)
        assert values_of(seen, "x-number") == [value.encode()]
        ours = [name for name, _ in seen.headers if name.lower().startswith(b"x-")]
        assert len(ours) == 2
        assert values_of(seen, f"x-{value}") == [b"here"]


def test_bytes_that_are_not_utf_8_go_out_as_they_are(
    crawl: RunCrawl, make_origin: MakeOrigin
) -> None:
    with make_origin() as origin:
        # A request's encoding is what its headers are encoded with.
        crawl({"url": f"{origin.url}/", "headers": {"X-Latin": "é"}, "encoding": "latin-1"})
    assert values_of(origin.requests[0], "x-latin") == [b"\xe9"]


def test_order_is_kept_and_nothing_is_added_without_a_browser(
    crawl: RunCrawl, make_origin: MakeOrigin
) -> None:
    names = ["Zebra", "Apple", "Mango", "Banana"]
    with make_origin() as origin:
        crawl(
            {"url": f"{origin.url}/", "headers": dict.fromkeys(names, "1")},
            CURL_SAFE_IMPERSONATE=None,
            DEFAULT_REQUEST_HEADERS={},
            USER_AGENT=None,
            COMPRESSION_ENABLED=False,
        )
    sent = [name.decode().title() for name, _ in origin.requests[0].headers]
    assert [n for n in sent if n != "Host" and not n.startswith(":")] == names


def test_a_large_body_goes_up(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(body=b"%d %d" % (len(seen.body), seen.body.count(b"x")))

    size = 50_000_000
    with make_origin(app) as origin:
        crawled = crawl({"url": f"{origin.url}/", "method": "POST", "body": "x" * size})
    assert crawled.responses[0]["body"] == f"{size} {size}"


def test_urls(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    with make_origin() as origin:
        port = origin.port
        scheme = origin.scheme
        crawled = crawl(
            f"{origin.url}/fragment?a=1#never-sent",
            f"{origin.url}/a/../b/./c",
            f"{origin.url}/päth?ü=é",
            f"{origin.url}/😀",
            f"{origin.url}/q?a[]=1&b=%20+%2B",
            f"{scheme}://localhost:{port}/by-name",
            # libcurl resolves every name under "localhost" (RFC 6761) by itself.
            f"{scheme}://bücher.localhost:{port}/idna",
            f"{scheme}://😀.localhost:{port}/emoji",
        )
    assert crawled.errors == []
    hosts = {
        seen.path: values_of(seen, "host") or values_of(seen, ":authority")
        for seen in origin.requests
    }
    assert hosts["/idna"] == [f"xn--bcher-kva.localhost:{port}".encode()]
    assert hosts["/emoji"] == [f"xn--e28h.localhost:{port}".encode()]
    assert set(by_path(origin)) == {
        "/fragment?a=1",
        "/a/../b/./c",
        "/p%C3%A4th?%C3%BC=%C3%A9",
        "/%F0%9F%98%80",
        "/q?a%5B%5D=1&b=%20+%2B",
        "/by-name",
        "/idna",
        "/emoji",
    }


@pytest.mark.skipif(
    not hasattr(scrapy.Request, "_url_is_verbatim"), reason="this Scrapy has no verbatim_url"
)
def test_a_verbatim_url_goes_out_as_it_is(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    with make_origin() as origin:
        crawl({"url": f"{origin.url}/q?a[]=1|2^3", "meta": {"verbatim_url": True}})
    assert [seen.path for seen in origin.requests] == ["/q?a[]=1|2^3"]


def test_ipv6(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    with make_origin(host="::1") as origin:
        crawled = crawl(f"{origin.url}/six")
    assert crawled.responses[0]["status"] == 200
    assert crawled.responses[0]["ip"] == "::1"

"""The request target: the path and query of a URL reach the origin octet for octet."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urldefrag

import pytest
import scrapy
from curl_cffi import Curl
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.http_syntax import HttpSyntaxError
from scrapy_curl_safe._ipc.messages import Completed, Fetch, Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_client import WorkerClient
from scrapy_curl_safe._worker.request_target import request_target
from testkit.fixtures import MakeOrigin, RunCrawl
from testkit.origins.http3 import Http3Origin
from testkit.origins.proxies import Proxy
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

# What stands behind the authority, and what is sent of it.
SENT = {
    "": "/",
    "/": "/",
    "?": "/?",
    "?a=1": "/?a=1",
    "#top": "/",
    "/?": "/?",
    "/?#top": "/?",
    "/a?b#c?d#e": "/a?b",
    "/%d9%86?q=%D9%86%2f%2F": "/%d9%86?q=%D9%86%2f%2F",
    "/%7euser/%41": "/%7euser/%41",
    "/%": "/%",
    "/%zz%0": "/%zz%0",
    "/[x]|^`{}<>\"\\'?[y]|^`{}<>\"\\'": "/[x]|^`{}<>\"\\'?[y]|^`{}<>\"\\'",
    "/a/../b/./c/..": "/a/../b/./c/..",
    "/..": "/..",
    "//a//b": "//a//b",
    "/a;b=c;d?e;f": "/a;b=c;d?e;f",
    "/user@host:1?to=a@b:c": "/user@host:1?to=a@b:c",
    "/http://other.test/": "/http://other.test/",
    "/" + "x" * 8000: "/" + "x" * 8000,
}

# The split alone

octets = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FF).filter(lambda c: c not in "#\x7f")
)
authorities = st.sampled_from(["h", "h:80", "u@h", "u:p@h:8080", "[::1]", "u:p@[::1]:80", "a@b@h"])


@given(
    st.sampled_from(["http", "https", "HTTP"]),
    authorities,
    octets,
    st.none() | octets,
    st.booleans(),
)
def test_nothing_is_changed(
    scheme: str, authority: str, rest: str, fragment: str | None, http_proxy: bool
) -> None:
    if not rest.startswith(("/", "?")):
        rest = "/" + rest
    url = f"{scheme}://{authority}{rest}" + ("" if fragment is None else f"#{fragment}")
    split = request_target(url, http_proxy=http_proxy)
    host = authority.rpartition("@")[2]
    path = rest if rest.startswith("/") else "/" + rest
    assert split.server == f"{scheme}://{authority}".encode()
    assert split.authority == host.encode()
    assert split.is_absolute == (http_proxy and scheme != "https")
    assert split.target == (f"{scheme}://{host}" * split.is_absolute + path).encode()


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\r\nX: y", " ", "\t", "\x7f", "\x1f"])
@pytest.mark.parametrize("url", ["http://h/a{}b", "http://h?a{}b", "http://a{}b/", "http://h/{}"])
def test_whitespace_and_control_characters_are_refused(url: str, character: str) -> None:
    with pytest.raises(HttpSyntaxError, match="the request target of the request has"):
        request_target(url.format(character), http_proxy=False)


def test_in_a_fragment_they_are_not_sent() -> None:
    assert request_target("http://h/a#b c\r\n", http_proxy=False).target == b"/a"


@pytest.mark.parametrize("url", ["", "h", "/a", "http:/h", "ftp://h/", "//h/", "xhttp://h/"])
def test_what_is_no_url_of_ours_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no http or https URL|is empty|without a host"):
        request_target(url, http_proxy=False)


# On the wire


async def targets_seen(url: str, origin: TlsOrigin | Http3Origin, **profile: Any) -> list[str]:
    """Return what an origin has seen of `SENT`, in its order."""
    encoded = encode_profile(Profile(**profile))
    found = []
    with WorkerClient(Hello(profiles=[("this one", encoded)])) as worker:
        for rest in SENT:
            fetch = Fetch(url=url + rest, profile=encoded, timeout_seconds=30.0)
            completed, _ = await worker.fetch(fetch)
            assert isinstance(completed, Completed), (rest, completed)
            found.append(origin.requests[-1].path)
    return found


@pytest.mark.processes
def test_every_version_of_http_sends_it_as_it_is(make_origin: MakeOrigin) -> None:
    with make_origin() as origin:
        found = asyncio.run(targets_seen(origin.url, origin))
    assert found == list(SENT.values())


@pytest.mark.processes
@pytest.mark.skipif(b"nghttp3" not in Curl().version(), reason="this libcurl speaks no HTTP/3")
def test_so_does_http_3() -> None:
    with Http3Origin() as origin:
        found = asyncio.run(targets_seen(origin.url, origin, http_version="v3only"))
    assert found == list(SENT.values())


@pytest.mark.processes
@pytest.mark.parametrize(
    ("authority", "named"),
    [
        ("origin.test", "origin.test"),
        ("origin.test:80", "origin.test:80"),
        ("user:pass@origin.test:81", "origin.test:81"),
        ("[::1]", "[::1]"),
        ("user:pass@[::1]:81", "[::1]:81"),
    ],
)
def test_a_proxy_for_plain_http_is_told_the_whole_url(authority: str, named: str) -> None:
    with TlsOrigin(tls=False) as proxy:
        url = f"http://{authority}"
        found = asyncio.run(targets_seen(url, proxy, proxy=proxy.url))
        seen = proxy.requests
    assert found == [f"http://{named}{target}" for target in SENT.values()]
    assert {request.header("Host") for request in seen} == {named.removesuffix(":80").encode()}
    basic = b"Basic dXNlcjpwYXNz" if "@" in authority else None
    assert {request.header("Authorization") for request in seen} == {basic}


@pytest.mark.processes
@pytest.mark.parametrize(
    ("scheme", "options"),
    [("http", {}), ("http", {"alpn": ("h2",)}), ("socks5h", {}), ("socks5h", {"tls": False})],
)
def test_behind_other_proxies_it_is_as_without_one(scheme: str, options: dict[str, Any]) -> None:
    with TlsOrigin(**options) as origin, Proxy() as proxy:
        by = f"{scheme}://{proxy.location}"
        found = asyncio.run(targets_seen(origin.url, origin, proxy=by))
    assert found == list(SENT.values())


# In a crawl

_VERBATIM = pytest.mark.skipif(
    not hasattr(scrapy.Request, "_url_is_verbatim"), reason="this Scrapy has no verbatim_url"
)


@pytest.mark.parametrize("verbatim", [False, pytest.param(True, marks=_VERBATIM)])
def test_a_canonical_url_in_lower_case_does_not_redirect_for_ever(
    crawl: RunCrawl, make_origin: MakeOrigin, verbatim: bool
) -> None:
    def app(seen: SeenRequest) -> Reply:
        if seen.path == "/%d9%86":
            return Reply(body=b"ok")
        return Reply(status=301, headers=[(b"Location", b"/%d9%86")])

    with make_origin(app) as origin:
        meta = {"verbatim_url": verbatim}
        crawled = crawl({"url": f"{origin.url}/%D9%86", "meta": meta}, f"{origin.url}/%d9%86")
    assert [r["body"] for r in crawled.responses] == ["ok"] * 2
    assert len(origin.requests) == 3


def test_the_url_of_a_response_has_no_fragment(crawl: RunCrawl, make_origin: MakeOrigin) -> None:
    """As with Scrapy's own handler for HTTP/1.1."""
    with make_origin() as origin:
        wanted = [
            origin.url + rest for rest in ("#top", "/a#top", "/a?b#top", "/a?b=c#", "/d", "/e?#top")
        ]
        crawled = crawl(*({"url": url, "meta": {"wanted": url}} for url in wanted))
        by_scrapy = crawl(
            *({"url": url, "meta": {"wanted": url, "curl_safe": False}} for url in wanted)
        )
    urls = {r["meta"]["wanted"]: r["url"] for r in crawled.responses}
    assert urls == {url: urldefrag(url).url for url in wanted}
    assert urls == {r["meta"]["wanted"]: r["url"] for r in by_scrapy.responses}

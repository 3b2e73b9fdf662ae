"""CURL_SAFE_COMPAT: spiders written for other download handlers run as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curl_cffi
import curl_cffi.requests
import pytest
from curl_cffi import BrowserTypeLiteral
from scrapy import Request
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import RandomBrowserMiddleware
from scrapy_curl_safe._crawl.compat import all_options, foreign_options
from testkit.crawling import ROOT
from testkit.fixtures import RunCrawl
from testkit.origins.hello import PADDING, PRE_SHARED_KEY, ClientHello, ja3, parse_client_hello
from testkit.origins.proxies import Proxy
from testkit.origins.tls import TlsOrigin

Connection = tuple[ClientHello, dict[bytes, bytes]]
#: Fingerprint and User-Agent.
Browser = tuple[str, bytes]
RunMoved = Callable[[str, TlsOrigin], list[str]]


@pytest.fixture
def moved(processes: Path) -> RunMoved:
    """Run the spider of one of the modules in tests/moved, by its settings alone; the paths of its
    items come back."""

    def run(module: str, origin: TlsOrigin) -> list[str]:
        items = processes / "items.json"
        arguments = ["runspider", f"tests/moved/{module}.py", "-a", f"url={origin.url}"]
        process = subprocess.run(
            [sys.executable, "-m", "scrapy", *arguments, "-o", str(items)],
            cwd=ROOT,
            env={
                **os.environ,
                "SCRAPY_SETTINGS_MODULE": "tests.moved.settings",
                "PYTHONPATH": str(ROOT),
                "TMPDIR": str(processes),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert "ERROR" not in process.stderr, process.stderr
        return sorted(item["url"].rpartition("/")[2] for item in json.loads(items.read_text()))

    return run


def seen(origin: TlsOrigin) -> dict[str, Connection]:
    """Return by path the handshake and the headers."""
    return {
        request.path[1:]: (
            parse_client_hello(origin.hello_of(request)),
            {name.lower(): value for name, value in request.headers},
        )
        for request in origin.requests
    }


def fingerprint(hello: ClientHello) -> str:
    # Chrome orders its extensions anew each time, and a session that is resumed adds some.
    return ja3(hello, sort_extensions=True, leave_out=(PADDING, PRE_SHARED_KEY))


@pytest.fixture(scope="module")
def browsers() -> dict[str, Browser]:
    """Browsers by name, as curl_cffi itself shows them."""
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        names: tuple[BrowserTypeLiteral, ...] = ("chrome", "firefox", "safari")
        for name in names:
            curl_cffi.requests.get(f"{origin.url}/{name}", impersonate=name, verify=False)
        return {
            name: (fingerprint(hello), headers[b"user-agent"])
            for name, (hello, headers) in seen(origin).items()
        }


def looks_like(browser: Browser, connection: Connection) -> bool:
    hello, headers = connection
    return (fingerprint(hello), headers[b"user-agent"]) == browser


def test_a_spider_for_scrapy_impersonate(moved: RunMoved, browsers: dict[str, Browser]) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        assert moved("with_scrapy_impersonate", origin) == ["firefox", "safari"]
        connections = seen(origin)
        versions = {request.path: request.http_version for request in origin.requests}
        peers = {request.path: origin.peers[request.connection] for request in origin.requests}
    assert looks_like(browsers["firefox"], connections["firefox"])
    hello, headers = connections["safari"]
    assert headers[b"user-agent"] == browsers["safari"][1]
    assert hello.signature_algorithms == (0x0403,)
    assert hello.alpn == ("http/1.1",)
    assert versions["/safari"] != versions["/firefox"]
    assert peers == {"/firefox": "127.0.0.1", "/safari": "127.0.0.2"}


def test_a_spider_for_scrapy_curl(moved: RunMoved, browsers: dict[str, Browser]) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        assert moved("with_scrapy_curl", origin) == ["firefox", "plain", "raw"]
        connections = seen(origin)
        (raw,) = (request for request in origin.requests if request.path == "/raw")
    assert looks_like(browsers["firefox"], connections["firefox"])
    assert [header for header in raw.headers if header[0] != b"Host"] == [
        (b"x-first", b"1"),
        (b"User-Agent", b"of my own"),
    ]
    assert connections["raw"][0].ciphers != connections["firefox"][0].ciphers
    assert connections["plain"][1][b"user-agent"].startswith(b"Scrapy/")
    assert fingerprint(connections["plain"][0]) not in {known for known, _ in browsers.values()}


def test_a_spider_for_scrapy_curl_cffi(moved: RunMoved, browsers: dict[str, Browser]) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        assert moved("with_scrapy_curl_cffi", origin) == ["firefox", "safari"]
        connections = seen(origin)
    assert looks_like(browsers["firefox"], connections["firefox"])
    hello, headers = connections["safari"]
    assert fingerprint(hello) == browsers["safari"][0]
    assert headers[b"user-agent"].startswith(b"Scrapy/")


def test_a_spider_for_the_incubator(moved: RunMoved, browsers: dict[str, Browser]) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        assert moved("with_incubator", origin) == ["dict", "firefox", "object"]
        connections = seen(origin)
    assert looks_like(browsers["firefox"], connections["firefox"])
    for name in ("dict", "object"):
        hello, headers = connections[name]
        assert headers[b"user-agent"] == b"of the fingerprint"
        assert len(hello.ciphers) < len(connections["firefox"][0].ciphers)


FOREIGN: list[dict[str, Any]] = [
    {"impersonate": "firefox"},
    {"impersonate": "x", "impersonate_args": {"impersonate": "firefox"}},
    {"curl": {"impersonate": "firefox"}},
    {"curl_cffi_options": {"impersonate": "firefox"}},
    {"curl_cffi_impersonate": "firefox"},
]


def test_without_the_setting_they_mean_nothing(
    crawl: RunCrawl, browsers: dict[str, Browser]
) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(
            *({"url": f"{origin.url}/{n}", "meta": meta} for n, meta in enumerate(FOREIGN))
        )
        connections = seen(origin)
    assert crawled.errors == []
    assert all(looks_like(browsers["chrome"], connection) for connection in connections.values())


def test_what_cannot_be_done_fails_that_request_alone(
    crawl: RunCrawl, browsers: dict[str, Browser]
) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/0", "meta": {"impersonate_args": {"doh_url": "https://d.test"}}},
            {"url": f"{origin.url}/1", "meta": {"impersonate": "netscape4"}},
            {"url": f"{origin.url}/firefox", "meta": {"impersonate": "firefox"}},
            CURL_SAFE_COMPAT=True,
        )
        connections = seen(origin)
    assert [(error["number"], error["type"]) for error in crawled.errors] == [
        (0, "ValueError"),
        (1, "ValueError"),
    ]
    text = crawled.errors[0]["text"]
    assert text.startswith("""meta["impersonate_args"]['doh_url'] is 'https://d.test': """)
    assert "netscape4" in crawled.errors[1]["text"]
    assert connections.keys() == {"firefox"}
    assert looks_like(browsers["firefox"], connections["firefox"])


def test_a_timeout_among_the_arguments_counts(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=60) as origin:
        crawled = crawl(
            {"url": origin.url, "meta": {"impersonate_args": {"timeout": 0.5}, "dont_retry": True}},
            CURL_SAFE_COMPAT=True,
        )
    assert [error["type"] for error in crawled.errors] == ["DownloadTimeoutError"]


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_proxy_among_the_arguments_gets_no_credentials_of_another(
    crawl: RunCrawl, scheme: str
) -> None:
    meta = {
        "proxy": "http://user:secret@127.0.0.1:1",
        "proxy_headers": {"X-Other": "secret"},
        "dont_retry": True,
    }
    with TlsOrigin(tls=scheme == "https") as origin, Proxy() as proxy:
        location = f"http://127.0.0.1:{proxy.port}"
        crawled = crawl(
            {"url": origin.url, "meta": {**meta, "impersonate_args": {"proxy": location}}},
            CURL_SAFE_COMPAT=True,
        )
        received = proxy.received
    assert [r["status"] for r in crawled.responses] == [200], crawled.errors
    assert received
    assert b"authorization" not in received.lower()
    assert b"X-Other" not in received


@pytest.mark.parametrize("meta", FOREIGN)
def test_the_key_of_this_package_wins(meta: dict[str, Any]) -> None:
    assert all_options(meta, None) == {"impersonate": "firefox"}
    own = {"curl_safe": {"impersonate": "safari", "verify": True}}
    assert all_options({**meta, **own}, None) == {"impersonate": "safari", "verify": True}
    assert all_options({**meta, "curl_safe": False}, None) is False


def test_the_key_of_this_package_wins_over_scrapys_handler() -> None:
    assert all_options({"curl": False}, None) is False
    assert all_options({"curl": False, "curl_safe": {}}, None) == {}


@pytest.mark.parametrize(
    ("meta", "options"),
    [
        ({}, {}),
        ({"impersonate": None, "curl": True}, {}),
        ({"curl_cffi_options": {"impersonate": None, "ja3": None}}, {"impersonate": None}),
        ({"impersonate_args": {"allow_redirects": False, "timeout": 3}}, {"timeout": 3.0}),
        ({"impersonate_args": {"interface": "::1"}}, {"interface": ("::1", 0)}),
        (
            {"impersonate_args": {"http_version": curl_cffi.CurlHttpVersion.V1_1}},
            {"http_version": "v1"},
        ),
        ({"curl": {"http_version": 3}}, {"http_version": "v2"}),
        ({"impersonate": curl_cffi.BrowserType.firefox133}, {"impersonate": "firefox133"}),
    ],
)
def test_what_they_mean(meta: dict[str, Any], options: dict[str, Any]) -> None:
    found = foreign_options(meta, None)
    assert found == options
    assert [type(value) for value in found.values()] == [type(v) for v in options.values()]


@pytest.mark.parametrize(
    ("meta", "text"),
    [
        ({"impersonate": 7}, """meta["impersonate"] is 7: it takes the name of"""),
        ({"curl_cffi_impersonate": []}, """meta["curl_cffi_impersonate"] is []: it takes the"""),
        ({"impersonate_args": ["x"]}, """meta["impersonate_args"] is ['x']: it takes a dict"""),
        (
            {"impersonate_args": {"allow_redirects": True}},
            """meta["impersonate_args"]['allow_redirects'] is True: it takes False""",
        ),
        (
            {"impersonate_args": {"timeout": (3, 9)}},
            """meta["impersonate_args"]['timeout'] is (3, 9): it takes a number of seconds""",
        ),
        (
            {"impersonate_args": {"interface": "eth0"}},
            """meta["impersonate_args"]['interface'] is 'eth0': it takes an IP address""",
        ),
        ({"curl": {"verify": 1}}, """meta["curl"]['verify'] is 1: it takes True or False"""),
        ({"curl": {"http_version": 9}}, """meta["curl"]['http_version'] is 9: it takes one of"""),
        (
            {"curl_cffi_options": {"http_version": "v1"}},
            """meta["curl_cffi_options"]['http_version'] is 'v1': that cannot be done here""",
        ),
        (
            {"impersonate_curl_options": {"DOH_URL": "x"}},
            """meta["impersonate_curl_options"] is {'DOH_URL': 'x'}: no libcurl options""",
        ),
    ],
)
def test_what_cannot_be_done_is_named(meta: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=r"\A") as raised:
        foreign_options(meta, None)
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize("meta", [*FOREIGN, {"curl": False}])
def test_a_request_with_a_browser_of_its_own_is_given_no_other(meta: dict[str, Any]) -> None:
    for compat in (True, False):
        crawler = get_crawler(settings_dict={"CURL_SAFE_COMPAT": compat})
        crawler.spider = None
        request = Request("https://a.test/", meta=meta)
        RandomBrowserMiddleware.from_crawler(crawler).process_request(request)
        assert ("curl_safe" in request.meta) is not compat

"""Every target of the installed curl_cffi passes for a browser that opens a page, whatever was
recorded for it."""

from __future__ import annotations

import asyncio
import re

import pytest
from curl_cffi import Curl

from scrapy_curl_safe._crawl.browser.contradictions import Sent, contradictions
from scrapy_curl_safe._crawl.browser.headers import browser_headers, http1_fields, http2_fields
from scrapy_curl_safe._crawl.browser.request import BrowserRequest
from scrapy_curl_safe._crawl.browser.target import learn_target
from scrapy_curl_safe._ipc.messages import (
    Completed,
    Fetch,
    Hello,
    InvalidRequest,
    Profile,
    Ready,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from scrapy_curl_safe._worker.curl_api import ALIASES
from scrapy_curl_safe._worker.targets import CURL_CFFI_VERSION, resolve_browser
from testkit.fixtures import RunCrawl
from testkit.origins.http3 import Http3Origin
from testkit.origins.tls import TlsOrigin

pytestmark = pytest.mark.processes

Head = list[tuple[str, str]]
PAGE = "https://www.site-a.test/"


def heads_of(names: list[str], *, substitute: bool) -> tuple[Ready, dict[str, Head]]:
    """Return what a worker says when it is up, and the own headers of each target that libcurl
    has, too."""

    async def run() -> tuple[Ready, dict[str, Head]]:
        heads = {}
        with WorkerClient(Hello(profiles=[("default", encode_profile(Profile()))])) as worker:
            ready = await worker.ready()
            for name in names or ready.targets:
                profile = Profile(impersonate=name, substitute=substitute, http_version="v2tls")
                fetch = Fetch(
                    url="http://127.0.0.1/",
                    profile=encode_profile(profile),
                    timeout_seconds=30.0,
                    echo=True,
                )
                outcome, body = await worker.fetch(fetch)
                if not isinstance(outcome, InvalidRequest):
                    assert isinstance(outcome, Completed)
                    lines = body.decode("latin-1").split("\r\n")[1:]
                    pairs = [line.partition(":") for line in lines]
                    heads[name] = [(key, value.strip()) for key, _, value in pairs]
        return ready, heads

    return asyncio.run(run())


def test_every_target_computes_a_first_page() -> None:
    ready, heads = heads_of([], substitute=False)
    assert len(heads) > 25
    # Deprecated names, which curl_cffi 0.17 lists and does not know.
    assert all(name.startswith("safari18_4") for name in ready.targets.keys() - heads.keys())
    broken = {}
    for name, head in heads.items():
        target = learn_target(head)
        headers = browser_headers(BrowserRequest("page", PAGE), target, [(b"Host", b"site-a.test")])
        for protocol, fields in (
            ("h2", http2_fields(headers)),
            ("http/1.1", http1_fields(headers)),
        ):
            sent = Sent(
                protocol,
                "GET",
                PAGE,
                tuple((name.decode(), value.decode()) for name, value in fields),
                headers.weight,
                headers.exclusive,
            )
            rules = [*contradictions(sent), *_no_first_page(list(sent.fields))]
            if rules:
                broken[name, protocol] = rules
        mobile = target.value("sec-ch-ua-mobile")
        is_phone = "Mobile" in (target.value("user-agent") or "")
        assert mobile in (None, "?1" if is_phone else "?0"), name
        # The version that the name has is the version of its values.
        version = re.search(r"(?:chrome|edge|firefox)(\d+)|safari(\d\d)", name)
        if version is not None:
            assert target.major == int(version[1] or version[2]), name
    assert broken == {}


def test_what_stands_behind_a_name_sends_a_first_page() -> None:
    """With its own headers, as CURL_SAFE_BROWSER_HEADERS = "static" has it."""
    _, heads = heads_of(sorted(ALIASES), substitute=True)
    broken = {name: _no_first_page(head) for name, head in heads.items()}
    assert {name: rules for name, rules in broken.items() if rules} == {}
    assert heads.keys() == ALIASES.keys()


def test_a_target_itself_stays_what_it_is() -> None:
    for target in set(ALIASES.values()):
        profile = Profile(impersonate=target, substitute=True)
        assert resolve_browser(profile).impersonate == target
    for name, target in ALIASES.items():
        assert resolve_browser(Profile(impersonate=name)).impersonate == target


def _no_first_page(head: Head) -> list[str]:
    """Return what speaks against a page whose address was typed."""
    values = {name.lower(): value for name, value in head}
    expected = {
        "sec-fetch-site": "none",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
        "sec-fetch-user": "?1",
    }
    wrong = [name for name, value in expected.items() if values.get(name, value) != value]
    return wrong + [name for name in ("cache-control", "pragma", "referer") if name in values]


@pytest.mark.parametrize("mode", ["context", "static"])
def test_the_log_names_what_a_name_stands_for_once(crawl: RunCrawl, mode: str) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            CURL_SAFE_BROWSERS=["chrome", "firefox", "chrome131"],
            DOWNLOADER_MIDDLEWARES={"scrapy_curl_safe.RandomBrowserMiddleware": 760},
            CURL_SAFE_BROWSER_HEADERS=mode,
        )
    (line,) = [line for line in crawled.log.splitlines() if " INFO: scrapy-curl-safe " in line]
    assert f"with curl_cffi {CURL_CFFI_VERSION}" in line
    assert " or chrome131 (" in line
    assert "chrome131 (chrome131" not in line
    for name in ("chrome", "firefox"):
        profile = Profile(impersonate=name, substitute=mode == "static")
        assert f" {name} ({resolve_browser(profile).impersonate}" in line


@pytest.mark.skipif(b"nghttp3" not in Curl().version(), reason="this libcurl speaks no HTTP/3")
@pytest.mark.parametrize("browser", ["chrome", "firefox"])
def test_a_name_stands_for_one_with_http3_where_that_is_asked_for(
    crawl: RunCrawl, browser: str
) -> None:
    with Http3Origin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_IMPERSONATE=browser, CURL_SAFE_HTTP_VERSION="v3only")
        assert [r["protocol"] for r in crawled.responses] == ["HTTP/3"], crawled.log
        (request,) = origin.requests
    target = resolve_browser(Profile(impersonate=browser, substitute=True)).impersonate
    assert target is not None
    version = re.search(r"Chrome/(\d+)|Firefox/(\d+)|Version/(\d+)", str(request.headers))
    assert version is not None
    assert next(filter(None, version.groups())) in target

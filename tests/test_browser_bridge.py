"""Sessions that go into a real browser and come back."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from scrapy import Request
from scrapy.downloadermiddlewares.cookies import CookiesMiddleware
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_curl_safe import SessionMiddleware, session_for_browser, session_from_browser
from scrapy_curl_safe._crawl.browser.user_agents import brand_list, with_user_agent
from scrapy_curl_safe._crawl.scrapy_api import cookiejars
from scrapy_curl_safe._crawl.session_pools import session_pool_of
from scrapy_curl_safe._crawl.sessions.adopted import adopt
from scrapy_curl_safe._crawl.sessions.pool import SessionPool
from scrapy_curl_safe._crawl.sessions.saved import dump, load
from scrapy_curl_safe._crawl.sessions.session import VisitorSession
from testkit.crawling import ROOT
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.visitors import AddressProxy, VisitorsOrigin
from testkit.pages import blocks_of
from testkit.processes import worker_pids

from .test_browser_headers_rules import TARGETS

ORIGIN = "https://a.test:443"
PROXIES = ["http://user:p%40ss@p0.test:1", "socks5h://p1.test:2"]
COOKIE = {
    "name": "sid",
    "value": "7",
    "domain": ".a.test",
    "path": "/",
    "expires": 4102444800,
    "httpOnly": True,
    "secure": True,
    "sameSite": "Strict",
}
OF_BROWSER_RUN = {"name": "b", "value": "", "domain": "localhost", "path": "/x", "expires": -1}
LINUX = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{} Safari/537.36"
)


class Crawl:
    """A crawler that has sessions and cookies, but sends nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sessions = {"proxies": PROXIES, "browsers": ["chrome"]}
        self.crawler = get_crawler(settings_dict={"CURL_SAFE_SESSIONS": sessions})
        cookies = CookiesMiddleware()
        monkeypatch.setattr(self.crawler, "get_downloader_middleware", lambda _: cookies)
        SessionMiddleware.from_crawler(self.crawler)
        pool = session_pool_of(self.crawler)
        assert pool is not None
        self.pool: SessionPool = pool

    def options(self, name: str = "ann") -> dict[str, Any]:
        return asyncio.run(session_for_browser(self.crawler, name))

    def cookies(self, name: str = "ann") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.options(name)["storage_state"]["cookies"]
        return listed

    def used(self, name: str | None = None) -> VisitorSession:
        session = self.pool.acquire(ORIGIN, 0.0, name=name)
        assert isinstance(session, VisitorSession)
        self.pool.succeeded(session, ORIGIN)
        return session


@pytest.fixture
def crawl(monkeypatch: pytest.MonkeyPatch) -> Crawl:
    return Crawl(monkeypatch)


def test_cookies_come_back_as_they_went(crawl: Crawl) -> None:
    session_from_browser(crawl.crawler, "ann", [COOKIE, OF_BROWSER_RUN])
    defaults = {"httpOnly": False, "secure": False, "sameSite": "Lax"}
    assert crawl.cookies() == [COOKIE, {**OF_BROWSER_RUN, **defaults}]
    # What `storage_state()` returns is taken as well, and other sessions have none of it.
    session_from_browser(crawl.crawler, "bob", {"cookies": [COOKIE], "origins": []})
    assert crawl.cookies("bob") == [COOKIE]
    assert crawl.cookies("eve") == []


@pytest.mark.parametrize(
    ("attributes", "http_only", "secure", "same_site"),
    [
        ("httponly; secure; samesite=none", True, True, "None"),
        ("HTTPONLY; SAMESITE=STRICT", True, False, "Strict"),
        ("SameSite=None", False, False, "Lax"),
        ("SameSite=whatever", False, False, "Lax"),
        ("SameSite", False, False, "Lax"),
    ],
)
@pytest.mark.parametrize("host", ["localhost", "a.cluster.local"])
def test_attributes_count_however_an_origin_spells_them(
    crawl: Crawl, host: str, attributes: str, http_only: bool, secure: bool, same_site: str
) -> None:
    request = Request(f"https://{host}/")
    response = Response(request.url, headers={"Set-Cookie": f"a=1; {attributes}"})
    jars = cookiejars(crawl.crawler)
    assert jars is not None
    jars[crawl.used("ann").cookiejar].extract_cookies(response, request)
    (cookie,) = crawl.cookies()
    assert cookie["domain"] == host
    assert (cookie["httpOnly"], cookie["secure"]) == (http_only, secure)
    assert cookie["sameSite"] == same_site


def test_a_moved_session_has_no_first_request_to_wait_for(crawl: Crawl) -> None:
    session = crawl.pool.acquire(ORIGIN, 0.0, name="ann")
    assert isinstance(session, VisitorSession)
    assert crawl.pool.acquire(ORIGIN, 0.0, name="ann") is not session
    crawl.options()
    assert crawl.pool.acquire(ORIGIN, 0.0, name="ann") is session


def test_the_proxy_has_the_form_of_a_browser(crawl: Crawl) -> None:
    known = [crawl.options(f"ann-{number}")["proxy"] for number in range(2)]
    of_user = {"server": "http://p0.test:1", "username": "user", "password": "p@ss"}
    assert of_user in known
    assert {"server": "socks5://p1.test:2"} in known


@pytest.mark.parametrize("proxy", [*PROXIES, "http://u:p@other.test:3", "other.test:4"])
def test_a_session_gets_the_proxy_of_the_browser(crawl: Crawl, proxy: str) -> None:
    before = crawl.used("ann")
    session_from_browser(crawl.crawler, "ann", [COOKIE], proxy=proxy)
    after = crawl.used("ann")
    assert after.proxy is not None
    assert after.proxy.url == (proxy if "://" in proxy else f"http://{proxy}")
    assert crawl.cookies() == [COOKIE]
    # It had another, which it has kept to its end.
    assert (after is before) == (before.ended is None)
    assert before.ended in (None, "replaced")
    # The same once more, and as a dict, changes nothing.
    for same in (proxy, crawl.options()["proxy"]):
        session_from_browser(crawl.crawler, "ann", [], proxy=same)
        assert crawl.used("ann") is after


def test_a_session_that_a_browser_began_goes_on_in_a_continued_crawl(
    crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for proxy in PROXIES:
        agent = LINUX.format("156.0.0.0")
        session_from_browser(crawl.crawler, proxy[-4:], [], user_agent=agent, proxy=proxy)
    state = dump(crawl.pool, 0.0, 0.0, lambda jar: [jar])
    later = Crawl(monkeypatch)
    assert len(list(load(later.pool, state, 0.0, 0.0))) == 2
    for proxy in PROXIES:
        session = later.used(proxy[-4:])
        assert session.proxy is not None
        assert (session.proxy.url, session.user_agent) == (proxy, LINUX.format("156.0.0.0"))


def test_a_session_that_no_user_has_named_keeps_what_it_has(crawl: Crawl) -> None:
    session = crawl.used()
    proxy = crawl.options(session.name)["proxy"]
    session_from_browser(crawl.crawler, session.name, [COOKIE], proxy=proxy)
    assert crawl.cookies(session.name) == [COOKIE]
    with pytest.raises(ValueError, match="another proxy or User-Agent, which it keeps"):
        session_from_browser(crawl.crawler, session.name, [], proxy="http://other.test:3")
    crawl.pool.end(session, "blocked")
    with pytest.raises(ValueError, match=f"there is no session '{session.name}' any more"):
        session_from_browser(crawl.crawler, session.name, [])


def test_another_user_agent_takes_computed_headers(crawl: Crawl) -> None:
    def adopt_it(agent: str | None) -> VisitorSession:
        return adopt(crawl.pool, "ann", None, agent, 0.0, sends_user_agent=False)

    session = adopt_it(None)
    session.user_agent = LINUX.format("156.0.0.0")
    assert adopt_it(session.user_agent) is session
    with pytest.raises(ValueError, match="takes CURL_SAFE_BROWSER_HEADERS = 'context'"):
        adopt_it(LINUX.format("152.0.0.0"))


@pytest.mark.parametrize(
    ("cookie", "proxy", "complaint"),
    [
        ({"name": "sid", "value": "7"}, None, "a cookie has no domain"),
        ({"domain": "a.test"}, None, "a cookie has no name and no value"),
        (COOKIE, {"username": "u", "password": "s3cret"}, "dict of username, password: it takes"),
        (COOKIE, {}, "dict of nothing: it takes server"),
    ],
)
def test_what_is_missing_is_named_and_changes_nothing(
    crawl: Crawl, cookie: dict[str, Any], proxy: Any, complaint: str
) -> None:
    before = crawl.options()
    with pytest.raises(ValueError, match=complaint):
        session_from_browser(crawl.crawler, "ann", [COOKIE, cookie], proxy=proxy)
    assert crawl.options() == before


def test_without_sessions_there_is_nothing_to_move() -> None:
    with pytest.raises(ValueError, match="they take CURL_SAFE_SESSIONS"):
        session_from_browser(get_crawler(), "ann", [])


def test_a_user_agent_brings_the_hints_that_agree_with_it() -> None:
    target = TARGETS["chromium-156"]
    same = with_user_agent(target, target.value("user-agent") or "")
    assert same is target
    other = with_user_agent(target, LINUX.format("131.0.0.0"))
    assert other is with_user_agent(target, LINUX.format("131.0.0.0"))
    assert other.major == 131
    assert other.value("sec-ch-ua-platform") == '"Linux"'
    assert other.value("sec-ch-ua-mobile") == "?0"
    assert other.value("sec-ch-ua") == '"Chromium";v="131", "Not_A Brand";v="24"'
    assert other.order == target.order
    phone = LINUX.format("156.0.0.0 Mobile").replace("X11; Linux x86_64", "Linux; Android 10; K")
    assert with_user_agent(target, phone).value("sec-ch-ua-platform") == '"Android"'
    assert with_user_agent(target, phone).value("sec-ch-ua-mobile") == "?1"
    for family in ("firefox-153", "safari"):
        with pytest.raises(ValueError, match="it takes one of the same family"):
            with_user_agent(target, TARGETS[family].value("user-agent") or "")
    with pytest.raises(ValueError, match="it takes one of the same family"):
        with_user_agent(TARGETS["safari"], "curl/8.0")


def test_the_brands_of_the_recorded_version() -> None:
    assert brand_list(None, 156) == TARGETS["chromium-156"].value("sec-ch-ua")


@pytest.mark.parametrize(
    ("major", "brands"),
    [
        (120, '"Not_A Brand";v="8", "Chromium";v="120", "Google Chrome";v="120"'),
        (124, '"Chromium";v="124", "Google Chrome";v="124", "Not-A.Brand";v="99"'),
        (131, '"Google Chrome";v="131", "Chromium";v="131", "Not_A Brand";v="24"'),
        (136, '"Chromium";v="136", "Google Chrome";v="136", "Not.A/Brand";v="99"'),
    ],
)
def test_brands_of_versions(major: int, brands: str) -> None:
    assert brand_list("Google Chrome", major) == brands


CHROMIUM = shutil.which("chromium")
SETTINGS = {
    "ADDONS": {"scrapy_curl_safe.Addon": 500},
    "DOWNLOAD_HANDLERS": {"https": "shop_handler.Handler"},
    "PLAYWRIGHT_PROCESS_REQUEST_HEADERS": None,
    "PLAYWRIGHT_LAUNCH_OPTIONS": {
        "executable_path": CHROMIUM,
        "args": ["--no-sandbox", "--ignore-certificate-errors"],
    },
    "DOWNLOAD_TIMEOUT": 240,
    "PLAYWRIGHT_DEFAULT_NAVIGATION_TIMEOUT": 240_000,
    "FEEDS": {"items.jsonl": {"format": "jsonlines"}},
}


def shop(seen: SeenRequest) -> Reply:
    cookies = seen.header("Cookie") or b""
    headers = [(b"Content-Type", b"text/html")]
    if seen.path == "/":
        return Reply(headers=[*headers, (b"Set-Cookie", b"basket=3; Path=/")])
    if seen.path == "/login":
        body = b"<p>Hello</p><script>document.cookie = 'login=yes; path=/'</script>"
        return Reply(headers=headers, body=body if b"basket=3" in cookies else b"")
    known = b"basket=3" in cookies and b"login=yes" in cookies
    return Reply(headers=headers, body=b"<li>a hat</li>" if known else b"")


@pytest.mark.processes
@pytest.mark.skipif(
    CHROMIUM is None or find_spec("scrapy_playwright") is None,
    reason="needs Debian's chromium, scrapy-playwright and playwright",
)
def test_what_the_page_shows_works_with_scrapy_playwright(tmp_path: Path) -> None:
    blocks = [b.text for b in blocks_of(ROOT / "docs/sessions.md") if b.language == "python"]
    (handler,) = (text for text in blocks if "class Handler" in text)
    (spider,) = (text for text in blocks if "session_for_browser" in text)
    (tmp_path / "shop_handler.py").write_text(handler)
    with VisitorsOrigin(app=shop) as origin, AddressProxy(9) as proxy:
        spider = spider.replace("https://shop.example", origin.url)
        sessions = f'{{"proxies": ["{proxy.url}"], "browsers": ["chrome"]}}'
        spider = spider.replace('{"browsers": ["chrome"]}', sessions)
        (tmp_path / "shop.py").write_text(spider)
        (tmp_path / "settings.py").write_text(
            "\n".join(f"{name} = {value!r}" for name, value in SETTINGS.items())
        )
        crawled = subprocess.run(
            [sys.executable, "-m", "scrapy", "runspider", "shop.py"],
            cwd=tmp_path,
            env={
                **os.environ,
                "SCRAPY_SETTINGS_MODULE": "settings",
                "PYTHONPATH": str(tmp_path),
                "TMPDIR": str(tmp_path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        asked = [seen for seen in origin.requests if seen.path in ("/", "/login", "/orders")]
        visits = {origin.visit_of(seen) for seen in asked}
    assert (tmp_path / "items.jsonl").read_text() == '{"orders": ["a hat"]}\n', crawled.stderr
    assert [seen.path for seen in asked] == ["/", "/login", "/orders"]
    # One visitor: by its cookie, its address and its User-Agent.
    assert {visit.cookie for visit in visits} == {"", "v1"}
    assert {visit.address for visit in visits} == {proxy.address}
    (agent,) = {seen.header("User-Agent") for seen in asked}
    assert b"Headless" not in (agent or b"")
    assert worker_pids(tmp_path) == []

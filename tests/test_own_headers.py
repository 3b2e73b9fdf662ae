"""Headers of one's own that contradict the impersonated browser: a warning, once, and a check of
the doctor."""

from __future__ import annotations

from typing import Any

import pytest

from scrapy_curl_safe._crawl.browser.own_headers import find_conflict
from scrapy_curl_safe._crawl.browser.target import Target, learn_target
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin

MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
WINDOWS = MAC.replace("Macintosh; Intel Mac OS X 10_15_7", "Windows NT 10.0; Win64; x64")
PHONE = MAC.replace("Macintosh; Intel Mac OS X 10_15_7", "Linux; Android 10; K")
CHROME_150 = f"{MAC}Chrome/150.0.0.0 Safari/537.36"
FIREFOX_147 = "Mozilla/5.0 (X11; Linux x86_64; rv:147.0) Gecko/20100101 Firefox/147.0"
SAFARI = f"{MAC}Version/26.0 Safari/605.1.15"
SAFARI_IOS = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1"
)
BRANDS = '"Chromium";v="150", "Google Chrome";v="150"'

CHROME = learn_target(
    [
        ("sec-ch-ua", BRANDS),
        ("sec-ch-ua-mobile", "?0"),
        ("sec-ch-ua-platform", '"macOS"'),
        ("User-Agent", CHROME_150),
    ]
)
FIREFOX = learn_target([("User-Agent", FIREFOX_147)])
OF_SAFARI = learn_target([("User-Agent", SAFARI)])


def conflict(target: Target, **headers: str | None) -> str:
    own = [
        (name.replace("_", "-").encode(), None if value is None else value.encode())
        for name, value in headers.items()
    ]
    found = find_conflict(target, own)
    if found is None:
        return ""
    assert found.ways_out.startswith("leave it out, so that the browser's own is sent")
    return found.text


@pytest.mark.parametrize(
    ("target", "agent", "text"),
    [
        (CHROME, CHROME_150, ""),
        (CHROME, None, ""),
        (
            CHROME,
            FIREFOX_147,
            "User-Agent names Firefox 147, and the handshake and the other headers",
        ),
        (CHROME, f"{MAC}Chrome/120.0.0.0 Safari/537.36", "User-Agent names Chrome 120, and the "),
        (CHROME, f"{CHROME_150} Edg/150.0.0.0", "User-Agent names Edge 150, and "),
        (CHROME, f"{CHROME_150} OPR/130.0.0.0", "User-Agent names Opera 130, and "),
        (CHROME, "shopbot/1.0", "User-Agent names no browser (shopbot/1.0), and the handshake"),
        (CHROME, f"{WINDOWS}Chrome/150.0.0.0 Safari/537.36", 'Sec-CH-UA-Platform is "macOS", and '),
        (CHROME, f"{PHONE}Chrome/150.0.0.0 Mobile Safari/537.36", "names Chrome 150 on Android, "),
        (FIREFOX, FIREFOX_147, ""),
        (FIREFOX, FIREFOX_147.replace("X11; Linux x86_64", "Windows NT 10.0"), ""),
        (FIREFOX, CHROME_150, "User-Agent names Chrome 150, and the handshake and the other "),
        (OF_SAFARI, SAFARI, ""),
        (OF_SAFARI, SAFARI_IOS, "User-Agent names Safari 26 on iOS, and "),
    ],
)
def test_a_user_agent(target: Target, agent: str | None, text: str) -> None:
    found = conflict(target, user_agent=agent)
    assert text in found
    assert bool(found) is bool(text)


@pytest.mark.parametrize(
    ("target", "headers", "text"),
    [
        (CHROME, {"Sec_CH_UA": BRANDS, "accept": "*/*", "x_mine": "1"}, ""),
        (CHROME, {"Sec_CH_UA": BRANDS.replace("150", "120")}, 'Sec-CH-UA is "Chromium";v="120", '),
        (CHROME, {"Sec_CH_UA_Platform": '"Windows"'}, 'Sec-CH-UA-Platform is "Windows", and the '),
        (CHROME, {"Sec_CH_UA_Mobile": "?1"}, "Sec-CH-UA-Mobile is ?1, and the user agent names "),
        (
            CHROME,
            {
                "User_Agent": f"{WINDOWS}Chrome/150.0.0.0 Safari/537.36",
                "Sec_CH_UA_Platform": '"Windows"',
            },
            "",
        ),
        (FIREFOX, {"Sec_CH_UA": BRANDS}, "Sec-CH-UA is sent by no Firefox, which is impersonated"),
        (FIREFOX, {"Accept": "*/*", "Accept_Language": "de"}, ""),
    ],
)
def test_client_hints(target: Target, headers: dict[str, str], text: str) -> None:
    found = conflict(target, **headers)
    assert text in found
    assert bool(found) is bool(text)


@pytest.mark.processes
@pytest.mark.parametrize("mode", ["context", "static"])
@pytest.mark.parametrize("agent", [FIREFOX_147, "shopbot/1.0"])
def test_a_crawl_warns_once(crawl: RunCrawl, agent: str, mode: str) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(3)),
            {"url": f"{origin.url}/3", "headers": {"Sec-CH-UA": '"Nothing";v="1"'}},
            USER_AGENT=agent,
            CURL_SAFE_BROWSER_HEADERS=mode,
            CONCURRENT_REQUESTS=1,
        )
        sent = [pair for seen in origin.requests for pair in seen.headers]
        agents = {value for name, value in sent if name.lower() == b"user-agent"}
        assert agents == {agent.encode()}
        url = origin.url
    assert crawled.numbers == [0, 1, 2, 3]
    assert crawled.log.count(" contradicts the impersonated browser") == 1
    start = f"WARNING: <GET {url}/0> contradicts the impersonated browser, which a site can tell: "
    assert f"{start}User-Agent names " in crawled.log
    assert (
        "You can leave it out, so that the browser's own is sent, or set CURL_SAFE" in crawled.log
    )


@pytest.mark.processes
def test_the_first_request_is_the_spiders_and_not_that_for_robots_txt(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        request = {"url": f"{origin.url}/0", "headers": {"User-Agent": FIREFOX_147}}
        crawled = crawl(request, ROBOTSTXT_OBEY=True, CURL_SAFE_BROWSER_HEADERS="static")
        assert len(origin.requests) == 2
    assert "/0> contradicts the impersonated browser" in crawled.log


@pytest.mark.processes
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"CURL_SAFE_IMPERSONATE": None, "USER_AGENT": "shopbot/1.0"},
        {"DEFAULT_REQUEST_HEADERS": {"Accept-Language": "de", "X-Mine": "1"}},
        {"CURL_SAFE_BROWSER_HEADERS": "static"},
        {"CURL_SAFE_BROWSER_HEADERS": "none", "USER_AGENT": "shopbot/1.0"},
        {
            "CURL_SAFE_BROWSER_HEADERS": "static",
            "CURL_SAFE_IMPERSONATE": None,
            "USER_AGENT": "shopbot/1.0",
        },
    ],
)
def test_nothing_is_said_where_nothing_contradicts(
    crawl: RunCrawl, settings: dict[str, Any]
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, **settings)
    assert crawled.numbers == [0]
    assert "contradicts" not in crawled.log

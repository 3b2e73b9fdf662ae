"""Requests as an origin sees them: the browser's handshake, and headers that agree with it."""

from __future__ import annotations

import typing
from typing import Any

import curl_cffi.requests
import pytest

from scrapy_curl_safe._crawl.browser.contradictions import contradictions
from scrapy_curl_safe._ipc.messages import Profile
from scrapy_curl_safe._worker.targets import resolve_browser
from testkit.crawling import urls
from testkit.fixtures import RunCrawl
from testkit.origins.hello import ja3, parse_client_hello, parse_h2_opening
from testkit.origins.site import as_sent
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

BROWSERS = ("chrome", "firefox", "safari")


def seen_by_origin(origin: TlsOrigin) -> dict[str, Any]:
    """Return the fingerprints of the only connection that an origin got."""
    (hello,), (opening,) = origin.hellos, origin.h2_openings
    parsed = parse_client_hello(hello)
    h2 = parse_h2_opening(opening)
    return {
        # Chrome sends its extensions in another order each time.
        "ja3": ja3(parsed, sort_extensions=True),
        "alpn": parsed.alpn,
        "settings": h2.settings,
        "window update": h2.window_update,
        "pseudo-headers": h2.pseudo_headers,
    }


def header_names(origin: TlsOrigin) -> list[bytes]:
    (request,) = origin.requests
    return [name for name, _ in request.headers if not name.startswith(b":")]


@pytest.mark.parametrize("mode", ["context", "static"])
@pytest.mark.parametrize("browser", BROWSERS)
def test_the_pool_looks_like_curl_cffi_itself(crawl: RunCrawl, browser: str, mode: str) -> None:
    behind = resolve_browser(Profile(impersonate=browser, substitute=mode == "static")).impersonate
    target: typing.Any = behind
    with TlsOrigin(alpn=("h2",)) as direct, TlsOrigin(alpn=("h2",)) as pooled:
        curl_cffi.requests.get(direct.url, impersonate=target, verify=False)
        crawled = crawl(pooled.url, CURL_SAFE_IMPERSONATE=browser, CURL_SAFE_BROWSER_HEADERS=mode)
        assert crawled.responses[0]["status"] == 200
        assert seen_by_origin(pooled) == seen_by_origin(direct)
        if mode == "static":
            assert header_names(pooled) == header_names(direct)
        values = dict(pooled.requests[0].headers)
        assert values[b"user-agent"] == dict(direct.requests[0].headers)[b"user-agent"]
        assert b"Scrapy" not in b" ".join(values.values())


def test_two_browsers_differ(crawl: RunCrawl) -> None:
    """Show that the test above can fail."""
    with TlsOrigin(alpn=("h2",)) as chrome, TlsOrigin(alpn=("h2",)) as firefox:
        crawl(
            {"url": chrome.url, "meta": {"curl_safe": {"impersonate": "chrome"}}},
            {"url": firefox.url, "meta": {"curl_safe": {"impersonate": "firefox"}}},
        )
        a, b = seen_by_origin(chrome), seen_by_origin(firefox)
        assert a["ja3"] != b["ja3"]
        assert a["settings"] != b["settings"]
        assert a["pseudo-headers"] != b["pseudo-headers"]


def test_a_header_that_somebody_set_stays(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawl(
            {"url": origin.url, "headers": {"Accept-Language": "fr", "X-Mine": "1"}},
            USER_AGENT="my-crawler/1.0",
        )
        headers = dict(origin.requests[0].headers)
    assert headers[b"User-Agent"] == b"my-crawler/1.0"
    assert headers[b"Accept-Language"] == b"fr"
    assert headers[b"X-Mine"] == b"1"
    assert b"sec-ch-ua" in headers


def test_without_a_browser_scrapys_headers_go_out_and_nothing_else(crawl: RunCrawl) -> None:
    with TlsOrigin() as pooled, TlsOrigin() as own:
        post = {"method": "POST", "body": "x=1", "headers": {"X-Mine": "1"}}
        crawl({"url": pooled.url, **post}, CURL_SAFE_IMPERSONATE=None)
        crawl({"url": own.url, **post, "meta": {"curl_safe": False}})
        ours, scrapys = pooled.requests[0].headers, own.requests[0].headers
    hop_by_hop = {b"host", b"connection"}
    assert sorted((n.lower(), v) for n, v in ours if n.lower() not in hop_by_hop) == sorted(
        (n.lower(), v) for n, v in scrapys if n.lower() not in hop_by_hop
    )


def test_raw_headers_go_out_as_given(crawl: RunCrawl) -> None:
    raw = [["x-lower", "1"], ["X-UPPER", "2"], ["x-lower", "3"], ["Empty", ""], ["uSeR-aGeNt", "z"]]
    with TlsOrigin() as origin:
        crawl(
            {
                "url": origin.url,
                "headers": {"X-Dropped": "1"},
                "meta": {"curl_safe": {"raw_headers": raw}},
            }
        )
        sent = origin.requests[0].headers
    assert [h for h in sent if h[0] != b"Host"] == [(n.encode(), v.encode()) for n, v in raw]


def test_default_headers_off_leaves_only_the_handshake(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawl({"url": origin.url, "meta": {"curl_safe": {"default_headers": False}}})
        headers = dict(origin.requests[0].headers)
        hello = parse_client_hello(origin.hellos[0])
    assert b"sec-ch-ua" not in headers
    assert headers[b"User-Agent"].startswith(b"Scrapy/")
    assert "h2" in hello.alpn


def test_no_encoding_is_offered_that_nobody_would_decode(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawl(origin.url, COMPRESSION_ENABLED=False)
        headers = dict(origin.requests[0].headers)
    assert b"Accept-Encoding" not in headers


def test_no_cookie_passes_from_one_request_to_another(crawl: RunCrawl) -> None:
    def app(request: SeenRequest) -> Reply:
        return Reply(headers=[(b"Set-Cookie", b"visitor=1")])

    with TlsOrigin(app) as origin:
        crawl(
            *urls(origin, 4),
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
            COOKIES_ENABLED=False,
        )
        assert len(origin.requests) == 4
        assert all(b"Cookie" not in dict(r.headers) for r in origin.requests)


def test_http_version_by_setting_and_by_request(crawl: RunCrawl) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/a", "meta": {"curl_safe": {"http_version": "v1"}}},
            {"url": f"{origin.url}/b", "meta": {"curl_safe": {"http_version": "v2tls"}}},
            CURL_SAFE_HTTP_VERSION="v1",
        )
    versions = {r["number"]: r["protocol"] for r in crawled.responses}
    assert versions == {0: "HTTP/1.1", 1: "HTTP/2"}


def test_a_fingerprint_may_be_a_dict(crawl: RunCrawl) -> None:
    fingerprint = {
        "tls_ciphers": ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        "headers": {"User-Agent": "of the fingerprint", "X-Browser": "1"},
    }
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_IMPERSONATE=fingerprint)
        assert crawled.responses[0]["status"] == 200
        headers = dict(origin.requests[0].headers)
    assert headers[b"User-Agent"] == b"of the fingerprint"
    assert headers[b"X-Browser"] == b"1"


def curl_cffi_can_be(target: str, url: str) -> bool:
    try:
        curl_cffi.requests.get(url, impersonate=target, verify=False)
    except curl_cffi.requests.exceptions.ImpersonateError:
        return False
    return True


def test_every_target_of_the_installed_curl_cffi(crawl: RunCrawl) -> None:
    """With a User-Agent that is its own where it has one; curl_cffi lists some that its
    libcurl then refuses."""
    listed = sorted(typing.get_args(curl_cffi.BrowserTypeLiteral))
    with TlsOrigin() as origin:
        targets = [target for target in listed if curl_cffi_can_be(target, origin.url)]
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(
            *(
                {"url": f"{origin.url}/{target}", "meta": {"curl_safe": {"impersonate": target}}}
                for target in listed
            )
        )
        refused = sorted(set(listed) - set(targets))
        assert sorted(error["type"] for error in crawled.errors) == ["ValueError"] * len(refused)
        refusals = {listed[error["number"]]: error["text"] for error in crawled.errors}
        assert sorted(refusals) == refused
        assert all(target in text for target, text in refusals.items())
        assert sorted(seen.path[1:] for seen in origin.requests) == targets
        agents = {seen.path[1:]: seen.header("User-Agent") or b"" for seen in origin.requests}
        handshakes = {
            seen.path[1:]: ja3(parse_client_hello(origin.hello_of(seen)))
            for seen in origin.requests
        }
    names = {"firefox": b"Firefox/", "edge": b"Edg/", "chrome": b"Chrome/", "safari": b"Safari/"}
    for target, agent in agents.items():
        family = next((text for name, text in names.items() if target.startswith(name)), b"")
        assert family in agent
    assert len(set(handshakes.values())) > 10
    # Whatever a target's own headers contradict.
    broken = {seen.path[1:]: contradictions(as_sent(seen, origin.url)) for seen in origin.requests}
    assert {target: rules for target, rules in broken.items() if rules} == {}


JA3 = "771,4865-4866-4867-49195-49199,0-11-10-35-16-5-13-51-45-43-23-65281,29-23-24,0"


def test_ja3_akamai_and_extra_fp_by_request(crawl: RunCrawl) -> None:
    akamai = "1:65536;3:1000;4:6291456|15663105|0|m,p,a,s"
    with TlsOrigin(alpn=("h2",)) as origin:
        url = f"https://localhost:{origin.port}"  # (an address is not sent as server name)
        crawled = crawl(
            {"url": f"{url}/ja3", "meta": {"curl_safe": {"ja3": JA3}}},
            {"url": f"{url}/akamai", "meta": {"curl_safe": {"akamai": akamai}}},
            {
                "url": f"{url}/extra",
                "meta": {
                    "curl_safe": {
                        "ja3": JA3,
                        "extra_fp": {
                            "tls_signature_algorithms": [
                                "ecdsa_secp256r1_sha256",
                                "rsa_pss_rsae_sha256",
                            ]
                        },
                    }
                },
            },
            CONCURRENT_REQUESTS=1,
        )
        assert crawled.errors == []
        hellos = [parse_client_hello(hello) for hello in origin.hellos]
        openings = [parse_h2_opening(opening) for opening in origin.h2_openings]
    assert ja3(hellos[0], leave_out=(21,)) == JA3  # (padding)
    assert ja3(hellos[1], leave_out=(21,)) != JA3
    assert hellos[2].signature_algorithms == (0x0403, 0x0804)
    assert hellos[0].signature_algorithms != (0x0403, 0x0804)
    assert openings[1].settings == ((1, 65536), (3, 1000), (4, 6291456))
    assert openings[1].window_update == 15663105
    assert openings[1].pseudo_headers == (":method", ":path", ":authority", ":scheme")
    assert openings[0].settings != openings[1].settings

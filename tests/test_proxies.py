"""Proxies: every kind, their credentials, and what must never cross them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins import faults
from testkit.origins.background import StreamServer
from testkit.origins.certs import served_certificate
from testkit.origins.hello import parse_client_hello
from testkit.origins.loop import Origin
from testkit.origins.proxies import Proxy
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

USER, PASSWORD = "us er", "p@ss:w/ö%rd?#"
# As HTTP's Basic scheme carries them, which is what must not leak in any of its forms.
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode())
SECRETS = (BASIC, PASSWORD.encode(), quote(PASSWORD, safe="").encode())
USER_IN_URL = f"{quote(USER)}:{quote(PASSWORD, safe='')}"
NO_PASSWORD = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
ENCODING: dict[str, Any] = {"HTTPPROXY_AUTH_ENCODING": "utf-8"}


def via(proxy: Proxy, scheme: str, user: str | None = None, password: str = "") -> str:
    if user is None:
        return f"{scheme}://{proxy.location}"
    return f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{proxy.location}"


def request(url: str, proxy: str, **meta: Any) -> dict[str, Any]:
    return {"url": url, "meta": {"proxy": proxy, **meta}}


@pytest.mark.parametrize("scheme", ["http", "socks4", "socks5", "socks5h"])
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_every_kind_of_proxy_to_every_kind_of_origin(
    crawl: RunCrawl, scheme: str, tls: bool
) -> None:
    with TlsOrigin(tls=tls) as origin, Proxy() as proxy:
        crawled = crawl(request(f"{origin.url}/page", via(proxy, scheme)))
        assert [r["status"] for r in crawled.responses] == [200], crawled.errors
        assert [seen.path for seen in origin.requests] == ["/page"]
        assert proxy.connections == 1
    assert crawled.responses[0]["meta"]["curl_safe_info"]["connection_reused"] is False
    assert crawled.stat("handshake/count") == int(tls)


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_a_proxy_that_is_reached_by_tls(crawl: RunCrawl, tls: bool) -> None:
    with TlsOrigin(tls=tls) as origin, Proxy(USER, PASSWORD, tls=True) as proxy:
        crawled = crawl(
            *(request(url, via(proxy, "https", USER, PASSWORD)) for url in urls(origin, 3)),
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=1,
            **ENCODING,
        )
        assert [r["status"] for r in crawled.responses] == [200] * 3, crawled.errors
        if tls:  # (this proxy closes what is not a tunnel)
            assert proxy.connections == 1
        assert b"Proxy-Authorization: Basic " + BASIC in proxy.received
        assert not any(leaks(seen) for seen in origin.requests)
        expected = served_certificate(origin.port) if tls else None
    for response in crawled.responses:
        assert response["certificate"] == expected


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
def test_ipv6_behind_a_proxy(crawl: RunCrawl, scheme: str, tls: bool) -> None:
    with TlsOrigin(tls=tls, host="::1") as origin, Proxy() as proxy:
        crawled = crawl(request(f"{origin.url}/six", via(proxy, scheme)))
        assert [seen.path for seen in origin.requests] == ["/six"], crawled.errors
        assert origin.requests[0].header("Host") == origin.url.rpartition("/")[2].encode()
        assert proxy.connections == 1


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_the_timeout_bounds_a_proxy_that_stalls(crawl: RunCrawl, scheme: str) -> None:
    with TlsOrigin() as origin, Proxy(tls=scheme == "https", stalls=True) as proxy:
        crawled = crawl(
            request(origin.url, via(proxy, scheme), download_timeout=0.3), RETRY_TIMES=1
        )
        assert proxy.connections == 2
        assert origin.accepted == 0
    (error,) = crawled.errors
    assert crawled.stats["retry/count"] == 1
    # libcurl does not tell how far a SOCKS proxy has come.
    if scheme != "socks5":
        assert error["type"] == "DownloadTimeoutError"
        assert crawled.stat("handshake/failure_count") == 0


def test_a_proxy_without_a_scheme_is_an_http_proxy(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawled = crawl(request(origin.url, proxy.location), HTTPPROXY_ENABLED=False)
        assert len(crawled.responses) == 1
        assert proxy.received.startswith(b"CONNECT ")


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
@pytest.mark.parametrize("middleware", [True, False], ids=["HttpProxyMiddleware", "none"])
def test_credentials_with_every_special_character(
    crawl: RunCrawl, scheme: str, middleware: bool
) -> None:
    with TlsOrigin() as origin, Proxy(USER, PASSWORD) as proxy:
        crawled = crawl(
            request(origin.url, via(proxy, scheme, USER, PASSWORD)),
            HTTPPROXY_ENABLED=middleware,
            **ENCODING,
        )
        assert [r["status"] for r in crawled.responses] == [200], crawled.errors


class AnsweringProxy(StreamServer):
    """Answers each read in turn with the next of its answers, and then closes."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = answers
        self.connections = 0

    @property
    def location(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self._answers:
            await reader.read(65536)
            writer.write(answer)
        writer.close()


def test_a_wrong_password_has_an_error_of_its_own_and_is_not_retried(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, AnsweringProxy(NO_PASSWORD) as proxy:
        crawled = crawl(request(origin.url, f"http://user:wrong-password@{proxy.location}"))
        assert (origin.accepted, proxy.connections) == (0, 1)
    (error,) = crawled.errors
    assert error["type"] == "ProxyAuthenticationError"
    assert error["text"].startswith(f"{origin.url} by http://{proxy.location}: the proxy ")
    assert "wrong-password" not in crawled.log
    assert crawled.stat("handshake/failure_count") == 0
    assert "retry/count" not in crawled.stats


@pytest.mark.parametrize(
    ("scheme", "answers"),
    [
        ("socks5", [b"\x05\x02", b"\x01\x01"]),  # RFC 1929: another status than 0
        ("socks5h", [b"\x05\xff"]),  # RFC 1928: no acceptable methods
    ],
)
def test_a_wrong_password_of_a_socks_proxy_is_a_refused_connection_as_in_scrapy(
    crawl: RunCrawl, scheme: str, answers: list[bytes]
) -> None:
    with TlsOrigin() as origin, AnsweringProxy(*answers) as proxy:
        url = f"{scheme}://user:wrong-password@{proxy.location}"
        crawled = crawl(request(origin.url, url), RETRY_TIMES=1)
        assert (origin.accepted, proxy.connections) == (0, 2)
    (error,) = crawled.errors
    assert error["type"] == "DownloadConnectionRefusedError"
    assert error["text"].startswith(f"{origin.url} by {scheme}://{proxy.location}: ")
    assert "wrong-password" not in crawled.log
    assert crawled.stat("handshake/failure_count") == 0


def test_a_proxy_with_a_scheme_that_is_none_has_an_error_of_its_own(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawled = crawl(request(origin.url, f"ftp://user:secret-word@{proxy.location}"))
        assert (origin.accepted, proxy.connections) == (0, 0)
    (error,) = crawled.errors
    assert error["type"] == "UnsupportedProxyError"
    assert (
        f"The proxy ftp://{proxy.location} has the scheme ftp: it takes one of http,"
        in (error["text"])
    )
    assert "secret-word" not in error["text"]
    assert "retry/count" not in crawled.stats


@pytest.mark.parametrize(
    "malformed",
    [
        "{location}:user:secret-word",
        "http://{location}:user:secret-word",
        "http://[secret-word]:1",
    ],
)
def test_a_malformed_proxy_is_never_shown(crawl: RunCrawl, malformed: str) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawled = crawl(request(origin.url, malformed.format(location=proxy.location)))
        assert (origin.accepted, proxy.connections) == (0, 0)
    (error,) = crawled.errors
    assert error["type"] == "UnsupportedProxyError"
    assert "it takes SCHEME://USER:PASSWORD@HOST:PORT" in error["text"]
    assert "secret-word" not in crawled.log
    assert "retry/count" not in crawled.stats


@pytest.mark.parametrize("tls", [True, False], ids=["https", "http"])
@pytest.mark.parametrize(
    "faulty",
    [faults.close_after_hello, faults.speaks_plain_http, faults.refused_certificate],
)
def test_a_proxy_that_speaks_no_tls_is_not_the_origins_handshake(
    crawl: RunCrawl, faulty: Callable[[], Origin], tls: bool
) -> None:
    with TlsOrigin(tls=tls) as origin, faulty() as proxy:
        url = f"https://{USER_IN_URL}@127.0.0.1:{proxy.port}"
        crawled = crawl(request(origin.url, url), DOWNLOAD_VERIFY_CERTIFICATES=True, RETRY_TIMES=1)
        assert (origin.accepted, proxy.accepted) == (0, 2)
    (error,) = crawled.errors
    assert error["type"] == "DownloadConnectionRefusedError"
    assert error["text"].startswith(f"{origin.url} by https://127.0.0.1:{proxy.port}: the TLS ")
    assert (crawled.stat("handshake/count"), crawled.stat("handshake/failure_count")) == (0, 0)


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_handshake_that_fails_behind_a_proxy_names_both_and_no_credentials(
    crawl: RunCrawl, scheme: str
) -> None:
    with (
        faults.close_after_hello() as origin,
        Proxy(USER, PASSWORD, tls=scheme == "https") as proxy,
    ):
        crawled = crawl(
            request(origin.url, via(proxy, scheme, USER, PASSWORD)), RETRY_ENABLED=False, **ENCODING
        )
    (error,) = crawled.errors
    both = f"{origin.url} behind {scheme}://{proxy.location}"
    assert error["text"].startswith(f"TLS handshake with {both} failed (syscall): curl: (35) ")
    assert not any(secret.decode() in crawled.log for secret in SECRETS)


@pytest.mark.parametrize("stalls", [True, False], ids=["the proxy", "the origin"])
def test_behind_a_socks_proxy_nobody_knows_who_was_too_slow(crawl: RunCrawl, stalls: bool) -> None:
    with faults.silent_after_hello() as origin, Proxy(stalls=stalls) as proxy:
        url = via(proxy, "socks5")
        crawled = crawl(request(origin.url, url, download_timeout=2), RETRY_ENABLED=False)
    (error,) = crawled.errors
    who = f"{origin.url} behind {url}, or the proxy's connection to it,"
    assert error["text"].startswith(f"TLS handshake with {who} failed (timeout): ")


@pytest.mark.parametrize("answer", [b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n", b""])
def test_a_tunnel_that_is_refused_names_the_proxy(crawl: RunCrawl, answer: bytes) -> None:
    with TlsOrigin() as origin, AnsweringProxy(answer) as proxy:
        crawled = crawl(request(origin.url, f"http://{proxy.location}"), RETRY_TIMES=1)
        assert proxy.connections == 2
    (error,) = crawled.errors
    assert error["type"] == "DownloadConnectionRefusedError"
    assert error["text"].startswith(f"{origin.url} by http://{proxy.location}: ")


def test_a_proxy_that_is_not_there(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        gone = via(proxy, "http")
    with TlsOrigin() as origin:
        crawled = crawl(request(origin.url, gone), RETRY_ENABLED=False)
    assert crawled.errors[0]["type"] == "DownloadConnectionRefusedError"
    assert crawled.errors[0]["text"].startswith(f"{origin.url} by {gone}: ")


def test_credentials_reach_the_proxy_and_no_one_else(crawl: RunCrawl) -> None:
    """Redirects and retries of http and https, by CONNECT and without, leak nothing."""

    def app(seen: SeenRequest) -> Reply:
        if seen.path == "/moved":
            return Reply(status=302, headers=[(b"Location", b"/here")])
        return Reply()

    drops = [False, True, False, True]
    with (
        TlsOrigin(app, drop=drops, requests_per_connection=1) as secure,
        TlsOrigin(app, tls=False) as plain,
        Proxy(USER, PASSWORD) as proxy,
    ):
        url = via(proxy, "http", USER, PASSWORD)
        crawled = crawl(
            request(f"{secure.url}/moved", url),
            request(f"{plain.url}/moved", url),
            {"url": f"{secure.url}/direct"},
            CONCURRENT_REQUESTS=1,
            **ENCODING,
        )
        assert sorted(r["url"].rpartition("/")[2] for r in crawled.responses) == [
            "direct", "here", "here",
        ]  # fmt: skip
        assert crawled.stat("handshake/retry_count") > 0
        assert proxy.received.count(b"CONNECT ") == proxy.received.count(
            b"Proxy-Authorization: Basic " + BASIC
        ) - 2  # fmt: skip
        for seen in (*secure.requests, *plain.requests):
            assert not leaks(seen)
        # The log neither.
        assert PASSWORD not in crawled.log
        assert BASIC.decode() not in crawled.log


def leaks(seen: SeenRequest) -> bool:
    everything = b"\n".join(name + b": " + value for name, value in seen.headers)
    everything += seen.path.encode() + seen.body
    return b"proxy-auth" in everything.lower() or any(secret in everything for secret in SECRETS)


def test_a_leak_would_be_noticed(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawl({"url": origin.url, "headers": {"X-Forwarded": f"Basic {BASIC.decode()}"}})
        assert leaks(origin.requests[0])


def test_headers_for_the_proxy_reach_the_proxy_alone(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawl(request(origin.url, via(proxy, "http"), proxy_headers={"X-Country": ["de"]}))
        assert b"X-Country: de\r\n" in proxy.received
        assert origin.requests[0].header("X-Country") is None


def test_proxies_in_the_environment_are_ignored_without_scrapys_middleware(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        env = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), via(proxy, "http"))
        crawled = crawl(origin.url, env=env, HTTPPROXY_ENABLED=False)
        assert len(crawled.responses) == 1
        assert proxy.connections == 0


def offers_ticket(origin: TlsOrigin) -> list[bool]:
    return [parse_client_hello(hello).has_psk for hello in origin.hellos]


def test_no_ticket_and_no_connection_crosses_proxies_users_browsers_or_addresses(
    crawl: RunCrawl,
) -> None:
    """Requests go one after another through one worker, so that they could share all."""
    with (
        TlsOrigin(requests_per_connection=10) as origin,
        Proxy() as one,
        Proxy() as other,
        Proxy("a", "x") as asking,
    ):
        visitors: list[dict[str, Any]] = [
            {},
            {"proxy": via(one, "http")},
            {"proxy": via(other, "http")},
            {"proxy": via(asking, "http", "a", "x")},
            {"proxy": via(one, "http"), "proxy_headers": {"X-Session": "2"}},
            {"curl_safe": {"impersonate": "firefox"}},
            {"bindaddress": "127.0.0.2"},
            {"bindaddress": "127.0.0.3"},
        ]
        crawled = crawl(
            *({"url": f"{origin.url}/{n}", "meta": meta} for n, meta in enumerate(visitors)),
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
        )
        assert_all_pages(crawled, len(visitors))
        assert offers_ticket(origin) == [False] * len(visitors)
    assert crawled.stat("connection/reused_count") == 0


def test_within_one_of_them_tickets_are_used(crawl: RunCrawl) -> None:
    """Show that the test above can fail."""
    with TlsOrigin(requests_per_connection=1) as origin, Proxy() as proxy:
        crawled = crawl(
            *(request(url, via(proxy, "http")) for url in urls(origin, 4)),
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
        )
        assert offers_ticket(origin) == [False, True, True, True]
        assert crawled.stat("handshake/resumed_count") == origin.resumed == 3


def test_users_that_take_turns_find_their_connections_again(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawled = crawl(
            *(
                request(f"{origin.url}/{n}", via(proxy, "http", f"user{n % 100}"))
                for n in range(200)
            ),
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=4,
        )
        assert proxy.connections == 100
    assert_all_pages(crawled, 200)


@pytest.mark.parametrize("address", ["127.0.0.2", ("127.0.0.2", 0)])
def test_binding_by_setting_and_by_request(crawl: RunCrawl, address: str | tuple[str, int]) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            f"{origin.url}/0",
            {"url": f"{origin.url}/1", "meta": {"bindaddress": "127.0.0.3"}},
            {"url": f"{origin.url}/2", "meta": {"bindaddress": ["127.0.0.3", 0]}},
            DOWNLOAD_BIND_ADDRESS=address,
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
        )
        assert_all_pages(crawled, 3)
        # The third is on the connection of the second, neither on that of the first.
        assert origin.peers == ["127.0.0.2", "127.0.0.3"]

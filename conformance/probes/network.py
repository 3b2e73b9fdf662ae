"""TLS, versions of HTTP, browsers, proxies, local addresses."""

from __future__ import annotations

import base64
import ssl
from typing import Any
from urllib.parse import quote

from conformance.probe import Run, must, probe
from testkit.crawling import assert_all_pages, urls
from testkit.origins import faults
from testkit.origins.certs import certs
from testkit.origins.hello import is_grease, parse_client_hello
from testkit.origins.http3 import Http3Origin
from testkit.origins.proxies import Proxy
from testkit.origins.scripted_http2 import Piece, ScriptedHttp2, data
from testkit.origins.scripted_http2 import headers as headers_of
from testkit.origins.tls import TlsOrigin

TLS, HTTP2, BROWSER = "TLS", "HTTP/2", "A browser's identity"
PROXIES, BINDING = "Proxies", "Local address"

# Each handler's way to ask for HTTP/3.
HTTP3_META = {
    "curl_safe": {"http_version": "v3only"},
    "impersonate_args": {"verify": False, "http_version": "v3only"},
    "curl": {"impersonate": "chrome", "http_version": "v3only"},
    "curl_cffi_options": {"impersonate": "chrome", "http_version": "v3only"},
    "stealth": {"driver": "turbo", "profile": "chrome", "http3": True},
}
HTTP3_SETTINGS: dict[str, Any] = {"CURL_CFFI_HTTP_VERSION": "v3only"}

USER, PASSWORD = "us er", "p@ss:w/ö%rd?#"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode())


@probe(TLS, "`DOWNLOAD_VERIFY_CERTIFICATES = True`")
def verify(run: Run) -> None:
    with faults.refused_certificate() as unknown, TlsOrigin() as trusted:
        crawled = run.crawl(
            unknown.url, trusted.url, RETRY_ENABLED=False, DOWNLOAD_VERIFY_CERTIFICATES=True
        )
    must([e["number"] for e in crawled.errors] == [0], crawled.errors)
    must([r["number"] for r in crawled.responses] == [1], crawled.errors)


@probe(TLS, "certificates are not verified by default, as in Scrapy")
def no_verify(run: Run) -> None:
    with faults.refused_certificate() as unknown:
        crawled = run.crawl(unknown.url, RETRY_ENABLED=False)
    assert_all_pages(crawled, 1)


@probe(TLS, "`DOWNLOAD_TLS_MIN_VERSION`")
def minimum(run: Run) -> None:
    context = certs().server_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with TlsOrigin(context=context) as old, TlsOrigin() as new:
        crawled = run.crawl(
            old.url, new.url, RETRY_ENABLED=False, DOWNLOAD_TLS_MIN_VERSION="TLSv1.3"
        )
    must([e["number"] for e in crawled.errors] == [0], crawled.responses)
    must([r["number"] for r in crawled.responses] == [1], crawled.errors)


@probe(TLS, "`DOWNLOAD_TLS_MAX_VERSION`")
def maximum(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url, DOWNLOAD_TLS_MAX_VERSION="TLSv1.2")
        offered = parse_client_hello(origin.hellos[0]).supported_versions
    assert_all_pages(crawled, 1)
    must(0x0304 not in offered, "TLS 1.3 was offered")


@probe(TLS, "`DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING` logs protocol and cipher")
def verbose(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url, DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING=True)
    must("protocol TLSv1.3, cipher TLS_" in crawled.log)


@probe(TLS, "it logs the certificate's issuer and subject, too")
def verbose_certificate(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url, DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING=True)
    must('SSL connection certificate: issuer "' in crawled.log)


@probe(TLS, "`DOWNLOADER_CLIENT_TLS_CIPHERS`")
def ciphers(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(origin.url, DOWNLOADER_CLIENT_TLS_CIPHERS="AES256-SHA:AES128-SHA")
        offered = parse_client_hello(origin.hellos[0]).ciphers
    # Of TLS 1.2 and before, without GREASE and the signal of RFC 5746.
    chosen = {c for c in offered if c >> 8 != 0x13 and not is_grease(c)} - {0xFF}
    must(chosen == {0x2F, 0x35}, chosen)


@probe(TLS, "a handshake that is not answered: a timeout error, also behind a proxy")
def handshake_timeout(run: Run) -> None:
    with faults.silent_after_hello() as silent, Proxy() as proxy:
        crawled = run.crawl(
            silent.url,
            {"url": silent.url, "meta": {"proxy": via(proxy, "http")}},
            DOWNLOAD_TIMEOUT=1,
            RETRY_ENABLED=False,
        )
    must(len(crawled.errors) == 2, crawled.responses)
    for error in crawled.errors:
        must("Timeout" in error["type"] or "timed out" in error["text"], error)


@probe(TLS, "`SSLKEYLOGFILE`")
def key_log(run: Run) -> None:
    keys = run.directory / "keys.log"
    with TlsOrigin() as origin:
        run.crawl(origin.url, env={"SSLKEYLOGFILE": str(keys)})
    must(keys.exists() and "CLIENT_TRAFFIC_SECRET_0" in keys.read_text())


@probe(TLS, "a page behind five failed handshakes, by default settings")
def failed_handshakes(run: Run) -> None:
    drop = [False] + [True] * 5
    with TlsOrigin(drop=drop, requests_per_connection=1) as origin:
        crawled = run.crawl(
            *({"url": url, "method": "POST"} for url in urls(origin, 2)),
            CONCURRENT_REQUESTS=1,
        )
    assert_all_pages(crawled, 2)


@probe(HTTP2, "spoken where the origin does")
def http2(run: Run) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        run.crawl(origin.url)
    must([seen.http_version for seen in origin.requests] == ["2"], origin.requests)


@probe(HTTP2, "200 requests to an origin that closes after each answer: none lost")
def closing(run: Run) -> None:
    with TlsOrigin(alpn=("h2", "http/1.1"), requests_per_connection=1) as origin:
        crawled = run.crawl(*urls(origin, 200))
        must([s.http_version for s in origin.requests[:1]] == ["2"], "no HTTP/2")
    assert_all_pages(crawled, 200)


@probe(HTTP2, "a page whose answer has headers of HTTP/1.1 (`Connection`, `Keep-Alive`)")
def connection_specific(run: Run) -> None:
    def script(stream: int, request: int) -> list[Piece]:
        fields = ((b"connection", b"keep-alive"), (b"keep-alive", b"timeout=5"))
        return [headers_of(stream, *fields), data(stream, b"page", end=True)]

    with ScriptedHttp2(script) as origin:
        crawled = run.crawl(origin.url)
    must([r["status"] for r in crawled.responses] == [200], crawled.errors)


@probe("HTTP/3", "spoken where it is asked for")
def http3(run: Run) -> None:
    with Http3Origin() as origin:
        crawled = run.crawl({"url": origin.url, "meta": HTTP3_META}, **HTTP3_SETTINGS)
    assert_all_pages(crawled, 1)
    must(len(origin.requests) == 1, origin.requests)


@probe(BROWSER, "Chrome's TLS handshake")
def handshake(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(origin.url)
        hello = parse_client_hello(origin.hellos[0])
    must(is_grease(hello.ciphers[0]) and 0xFE0D in hello.extensions, hello)


@probe(BROWSER, "Chrome's headers, by default settings of Scrapy or those that it documents")
def headers(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(origin.url)
    (seen,) = origin.requests
    must(b" Chrome/" in (seen.header("User-Agent") or b""), seen)
    must(seen.header("Sec-Ch-Ua"), seen)
    must((seen.header("Accept") or b"").startswith(b"text/html,application/xhtml+xml"), seen)


@probe(BROWSER, "a header of one's own wins over the browser's")
def own_header(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"Accept": "text/mine"}})
        must(is_grease(parse_client_hello(origin.hellos[0]).ciphers[0]), "no browser")
    values = [v for name, v in origin.requests[0].headers if name.lower() == b"accept"]
    must(values == [b"text/mine"], origin.requests)


def via(proxy: Proxy, scheme: str, credentials: bool = False) -> str:
    if not credentials:
        return f"{scheme}://{proxy.location}"
    return f"{scheme}://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@{proxy.location}"


# What a client of each kind says first.
GREETINGS = {"http": (b"CONNECT ", b"GET http://"), "socks4": (b"\4",), "socks5": (b"\5",)}


def through(run: Run, scheme: str) -> None:
    for tls in (True, False):
        with TlsOrigin(tls=tls) as origin, Proxy(tls=scheme == "https") as real:
            crawled = run.crawl({"url": f"{origin.url}/", "meta": {"proxy": via(real, scheme)}})
            must([r["status"] for r in crawled.responses] == [200], crawled.errors)
            kind = scheme.removesuffix("h") if scheme.startswith("socks") else "http"
            must(real.received.startswith(GREETINGS[kind]), "the proxy was not used")


@probe(PROXIES, '`meta["proxy"]`: HTTP')
def http_proxy(run: Run) -> None:
    through(run, "http")


@probe(PROXIES, '`meta["proxy"]`: HTTPS, its certificate no more verified than an origin\'s')
def https_proxy(run: Run) -> None:
    through(run, "https")


@probe(PROXIES, '`meta["proxy"]`: SOCKS4')
def socks4(run: Run) -> None:
    through(run, "socks4")


@probe(PROXIES, '`meta["proxy"]`: SOCKS5')
def socks5(run: Run) -> None:
    through(run, "socks5")
    through(run, "socks5h")


def authorized(run: Run, scheme: str) -> None:
    with TlsOrigin() as origin, Proxy(USER, PASSWORD) as proxy:
        crawled = run.crawl(
            {"url": origin.url, "meta": {"proxy": via(proxy, scheme, credentials=True)}},
            HTTPPROXY_AUTH_ENCODING="utf-8",
        )
        must([r["status"] for r in crawled.responses] == [200], crawled.errors)
        kind = scheme.removesuffix("h")
        must(proxy.received.startswith(GREETINGS[kind]), "the proxy was not used")


@probe(PROXIES, "credentials with special characters, HTTP")
def credentials(run: Run) -> None:
    authorized(run, "http")


@probe(PROXIES, "credentials with special characters, SOCKS5")
def socks_credentials(run: Run) -> None:
    authorized(run, "socks5h")


@probe(PROXIES, "credentials reach the proxy, never an https origin")
def secrecy(run: Run) -> None:
    with TlsOrigin() as origin, Proxy(USER, PASSWORD) as proxy:
        run.crawl(
            {"url": origin.url, "meta": {"proxy": via(proxy, "http", credentials=True)}},
            HTTPPROXY_AUTH_ENCODING="utf-8",
        )
        must(BASIC in proxy.received, "the proxy did not get them")
    must(len(origin.requests) == 1, origin.requests)
    for name, value in origin.requests[0].headers:
        must(name.lower() != b"proxy-authorization" and BASIC not in value, name)


@probe(PROXIES, "a wrong password is an error that says 407")
def wrong_password(run: Run) -> None:
    with TlsOrigin() as origin, Proxy(USER, PASSWORD) as proxy:
        crawled = run.crawl(
            {"url": origin.url, "meta": {"proxy": f"http://user:wrong@{proxy.location}"}},
            RETRY_ENABLED=False,
        )
    must("407" in crawled.errors[0]["text"], crawled.errors)


@probe(PROXIES, "`proxy_headers` reach the proxy alone")
def proxy_headers(run: Run) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        meta = {"proxy": via(proxy, "http"), "proxy_headers": {"X-For-Proxy": "1"}}
        run.crawl({"url": origin.url, "meta": meta})
        must(b"x-for-proxy: 1" in proxy.received.lower(), "not sent")
    must(origin.requests[0].header("X-For-Proxy") is None, origin.requests)


@probe(PROXIES, "a header of `proxy_headers` with an empty value is sent; CR and LF smuggle none")
def odd_proxy_headers(run: Run) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        for proxy_headers in ({"X-Empty": ""}, {"X-A": "1\r\nX-B: 2"}):
            meta = {"proxy": via(proxy, "http"), "proxy_headers": proxy_headers}
            run.crawl({"url": origin.url, "meta": meta}, RETRY_ENABLED=False)
    must(b"\r\nx-empty:" in proxy.received.lower(), "not sent")
    must(b"\r\nx-b:" not in proxy.received.lower(), "smuggled")


@probe(PROXIES, "proxies in the environment are ignored with `HTTPPROXY_ENABLED = False`")
def environment(run: Run) -> None:
    with TlsOrigin() as origin, Proxy() as proxy:
        crawled = run.crawl(
            origin.url,
            env={"https_proxy": via(proxy, "http"), "all_proxy": via(proxy, "http")},
            HTTPPROXY_ENABLED=False,
        )
        assert_all_pages(crawled, 1)
        must(proxy.connections == 0, "the proxy was used")


@probe(PROXIES, "TLS session tickets never cross proxies")
def tickets(run: Run) -> None:
    with TlsOrigin(requests_per_connection=1) as origin, Proxy() as one, Proxy() as other:
        crawled = run.crawl(
            *(
                {"url": f"{origin.url}/{n}", "meta": {"proxy": via(proxy, "http")}}
                for n, proxy in enumerate((one, other))
            ),
            CONCURRENT_REQUESTS=1,
        )
        assert_all_pages(crawled, 2)
        must(one.connections and other.connections, "the proxies were not used")
        must(not any(parse_client_hello(raw).has_psk for raw in origin.hellos), "a ticket crossed")


@probe(BINDING, "`DOWNLOAD_BIND_ADDRESS`")
def bind_setting(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(origin.url, DOWNLOAD_BIND_ADDRESS="127.0.0.2")
    must(origin.peers == ["127.0.0.2"], origin.peers)


@probe(BINDING, "`bindaddress` by request")
def bind_by_request(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "meta": {"bindaddress": "127.0.0.3"}})
    must(origin.peers == ["127.0.0.3"], origin.peers)

"""A browser's head as a worker sends it: lines, order, cookies, HTTP/2 priority."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from curl_cffi import CurlOpt
from msgspec.structs import replace

from scrapy_curl_safe._ipc.messages import (
    BrowserHead,
    Completed,
    Fetch,
    Hello,
    InvalidRequest,
    Outcome,
    Profile,
    ProtocolError,
    decode_browser_head,
    encode_browser_head,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.origins.proxies import Proxy
from testkit.origins.tls import SeenRequest, TlsOrigin

BROWSER = encode_profile(Profile(impersonate="chrome", default_headers=False))
HEAD = BrowserHead(
    fields=[
        (b"X-B", b"2"),
        (b"Connection", b"keep-alive"),
        (b"User-Agent", b"me"),
        (b"X-A", b"1"),
        (b"Accept", b"*/*"),
    ],
    order=[
        *(b"host", b"connection", b"content-length", b"x-a", b"user-agent", b"cookie"),
        *(b"x-b", b"referer", b"not-there"),
    ],
    weight=22,
    exclusive=True,
)

has_order = pytest.mark.skipif(
    not hasattr(CurlOpt, "HTTPHEADER_ORDER"), reason="this curl_cffi can give no order"
)


def test_a_head_survives_its_way() -> None:
    assert decode_browser_head(encode_browser_head(HEAD)) == HEAD
    with pytest.raises(ProtocolError, match="not a browser's head"):
        decode_browser_head(b"x")


def send(*fetches: Fetch) -> list[Outcome]:
    """Send requests one after the other to one worker."""

    async def run() -> list[Outcome]:
        with WorkerClient(Hello(profiles=[("default", BROWSER)])) as worker:
            return [(await worker.fetch(each, b""))[0] for each in fetches]

    return asyncio.run(run())


def fetch(url: str, head: BrowserHead | None = HEAD, **fields: Any) -> Fetch:
    encoded = None if head is None else encode_browser_head(head)
    arguments = {"profile": BROWSER, "timeout_seconds": 30.0, **fields}
    return Fetch(url=url, browser_head=encoded, **arguments)


def sent(seen: SeenRequest) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in seen.headers if not name.startswith(b":")]


@pytest.mark.processes
@has_order
def test_over_http2() -> None:
    with TlsOrigin(alpn=("h2",)) as origin:
        first, second = (
            fetch(origin.url, cookie=b"a=1; b=2", referer=b"https://a.test/page"),
            fetch(origin.url),
        )
        assert all(isinstance(outcome, Completed) for outcome in send(first, second))
        one, other = origin.requests
    assert sent(one) == [
        (b"x-a", b"1"),
        (b"user-agent", b"me"),
        (b"cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"x-b", b"2"),
        (b"referer", b"https://a.test/page"),
        (b"accept", b"*/*"),
    ]
    assert (one.weight, one.exclusive) == (22, True)
    left_out = (b"cookie", b"referer")
    assert sent(other) == [pair for pair in sent(one) if pair[0] not in left_out]


@pytest.mark.processes
@has_order
def test_over_http1() -> None:
    with TlsOrigin() as origin:
        send(fetch(origin.url, cookie=b"a=1; b=2", method="POST"))
        (seen,) = origin.requests
    assert sent(seen) == [
        (b"Host", f"127.0.0.1:{origin.port}".encode()),
        (b"Connection", b"keep-alive"),
        (b"Content-Length", b"0"),
        (b"X-A", b"1"),
        (b"User-Agent", b"me"),
        (b"Cookie", b"a=1; b=2"),
        (b"X-B", b"2"),
        (b"Accept", b"*/*"),
    ]


@pytest.mark.processes
@has_order
@pytest.mark.parametrize("alpn", [("h2",), ()])
@pytest.mark.parametrize("is_known", [True, False])
def test_lines_keep_their_order_whatever_libcurl_adds(
    alpn: tuple[str, ...], is_known: bool
) -> None:
    """libcurl orders only the heads to which it adds lines."""
    names = [b"connection", b"user-agent", b"accept", b"accept-encoding"]
    head = BrowserHead(
        fields=[(name, b"keep-alive") for name in names],
        order=[
            *(b"host", b"connection", b"content-length", b"user-agent", b"cookie", b"accept"),
            *(b"referer", b"accept-encoding"),
        ],
        is_http2=is_known and alpn == ("h2",),
    )
    requests: list[dict[str, Any]] = [
        {},
        {"cookie": b"a=1"},
        {"referer": b"https://a.test/"},
        {},
        {"method": "POST"},
        {"method": "POST", "cookie": b"a=1"},
        {},
    ]
    with TlsOrigin(alpn=alpn) as origin:
        send(*(fetch(origin.url, head, **request) for request in requests))
        heads = [[name.lower() for name, _ in sent(seen)] for seen in origin.requests]
    assert len(heads) == len(requests)
    for names in heads:
        ranks = [head.order.index(name) for name in names]
        assert ranks == sorted(ranks)


@pytest.mark.processes
@has_order
def test_credentials_in_the_url_keep_their_place() -> None:
    names = [b"user-agent", b"accept", b"accept-encoding"]
    head = BrowserHead(
        fields=[(name, b"x") for name in names],
        order=[b"host", b"user-agent", b"accept", b"authorization", b"accept-encoding"],
        is_http2=True,
    )
    with TlsOrigin(alpn=("h2",)) as origin:
        url = origin.url.replace("://", "://user:secret@")
        send(fetch(origin.url, head), fetch(url, head))
        without, with_credentials = ([name for name, _ in sent(r)] for r in origin.requests)
    assert without == names
    assert with_credentials == head.order[1:]


@pytest.mark.processes
@has_order
def test_headers_for_a_proxy_keep_their_place_over_plain_http() -> None:
    head = replace(HEAD, fields=[pair for pair in HEAD.fields if pair[0] != b"X-A"])
    with TlsOrigin(tls=False) as origin, Proxy() as proxy:
        through = Profile(
            impersonate="chrome",
            default_headers=False,
            proxy=f"http://{proxy.location}",
            proxy_headers=[(b"X-A", b"1")],
        )
        (outcome,) = send(fetch(origin.url, head, profile=encode_profile(through)))
        assert isinstance(outcome, Completed)
        lines = proxy.received.splitlines()
    assert lines.index(b"X-A: 1") < lines.index(b"User-Agent: me")


@pytest.mark.processes
def test_no_upgrade_is_offered_over_plain_http() -> None:
    with TlsOrigin(tls=False) as origin:
        outcomes = send(*(fetch(origin.url, profile=profile(v)) for v in (None, "v2", "v1")))
        assert all(isinstance(outcome, Completed) for outcome in outcomes)
        names = {name.lower() for seen in origin.requests for name, _ in seen.headers}
    assert names.isdisjoint({b"upgrade", b"http2-settings"})


def profile(http_version: str | None) -> bytes:
    return encode_profile(
        Profile(impersonate="chrome", default_headers=False, http_version=http_version)
    )


@pytest.mark.processes
def test_another_request_on_the_same_connection_is_as_it_was() -> None:
    with TlsOrigin(alpn=("h2",)) as alone, TlsOrigin(alpn=("h2",)) as origin:
        raw: dict[str, Any] = {"head": None, "headers": [(b"X-B", b"2"), (b"X-A", b"1")]}
        send(fetch(alone.url, **raw))
        send(fetch(origin.url, **raw), fetch(origin.url, cookie=b"a=1"), fetch(origin.url, **raw))
        first, _, last = origin.requests
        assert {seen.connection for seen in origin.requests} == {0}
        assert sent(first) == sent(last) == sent(alone.requests[0])
        assert (last.weight, last.exclusive) == (first.weight, first.exclusive)


@pytest.mark.processes
def test_what_a_fingerprint_settles_stays() -> None:
    settled: dict[str, Any] = {"http2_stream_weight": 99, "http2_stream_exclusive": 0}
    if hasattr(CurlOpt, "HTTPHEADER_ORDER"):
        settled["header_order"] = "x-b,x-a"
    encoded = encode_profile(Profile(impersonate="chrome", default_headers=False, extra_fp=settled))
    with TlsOrigin(alpn=("h2",)) as origin:
        assert isinstance(send(fetch(origin.url, profile=encoded))[0], Completed)
        (seen,) = origin.requests
    assert seen.weight == 99
    if "header_order" in settled:
        assert [name for name, _ in sent(seen)][:2] == [b"x-b", b"x-a"]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"cookie": b"a=1\r\nX: 1"}, "value of the header b'Cookie' has b'\\r'"),
        ({"referer": b"https://a/\n"}, "value of the header b'Referer' has b'\\n'"),
        ({"head": BrowserHead(fields=[(b"A b", b"1")], order=[])}, "name of the header b'A b'"),
        ({"head": BrowserHead(fields=[], order=[b"a,b"])}, "name of the header b'a,b'"),
    ],
)
def test_what_http_forbids_is_refused(what: dict[str, Any], says: str) -> None:
    with TlsOrigin() as origin:
        refused, after = send(fetch(origin.url, **what), fetch(origin.url))
    assert isinstance(refused, InvalidRequest)
    assert says in refused.detail
    assert isinstance(after, Completed)

"""Requests that reach an origin twice: only those that Scrapy's retry policy sends twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import Completed, Failed, Fetch, Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.fixtures import RunCrawl
from testkit.origins.leaving import LeavingOrigin

pytestmark = pytest.mark.processes

PLAIN = encode_profile(Profile())
HELLO = Hello(profiles=[("default", PLAIN)], max_in_flight=16, max_idle=16)

IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
OTHERS = ("POST", "PATCH", "MKCOL")
WITH_BODY = ("POST", "PATCH", "PUT")
HOWS = ("close", "reset")

by_transport = pytest.mark.parametrize(
    "options",
    [{"tls": False}, {}, {"alpn": ("h2",)}],
    ids=["HTTP/1.1 over TCP", "HTTP/1.1 over TLS", "HTTP/2"],
)


@by_transport
@pytest.mark.parametrize(
    ("meta", "settings"),
    [
        ({"dont_retry": True}, {}),
        ({"max_retry_times": 0}, {}),
        ({}, {"RETRY_ENABLED": False}),
        ({}, {"RETRY_TIMES": 0}),
    ],
    ids=["dont_retry", "max_retry_times", "RETRY_ENABLED", "RETRY_TIMES"],
)
def test_without_retries_a_request_is_sent_once(
    crawl: RunCrawl, options: dict[str, Any], meta: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Or twice, if its method is idempotent and the connection a reused one."""
    leaving = [(method, f"/{how}") for method in (*OTHERS, "GET") for how in HOWS]
    with LeavingOrigin(**options) as origin:
        requests: list[dict[str, Any]] = [{"url": origin.url}]
        for method, path in leaving:
            body = "x" if method in WITH_BODY else ""
            requests.append({"url": origin.url + path, "method": method, "body": body})
            # Its answer leaves an idle connection to the next one.
            requests.append({"url": origin.url})
        crawled = crawl(
            *({"meta": meta, "priority": -n, **request} for n, request in enumerate(requests)),
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
            **settings,
        )
        seen = {(method, path): origin.count(method, path) for method, path in leaving}
    assert seen == {(method, path): 1 + (method == "GET") for method, path in leaving}
    assert crawled.stat("connection/resent_count") == 2
    assert len(crawled.errors) == len(leaving)
    assert {error["type"] for error in crawled.errors} <= {
        "ConnectionDiedError",
        "DownloadFailedError",
    }
    assert "retry/count" not in crawled.stats


def test_scrapys_policy_decides_how_often_a_post_is_sent(crawl: RunCrawl) -> None:
    with LeavingOrigin() as origin:
        crawled = crawl(
            {"url": origin.url, "priority": 1},
            {"url": f"{origin.url}/close", "method": "POST", "body": "x"},
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_WORKERS=1,
            RETRY_TIMES=3,
        )
        assert origin.count("POST", "/close") == 4
    assert crawled.stats["retry/count"] == 3
    assert crawled.stats["retry/reason_count/connection_died"] == 1
    assert crawled.stat("connection/resent_count") == 0


def run_worker(test: Callable[[WorkerClient], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        with WorkerClient(HELLO) as worker:
            await test(worker)

    asyncio.run(run())


def fetch(url: str, method: str = "GET", **fields: Any) -> Fetch:
    return Fetch(**{"profile": PLAIN, **fields}, url=url, method=method, timeout_seconds=30.0)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_however_many_idle_connections_there_are(how: str, stream: bool, tls: bool) -> None:
    """libcurl itself would try six of them."""

    async def test(worker: WorkerClient) -> None:
        for method in (*IDEMPOTENT, *OTHERS):
            # New handles, for libcurl 8.15 counts its tries as long as a handle is in use.
            own_profile = encode_profile(Profile(proxy_headers=[(b"X-Method", method.encode())]))
            with LeavingOrigin(together=7, tls=tls) as origin:
                urls = [f"{origin.url}/together/{number}" for number in range(7)]
                await asyncio.gather(
                    *(worker.fetch(fetch(url, profile=own_profile)) for url in urls)
                )
                assert origin.accepted == 7
                body = b"x" * 300_000 if method in WITH_BODY else b""
                request = fetch(f"{origin.url}/{how}", method, stream=stream, profile=own_profile)
                failed, _ = await worker.fetch(request, body)
                most = 1 + (method in IDEMPOTENT)
                assert origin.count(method, f"/{how}") == most
            assert isinstance(failed, Failed)
            assert failed.kind is FailureKind.CONNECTION_DIED
            assert failed.code == 0
            assert failed.stats.resends == most - 1
            times = "twice" if method in IDEMPOTENT else "once"
            assert failed.detail.endswith(f"a {method} is sent {times} at most")

    run_worker(test)


@by_transport
def test_requests_with_a_body_share_a_connection(options: dict[str, Any]) -> None:
    async def test(worker: WorkerClient) -> None:
        with LeavingOrigin(**options) as origin:
            for method in OTHERS * 4:
                for body in (b"", b"x", b"x" * 100_000):
                    outcome, _ = await worker.fetch(fetch(origin.url, method), body)
                    assert isinstance(outcome, Completed)
                    assert outcome.stats.resends == 0
            assert origin.accepted == 1
            assert [len(seen.body) for seen in origin.requests] == [0, 1, 100_000] * 12

    run_worker(test)


def test_a_refused_request_leaves_its_handle_as_it_was() -> None:
    """libcurl counts its tries as long as a handle is in use."""

    async def test(worker: WorkerClient) -> None:
        with LeavingOrigin(tls=False) as origin:
            for _ in range(12):
                await worker.fetch(fetch(origin.url))
                await worker.fetch(fetch(f"{origin.url}/close", "POST"), b"x")
            assert origin.count("POST", "/close") == 12
            await worker.fetch(fetch(origin.url))
            await worker.fetch(fetch(f"{origin.url}/close"))
            assert origin.count("GET", "/close") == 2

    run_worker(test)


def test_a_post_that_finds_its_connection_dead_goes_out_on_another_one() -> None:
    """libcurl 8.23 picks HTTP/2 connections that have died, and notices as it begins to send."""

    async def test(worker: WorkerClient) -> None:
        with LeavingOrigin(alpn=("h2",)) as origin:
            await worker.fetch(fetch(f"{origin.url}/close"))
            completed, _ = await worker.fetch(fetch(origin.url, "POST"), b"x")
            assert isinstance(completed, Completed)
            assert completed.stats.resends == 0
            assert origin.count("POST", "/") == 1

    run_worker(test)


def test_a_post_that_may_have_come_is_no_failed_handshake() -> None:
    """Its connection dies, and the next one gets no further than the ClientHello."""

    async def test(worker: WorkerClient) -> None:
        with LeavingOrigin(drop=lambda number: number > 0) as origin:
            await worker.fetch(fetch(origin.url))
            failed, _ = await worker.fetch(fetch(f"{origin.url}/close", "POST"), b"x")
            assert origin.count("POST", "/close") == 1
            assert isinstance(failed, Failed)
            assert failed.kind is FailureKind.CONNECTION_DIED
            failed, _ = await worker.fetch(fetch(f"{origin.url}/close", "POST"), b"x")
            assert isinstance(failed, Failed)
            assert failed.kind is FailureKind.SYSCALL

    run_worker(test)

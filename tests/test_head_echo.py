"""The head echo: a worker says what it would send, and sends nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import Completed, Failed, Fetch, Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.origins.tls import TlsOrigin

pytestmark = pytest.mark.processes


def profile(browser: str) -> bytes:
    return encode_profile(Profile(impersonate=browser, http_version="v2tls"))


def echoed(body: bytes) -> list[tuple[bytes, bytes]]:
    lines = body.split(b"\r\n")[1:]
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)]


@pytest.mark.parametrize("browser", ["chrome", "firefox", "safari"])
def test_the_head_is_the_one_that_an_origin_gets(browser: str) -> None:
    async def run(origin: TlsOrigin) -> tuple[bytes, list[bytes]]:
        hello = Hello(profiles=[("default", profile(browser))])
        with WorkerClient(hello) as worker:
            fields: dict[str, Any] = {"profile": profile(browser), "timeout_seconds": 30.0}
            # A connection of the echo is never used for another request, nor the other way round.
            bodies = []
            for echo in (False, True, False, True):
                fetch = Fetch(url=f"{origin.url}/", echo=echo, **fields)
                outcome, body = await worker.fetch(fetch)
                assert isinstance(outcome, Completed)
                if echo:
                    bodies.append(body)
            return bodies[0], bodies

    with TlsOrigin(tls=False) as origin:
        head, bodies = asyncio.run(run(origin))
        assert len(origin.requests) == 2
        assert origin.accepted == 1
        assert head.startswith(b"GET / HTTP/1.1\r\n")
        assert echoed(head) == list(origin.requests[0].headers)
    assert bodies == [head, head]


def test_it_needs_nobody_at_the_address() -> None:
    async def run() -> None:
        hello = Hello(profiles=[("default", profile("chrome"))])
        with WorkerClient(hello) as worker:
            fields: dict[str, Any] = {"profile": profile("chrome"), "timeout_seconds": 30.0}
            url = "http://127.0.0.1:1/"
            outcome, body = await worker.fetch(Fetch(url=url, echo=True, **fields))
            assert isinstance(outcome, Completed)
            assert outcome.head is not None
            assert outcome.head.status == 200
            assert b"\r\nuser-agent: mozilla/5.0 " in body.lower()
            outcome, _ = await worker.fetch(Fetch(url=url, **fields))
            assert isinstance(outcome, Failed)
            assert outcome.kind is FailureKind.REFUSED

    asyncio.run(run())

"""The crawler learns the headers of a target from a worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from scrapy_curl_safe._crawl.browser_targets import BrowserTargets
from scrapy_curl_safe._crawl.profile import EncodedProfile
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import (
    Completed,
    Failed,
    InvalidRequest,
    Outcome,
    Profile,
    TransferStats,
    encode_profile,
)
from scrapy_curl_safe._pool.errors import WorkerLostError, WorkersExhaustedError
from scrapy_curl_safe._pool.request import PoolRequest, Result

AGENT = "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/152.0.0.0 Safari/537.36"


def encoded(**fields: Any) -> EncodedProfile:
    profile = Profile(default_headers=False, **fields)
    return EncodedProfile(profile, encode_profile(profile), "context")


CHROME = encoded(impersonate="chrome", proxy="http://127.0.0.1:1")
COMPLETED = Completed(id=1, stats=TransferStats())
FAILED = Failed(id=1, stats=TransferStats(), kind=FailureKind.TIMEOUT, detail="too late")

Fetch = Callable[[PoolRequest], Awaitable[Result]]


class Worker:
    """Answers with the head that a test gives, or does what the test says."""

    def __init__(self, *answers: str | Outcome | Exception) -> None:
        self._answers = list(answers)
        self.requests: list[PoolRequest] = []

    async def fetch(self, request: PoolRequest) -> Result:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            return Result(COMPLETED, f"GET / HTTP/1.1\r\n{answer}".encode(), 0)
        return Result(answer, b"", 0)


def targets(fetch: Fetch) -> BrowserTargets:
    return BrowserTargets(asyncio.get_running_loop(), fetch)


PAGE = f"User-Agent: {AGENT}\r\naccept:  a \r\ncache-control: max-age=0"


def test_a_target_is_learned_once_for_all_profiles_with_its_browser() -> None:
    async def run() -> None:
        worker = Worker(PAGE, PAGE)
        learned = targets(worker.fetch)
        assert learned.get(CHROME) is None
        await asyncio.gather(*(learned.learn(CHROME) for _ in range(5)))
        other = encoded(impersonate="chrome")
        assert not learned.is_known(other)
        await learned.learn(other)
        assert learned.is_known(other)
        target = learned.get(CHROME)
        assert target is not None
        assert (target.family, target.major) == ("chromium", 152)
        assert dict(target.values) == {"user-agent": AGENT, "accept": "a"}
        assert learned.get(other) is target
        (request,) = worker.requests
        # Not by the user's proxy, and with the target's own headers.
        assert request.fetch.profile == encode_profile(
            Profile(impersonate="chrome", http_version="v2tls")
        )
        assert request.fetch.echo
        await learned.learn(encoded(impersonate="edge"))
        assert len(worker.requests) == 2

    asyncio.run(run())


def test_a_worker_that_dies_is_not_the_targets_fault() -> None:
    async def run() -> None:
        lost = WorkerLostError(0, 1, hung=False, was_alone=False)
        learned = targets(Worker(lost, lost, PAGE).fetch)
        await learned.learn(CHROME)
        assert learned.get(CHROME) is not None

    asyncio.run(run())


def test_what_cannot_be_learned_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        worker = Worker(FAILED)
        learned = targets(worker.fetch)
        for _ in range(2):
            await learned.learn(CHROME)
        assert learned.get(CHROME) is None
        assert len(worker.requests) == 1

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    (record,) = caplog.records
    assert "The headers of chrome could not be learned from a worker" in record.message
    assert "too late" in record.message


def test_a_target_that_ends_each_worker_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        lost = WorkerLostError(0, 1, hung=False, was_alone=False)
        learned = targets(Worker(lost, lost, lost).fetch)
        await learned.learn(CHROME)
        assert learned.get(CHROME) is None

    asyncio.run(run())
    assert "could not be learned" in caplog.text


@pytest.mark.parametrize("answer", [InvalidRequest(id=1, detail="cannot impersonate"), "accept: a"])
def test_no_browser_is_no_target(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        learned = targets(Worker(answer).fetch)
        await learned.learn(CHROME)
        assert learned.get(CHROME) is None

    asyncio.run(run())
    assert caplog.records == []


def test_without_a_worker_nothing_is_learned() -> None:
    async def run() -> None:
        worker = Worker(WorkersExhaustedError("none"), PAGE)
        learned = targets(worker.fetch)
        await learned.learn(CHROME)
        assert learned.get(CHROME) is None
        await learned.learn(CHROME)
        assert learned.get(CHROME) is not None

    asyncio.run(run())


def test_whoever_waits_learns_where_the_first_one_was_cancelled() -> None:
    async def run() -> None:
        worker = Worker(PAGE)
        never = asyncio.Event()

        async def fetch(request: PoolRequest) -> Result:
            if not worker.requests:
                worker.requests.append(request)
                await never.wait()
            return await worker.fetch(request)

        learned = targets(fetch)
        first, second = (asyncio.ensure_future(learned.learn(CHROME)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert learned.get(CHROME) is not None

    asyncio.run(run())

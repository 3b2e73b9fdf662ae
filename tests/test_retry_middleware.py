"""HandshakeRetryMiddleware by itself: what it retries, and after what wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from scrapy import Request, Spider
from scrapy.exceptions import DownloadConnectionRefusedError
from scrapy.http import Response
from scrapy.utils.test import get_crawler
from twisted.internet.defer import Deferred

from scrapy_curl_safe import (
    ConnectionDiedError,
    CurlSafeDownloadHandler,
    HandshakeError,
    HandshakeRetryMiddleware,
    OriginUnavailableError,
    WorkerCrashedError,
    middleware,
)
from scrapy_curl_safe._crawl.context import origins_of
from scrapy_curl_safe._pool.origins import OriginRegistry, Route
from scrapy_curl_safe.settings import Settings

ORIGIN = "https://origin.example:443"
URL = "https://origin.example/"


class Retrying:
    """A middleware whose waits are over when the test says so.

    Attributes:
        waits: seconds of each wait.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.crawler = get_crawler(Spider, settings_dict=settings)
        self.crawler.spider = Spider.from_crawler(self.crawler, name="spider")
        self.middleware = HandshakeRetryMiddleware.from_crawler(self.crawler)
        self.waits: list[float] = []
        self._due: list[Callable[[], object]] = []
        monkeypatch.setattr(middleware, "call_later", self._call_later)
        monkeypatch.setattr(middleware, "maybe_deferred_to_future", lambda deferred: deferred)
        # The longest of all waits that are possible.
        monkeypatch.setattr("random.random", lambda: 1.0)

    def _call_later(self, seconds: float, call: Callable[[Any], object], argument: Any) -> None:
        self.waits.append(seconds)
        self._due.append(lambda: call(argument))

    @property
    def origins(self) -> OriginRegistry:
        return origins_of(self.crawler, Settings.load(self.crawler.settings))

    @property
    def stats(self) -> dict[str, Any]:
        assert self.crawler.stats is not None
        return self.crawler.stats.get_stats()

    def fail(self, request: Request, error: Exception) -> Deferred[Request | None]:
        """Have a request fail; the result comes when its wait is over."""
        coroutine: Coroutine[Any, Any, Request | None]
        coroutine = self.middleware.process_exception(request, error)
        return Deferred.fromCoroutine(coroutine)

    def retried(self, request: Request, error: Exception) -> Request | None:
        """Have a request fail, and let its wait pass."""
        results: list[Request | None] = []
        deferred = self.fail(request, error)
        deferred.addCallback(results.append)
        for due in self._due:
            due()
        self._due.clear()
        (result,) = results
        return result

    def tries(self, error: Exception, **meta: Any) -> int:
        """Count how often a request is tried that fails each time."""
        request: Request | None = Request(URL, meta=meta)
        count = 0
        while request is not None:
            count += 1
            assert count < 100
            request = self.retried(request, error)
        return count


def failed_handshake(kind: str = "syscall") -> HandshakeError:
    return HandshakeError(kind, 35, "why", ORIGIN)


def unavailable() -> OriginUnavailableError:
    return OriginUnavailableError("syscall", 35, "why", ORIGIN, 2.0)


def open_breaker(retrying: Retrying, *, failed_trials: int = 0) -> None:
    """Open the breaker of the origin, and let trials fail."""
    breaker, now = retrying.origins.get(Route(ORIGIN, None)).breaker, 0.0
    for _ in range(10):
        breaker.failure(object(), now, counts=True)
        now += 1.0
    for trial in range(failed_trials):
        breaker.begin(trial, now)
        breaker.failure(trial, now, counts=True)
        now += 60.0
    assert breaker.is_open


def answer(retrying: Retrying, url: str = URL, **meta: Any) -> None:
    """Have another handler download a page."""
    request = Request(url, meta=meta)
    retrying.middleware.process_response(request, Response(url))


# How often


@pytest.mark.parametrize(
    ("kind", "unproven", "proven"),
    [
        ("syscall", 3, 11),
        ("timeout", 3, 11),
        ("alert", 2, 2),
        ("protocol", 1, 1),
        ("certificate", 1, 1),
        ("local", 11, 11),
    ],
)
def test_a_dead_origin_fails_fast(
    monkeypatch: pytest.MonkeyPatch, kind: str, unproven: int, proven: int
) -> None:
    retrying = Retrying(monkeypatch)
    assert retrying.tries(failed_handshake(kind)) == unproven
    answer(retrying)
    assert retrying.tries(failed_handshake(kind)) == proven


def test_an_origin_that_answered_by_one_proxy_is_not_dead_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    answer(retrying, proxy="http://proxy:1")
    assert retrying.tries(failed_handshake(), proxy="http://proxy:2") == 11


def test_a_cached_response_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    cached = Response(URL, flags=["cached"])
    retrying.middleware.process_response(Request(URL), cached)
    assert retrying.tries(failed_handshake()) == 3


def test_what_the_handler_has_learned_is_not_learned_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    answer(retrying, curl_safe_info={})
    assert not retrying.origins.is_proven(Route(ORIGIN, None))


@pytest.mark.parametrize(
    ("meta", "tries"), [({"max_retry_times": 5}, 6), ({"max_retry_times": 0}, 1)]
)
def test_a_request_may_say_how_often(
    monkeypatch: pytest.MonkeyPatch, meta: dict[str, Any], tries: int
) -> None:
    assert Retrying(monkeypatch).tries(failed_handshake(), **meta) == tries


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (WorkerCrashedError("why", worker=1, exit_status=-9, alone=True), 1),
        (ConnectionDiedError("why"), 3),
        (ValueError("why"), 1),
    ],
)
def test_other_failures(monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int) -> None:
    assert Retrying(monkeypatch).tries(error) == tries


def test_a_request_that_was_given_up_is_left_alone_by_scrapys_middleware(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    request = Request(URL)
    assert retrying.retried(request, failed_handshake("certificate")) is None
    assert request.meta["dont_retry"]
    assert retrying.stats["curl_safe/handshake/gave_up_count"] == 1
    # Sent again all the same, by an errback, say, it has all its retries again.
    assert retrying.retried(request, failed_handshake()) is not None


def test_retries_are_counted_apart_from_scrapys(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    retry = retrying.retried(Request(URL, meta={"retry_times": 2}), failed_handshake())
    assert retry is not None
    assert retry.meta["retry_times"] == 2
    assert retry.meta["curl_safe_retries"] == 1
    assert retrying.stats["curl_safe/handshake/retry_count"] == 1
    assert retrying.stats["retry/reason_count/ssl_error_syscall"] == 1
    retrying.middleware.process_response(retry, Response(URL))
    assert retrying.stats["curl_safe/handshake/recovered_count"] == 1
    assert "curl_safe_retries" not in retry.meta


def test_what_was_not_tried_counts_apart_from_what_was(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    open_breaker(retrying)
    retry = retrying.retried(Request(URL), unavailable())
    assert retry is not None
    assert retrying.stats["retry/reason_count/origin_unavailable"] == 1
    assert "curl_safe/handshake/retry_count" not in retrying.stats
    again = retrying.retried(retry, failed_handshake())
    assert again is not None
    assert again.meta["curl_safe_retries"] == again.meta["curl_safe_rejections"] == 1
    retrying.middleware.process_response(again, Response(URL))
    assert not any(key.startswith("curl_safe_re") for key in again.meta)


@pytest.mark.parametrize(
    ("failed_trials", "rejections", "tries"),
    [(0, 11, 11), (3, 11, 11), (4, 1, 3)],
)
def test_an_open_breaker_finds_out_whether_an_origin_is_dead(
    monkeypatch: pytest.MonkeyPatch, failed_trials: int, rejections: int, tries: int
) -> None:
    """Until it has, no request is given up after as few tries as a dead origin gets."""
    retrying = Retrying(monkeypatch)
    open_breaker(retrying, failed_trials=failed_trials)
    assert retrying.tries(unavailable()) == rejections
    assert retrying.tries(failed_handshake()) == tries
    answer(retrying)  # by another proxy, say
    assert retrying.tries(unavailable()) == 11


def test_a_request_may_say_how_often_it_waits_for_the_breaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    open_breaker(retrying)
    assert retrying.tries(unavailable(), max_retry_times=3) == 4
    assert retrying.tries(unavailable(), max_retry_times=0) == 1


# How long


def test_the_wait_grows_with_the_failures_of_request_and_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    answer(retrying)
    retrying.tries(failed_handshake())
    # The row of its origin counts by its doublings.
    assert retrying.waits == pytest.approx([0.1, 0.2, 0.2, *[0.4] * 4, *[0.8] * 3])
    answer(retrying)
    retrying.waits.clear()
    retrying.retried(Request(URL, meta={"curl_safe_retries": 5}), failed_handshake())
    assert retrying.waits == [0.1]


def test_without_a_limit_the_wait_grows_with_the_failures_of_the_request_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch, CURL_SAFE_ADAPTIVE=False)
    answer(retrying)
    retrying.tries(failed_handshake())
    assert retrying.waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5])


def test_without_a_limit_a_budget_spreads_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(
        monkeypatch, CURL_SAFE_ADAPTIVE=False, CURL_SAFE_HANDSHAKE_BACKOFF=0, CONCURRENT_REQUESTS=10
    )
    answer(retrying)
    for _ in range(120):
        retrying.retried(Request(URL), failed_handshake())
    assert retrying.waits[:100] == [0.0] * 100
    assert 0 < retrying.waits[119] <= 2.0


@pytest.mark.parametrize("is_proven", [True, False])
@pytest.mark.parametrize(("seconds", "wait"), [(2.0, 2.1), (50.0, 5.1)])
def test_where_the_breaker_is_open_it_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_proven: bool, wait: float
) -> None:
    retrying = Retrying(monkeypatch)
    if is_proven:
        answer(retrying)
    error = OriginUnavailableError("syscall", 35, "why", ORIGIN, seconds)
    retrying.retried(Request(URL), error)
    assert retrying.waits == pytest.approx([wait])


def test_the_last_retry_leaves_an_origin_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    retrying.tries(failed_handshake())
    assert retrying.waits == pytest.approx([0.1, 3.2])
    retrying.waits.clear()
    retrying.tries(failed_handshake("timeout"))
    assert retrying.waits == pytest.approx([0.1, 0.2])


def test_no_wait_is_longer_than_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch, CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.5)
    retrying.tries(failed_handshake())
    retrying.retried(Request(URL), unavailable())
    assert retrying.waits == pytest.approx([0.1, 0.7, 0.6])


def test_half_of_all_requests_wait_for_one_origin_and_the_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever their proxies: each keeps its place in CONCURRENT_REQUESTS meanwhile."""
    retrying = Retrying(monkeypatch, CONCURRENT_REQUESTS=8)
    deferreds = [
        retrying.fail(Request(URL, meta={"proxy": f"http://proxy:{number}"}), failed_handshake())
        for number in range(1, 9)
    ]
    assert [bool(deferred.called) for deferred in deferreds] == [False] * 4 + [True] * 4
    elsewhere = retrying.fail(Request("https://other.example/"), failed_handshake())
    assert not elsewhere.called


def test_all_wait_for_an_origin_that_may_only_be_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch, CONCURRENT_REQUESTS=8)
    open_breaker(retrying)
    deferreds = [retrying.fail(Request(URL), unavailable()) for _ in range(8)]
    assert not any(deferred.called for deferred in deferreds)
    answer(retrying)
    later = retrying.fail(Request(URL), unavailable())
    assert later.called


# Refused connections


def refused() -> DownloadConnectionRefusedError:
    return DownloadConnectionRefusedError("why")


def waits_for(retrying: Retrying, *, url: str = URL, **meta: Any) -> list[float]:
    """Have a request's connection be refused; return the waits before Scrapy may retry it."""
    retrying.waits.clear()
    assert retrying.retried(Request(url, meta=meta), refused()) is None
    return retrying.waits


def test_before_scrapys_last_retry_an_origin_that_refuses_connections_has_time_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retrying = Retrying(monkeypatch)
    assert waits_for(retrying) == pytest.approx([0.1])
    assert waits_for(retrying, retry_times=1) == pytest.approx([3.2])
    assert waits_for(retrying, retry_times=2) == []
    assert waits_for(retrying, max_retry_times=1) == pytest.approx([3.1])
    assert "retry/count" not in retrying.stats


@pytest.mark.parametrize(
    ("settings", "meta"),
    [
        ({"RETRY_TIMES": 0}, {}),
        ({}, {"max_retry_times": 0}),
        ({}, {"dont_retry": True}),
        ({}, {"proxy": "http://proxy:1"}),
    ],
)
def test_nothing_waits_that_scrapy_does_not_retry_or_a_proxy_may_have_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], meta: dict[str, Any]
) -> None:
    assert waits_for(Retrying(monkeypatch, **settings), **meta) == []


def test_an_origin_that_has_answered_is_not_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    answer(retrying)
    assert waits_for(retrying, retry_times=1) == []


def test_an_origin_that_keeps_refusing_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch)
    now = time.monotonic()
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert waits_for(retrying, retry_times=1) != []
    now += 14.9
    assert waits_for(retrying, retry_times=1) != []
    now += 0.1
    assert waits_for(retrying, retry_times=1) == []
    assert waits_for(retrying, url="https://other.example/", retry_times=1) != []


def test_of_many_origins_only_some_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    retrying = Retrying(monkeypatch, CONCURRENT_REQUESTS=32)
    urls = [f"https://{host}.example/" for host in "abcdef"]
    waiting = [
        not retrying.fail(Request(url, meta={"retry_times": 1}), refused()).called
        for url in (*urls, *urls)
    ]
    assert waiting == [True] * 4 + [False] * 2 + [True] * 4 + [False] * 2


# Whose


@pytest.mark.parametrize(
    ("meta", "compat", "proxy"),
    [
        ({}, False, None),
        ({"proxy": "http://u:p@proxy:1"}, False, "http://proxy:1"),
        ({"impersonate_args": {"proxy": "http://other:1"}}, False, None),
        ({"impersonate_args": {"proxy": "http://other:1"}}, True, "http://other:1"),
        (
            {"proxy": "http://proxy:1", "impersonate_args": {"proxy": "http://other:1"}},
            True,
            "http://other:1",
        ),
        ({"impersonate_args": {"no_such_option": 1}}, True, None),
        ({"curl": False}, True, None),
    ],
)
def test_the_origin_is_by_the_proxy_that_the_handler_takes(
    monkeypatch: pytest.MonkeyPatch, meta: dict[str, Any], compat: bool, proxy: str | None
) -> None:
    retrying = Retrying(monkeypatch, CURL_SAFE_COMPAT=compat)
    retrying.retried(Request(URL, meta=meta), failed_handshake())
    assert retrying.origins.get(Route(ORIGIN, proxy)).retries_in_a_row == 1


OURS = "scrapy_curl_safe.CurlSafeDownloadHandler"
SCRAPYS = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"


@pytest.mark.parametrize(
    ("handlers", "looks"),
    [
        ({"http": OURS, "https": OURS}, False),
        ({"http": CurlSafeDownloadHandler, "https": OURS}, False),
        ({"https": OURS}, True),
        ({"http": None, "https": OURS}, True),
        (
            {"http": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler", "https": OURS},
            True,
        ),
        ({}, True),
    ],
)
def test_it_looks_at_responses_only_if_another_handler_brings_any(
    handlers: dict[str, Any], looks: bool
) -> None:
    crawler = get_crawler(settings_dict={"DOWNLOAD_HANDLERS": handlers})
    middleware = HandshakeRetryMiddleware.from_crawler(crawler)
    assert hasattr(middleware, "process_response") is looks

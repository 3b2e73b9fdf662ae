"""The advice of the log, which fits what happened."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._crawl.advice import advice
from scrapy_curl_safe._ipc.failures import HANDSHAKE_KINDS, FailureKind
from scrapy_curl_safe._pool.origins import Origin, Route
from testkit.crawling import urls
from testkit.fixtures import RunCrawl
from testkit.origins import faults

SITE = "https://example.com:443"


def failing(
    kind: FailureKind, *, done: int = 0, proxy: str | None = None, lowered: bool = False
) -> Origin:
    origin = Origin(Route(SITE, proxy), 16, 1)
    origin.failures[kind] = 3
    origin.handshakes_done = done
    if lowered:
        origin.limit.reset_to_floor()
    return origin


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:3128"])
def test_every_kind_has_an_advice(kind: FailureKind, proxy: str | None) -> None:
    for done in (0, 7):
        text = advice(failing(kind, done=done, proxy=proxy))
        assert text.startswith(
            f"Most failed handshakes were with {Route(SITE, proxy)}, 3 by {kind.value}: "
        )
        assert "{" not in text


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
def test_fewer_at_once_is_no_advice_where_no_handshake_was_ever_done(kind: FailureKind) -> None:
    assert "fewer" not in advice(failing(kind))


def test_an_origin_that_closes_connections() -> None:
    text = advice(failing(FailureKind.SYSCALL))
    assert "during every handshake: it may be down, or refuse this address" in text
    assert text.endswith(f"`scrapy curlsafe probe {SITE}` tells them apart")
    assert "it may allow fewer at once" in advice(failing(FailureKind.SYSCALL, done=7))


def test_a_proxy_is_part_of_the_advice() -> None:
    text = advice(failing(FailureKind.TIMEOUT, proxy="http://127.0.0.1:3128"))
    assert "it or the proxy accepts connections" in text
    assert f"`scrapy curlsafe probe {SITE} --proxy http://127.0.0.1:3128`" in text


def test_a_limit_that_is_not_lowered_is_not_named() -> None:
    assert "limit" not in advice(failing(FailureKind.SYSCALL, done=1))
    assert "(limit now " in advice(failing(FailureKind.SYSCALL, done=1, lowered=True))


@pytest.mark.processes
def test_a_crawl_of_an_origin_that_completes_none(crawl: RunCrawl) -> None:
    with faults.close_after_hello() as origin:
        crawled = crawl(*urls(origin, 8), CURL_SAFE_HANDSHAKE_BACKOFF=0)
    assert "has closed the connection during every handshake" in crawled.log
    assert "fewer at once" not in crawled.log

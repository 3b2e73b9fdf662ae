"""The advice of the log, which fits what happened."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._crawl.advice import advice
from scrapy_curl_safe._ipc.failures import HANDSHAKE_KINDS, FailureKind
from scrapy_curl_safe._pool.origins import Origin, Route
from testkit.crawling import urls
from testkit.fixtures import RunCrawl
from testkit.origins import faults
from testkit.origins.proxies import Proxy

SITE = "https://example.com:443"


def failing(
    kind: FailureKind,
    *,
    failed: int = 10,
    done: int = 0,
    proxy: str | None = None,
    lowered: bool = False,
) -> Origin:
    origin = Origin(Route(SITE, proxy), 16, 1)
    origin.failures[kind] = failed
    origin.handshakes_done = done
    if lowered:
        origin.limit.reset_to_floor()
    return origin


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
@pytest.mark.parametrize(
    ("proxy", "where"),
    [(None, SITE), ("http://127.0.0.1:3128", f"{SITE} through http://127.0.0.1:3128")],
)
def test_every_kind_has_an_advice(kind: FailureKind, proxy: str | None, where: str) -> None:
    for done in (0, 7):
        text = advice(failing(kind, done=done, proxy=proxy), 10)
        assert text.startswith(f"Most failed handshakes were with {where}, 10 by {kind.value}: ")
        assert "{" not in text


def test_most_are_more_than_half() -> None:
    site = failing(FailureKind.SYSCALL)
    proxied = failing(FailureKind.SYSCALL, proxy="http://127.0.0.1:3128")
    assert advice(site, 19).startswith("Most failed handshakes were with ")
    assert advice(site, 20).startswith(
        f"The most failed handshakes of one origin were with {SITE}: 10 of 20, 10 by syscall: "
    )
    assert advice(proxied, 35).startswith(
        f"The most failed handshakes of one origin through one proxy were with {SITE} "
        "through http://127.0.0.1:3128: 10 of 35, 10 by syscall: "
    )


@pytest.mark.parametrize(
    ("failed", "done", "is_telling"),
    [(4, 0, False), (5, 0, True), (5, 1, False), (8, 1, False), (9, 1, True), (1, 9, True)],
)
@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
def test_few_handshakes_tell_nothing(
    kind: FailureKind, failed: int, done: int, is_telling: bool
) -> None:
    text = advice(failing(kind, failed=failed, done=done), failed)
    always = kind in (FailureKind.CERTIFICATE, FailureKind.LOCAL)
    too_few = f"these are too few to tell why. `scrapy curlsafe probe {SITE}` finds out"
    assert text.endswith(too_few) is not (is_telling or always)


@pytest.mark.parametrize("kind", HANDSHAKE_KINDS)
def test_fewer_at_once_is_no_advice_where_no_handshake_was_ever_done(kind: FailureKind) -> None:
    assert "fewer" not in advice(failing(kind), 10)


def test_an_origin_that_closes_connections() -> None:
    text = advice(failing(FailureKind.SYSCALL), 10)
    assert "during every handshake: it may be down, or refuse this address" in text
    assert text.endswith(f"`scrapy curlsafe probe {SITE}` tells them apart")
    assert "it may allow fewer at once" in advice(failing(FailureKind.SYSCALL, done=7), 10)


def test_a_proxy_is_part_of_the_advice() -> None:
    text = advice(failing(FailureKind.TIMEOUT, proxy="http://127.0.0.1:3128"), 10)
    assert "it or the proxy accepts connections" in text
    assert f"`scrapy curlsafe probe {SITE} --proxy http://127.0.0.1:3128`" in text


def test_a_limit_that_is_not_lowered_is_not_named() -> None:
    assert "limit" not in advice(failing(FailureKind.SYSCALL, done=1), 10)
    assert "(limit now " in advice(failing(FailureKind.SYSCALL, done=1, lowered=True), 10)


@pytest.mark.processes
def test_a_command_says_where_the_proxys_password_goes(crawl: RunCrawl) -> None:
    with faults.close_after_hello() as origin, Proxy("someone", "secret") as proxy:
        meta = {"proxy": f"http://someone:secret@{proxy.location}"}
        requests = [{"url": url, "meta": meta} for url in urls(origin, 8)]
        crawled = crawl(*requests, CURL_SAFE_HANDSHAKE_BACKOFF=0)
    assert f" were with {origin.url} through http://{proxy.location}, " in crawled.log
    command = f"probe {origin.url} --proxy http://USER:PASSWORD@{proxy.location}` tells"
    assert command in crawled.log
    assert "secret" not in crawled.log


@pytest.mark.processes
def test_a_crawl_of_an_origin_that_completes_none(crawl: RunCrawl) -> None:
    with faults.close_after_hello() as origin:
        crawled = crawl(*urls(origin, 8), CURL_SAFE_HANDSHAKE_BACKOFF=0)
    assert "has closed the connection during every handshake" in crawled.log
    assert "fewer at once" not in crawled.log

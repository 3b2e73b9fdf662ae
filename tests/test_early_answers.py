"""Origins that answer before they have read the whole body of a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.crawling import urls
from testkit.fixtures import RunCrawl
from testkit.origins.raw import RESET, Piece, RawOrigin

pytestmark = pytest.mark.processes

REFUSED = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"
LARGE = "x" * 3_000_000


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_the_answer_comes_although_the_origin_closes_at_once(crawl: RunCrawl, tls: bool) -> None:
    """libcurl reads nothing more from a connection that it cannot write to. An answer is lost if it
    comes while libcurl writes, and it writes for a short time only: of 1,600 answers one was lost.
    Without TCP_NOTSENT_LOWAT 1 of 50 was, and with libcurl's own buffer 1 of 7 over TLS."""

    def script(head: bytes) -> Iterator[Piece]:
        yield REFUSED
        yield RESET

    with RawOrigin(script, tls=tls) as origin:
        crawled = crawl(
            *({"url": url, "method": "POST", "body": LARGE} for url in urls(origin, 60)),
            CONCURRENT_REQUESTS=1,
            RETRY_ENABLED=False,
            HTTPERROR_ALLOW_ALL=True,
        )
    assert {(r["status"], r["body"]) for r in crawled.responses} == {(413, "large")}
    assert len(crawled.errors) <= 2, [e["text"] for e in crawled.errors]


def test_the_answer_comes_if_the_origin_reads_on(crawl: RunCrawl) -> None:
    with RawOrigin(REFUSED) as origin:
        crawled = crawl(
            *({"url": url, "method": "POST", "body": LARGE} for url in urls(origin, 10)),
            RETRY_ENABLED=False,
            HTTPERROR_ALLOW_ALL=True,
        )
    assert [(r["status"], r["body"]) for r in crawled.responses] == [(413, "large")] * 10


def test_a_body_that_is_refused_without_an_answer_is_named(crawl: RunCrawl) -> None:
    with RawOrigin(lambda head: [RESET]) as origin:
        crawled = crawl({"url": origin.url, "method": "POST", "body": LARGE}, RETRY_ENABLED=False)
    (error,) = crawled.errors
    assert error["type"] == "DownloadFailedError"
    assert "of the request's 3,000,000 bytes had been sent" in error["text"]

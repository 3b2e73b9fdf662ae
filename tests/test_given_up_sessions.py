"""Requests that sessions have given up, and that are sent again."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, SeenRequest
from testkit.origins.visitors import VisitorsOrigin

SCRAPYS = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"


@pytest.mark.processes
@pytest.mark.parametrize("handler", ["ours", "other"])
def test_a_request_that_is_sent_again_has_all_its_retries(crawl: RunCrawl, handler: str) -> None:
    """And so has the next page with its meta."""
    answered: Counter[str] = Counter()

    def app(seen: SeenRequest) -> Reply:
        answered[seen.path] += 1
        if seen.path == "/0":
            return Reply(status=403)
        return Reply(status=503 if answered[seen.path] == 1 else 200)

    # With another one, HandshakeRetryMiddleware looks at responses, too.
    scrapys: dict[str, Any] = {"DOWNLOAD_HANDLERS": {"http": SCRAPYS}} if handler == "other" else {}
    with VisitorsOrigin(app=app) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/0", "meta": {"max_retry_times": 2}},
            CURL_SAFE_SESSIONS={},
            module="tests.sent_again",
            **scrapys,
        )
    assert [error["type"] for error in crawled.errors] == ["HttpError"] * 2
    assert [response["url"] for response in crawled.responses] == [f"{origin.url}/next"]
    # Of which RetryMiddleware makes none more.
    assert answered == {"/0": 6, "/next": 2}

"""Runs a crawl (`testkit.runner`) whose spider sends each request that fails once more, and then
the next page with the same meta, as spiders do that copy `response.meta`."""

from __future__ import annotations

import runpy
from collections.abc import Iterator

from scrapy import Request
from twisted.python.failure import Failure

from testkit.spider import PlanSpider

_failed = PlanSpider.failed


def failed(spider: PlanSpider, failure: Failure) -> Iterator[Request]:
    _failed(spider, failure)
    request: Request = failure.request  # type: ignore[attr-defined]
    if "again" in request.flags:
        return
    yield request.replace(dont_filter=True, flags=["again"])
    yield Request(
        request.url.replace("/0", "/next"),
        callback=request.callback,
        errback=request.errback,
        meta=dict(request.meta),
        cb_kwargs=request.cb_kwargs,
        flags=["again"],
    )


if __name__ == "__main__":
    PlanSpider.failed = failed  # type: ignore[assignment, method-assign]
    runpy.run_module("testkit.runner", run_name="__main__")

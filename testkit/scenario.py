"""The plan of a crawl for `testkit.runner`."""

from __future__ import annotations

import json
import select
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Way = Literal["asyncio", "epoll", "select", "none"]
#: The ways in which Scrapy can run here: with three reactors, of which Linux alone has epoll's, and
#: without one.
WAYS: tuple[Way, ...] = tuple(
    way for way in get_args(Way) if way != "epoll" or hasattr(select, "epoll")
)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The behaviour of a crawl's spider and of the program around it, in a form that fits JSON.

    Attributes:
        allowed_domains: of the spider.
        file_urls: the files that each item asks `FilesPipeline` for.
        filter_duplicates: whether the requests pass Scrapy's duplicates filter.
        repeat_to: the total number of requests, up to which the list is repeated; None for no
            repetition.
        wait_for_first: whether the second request waits for the first response.
        count_only: whether outcomes are only counted as stats (`outcome/200`), not kept. Then at
            most 1,000 requests are scheduled at once.
        burn_seconds: CPU time that each callback uses.
        close_spider_at: the response, counted from 1, whose callback raises `CloseSpider`.
        error_at: the response, counted from 1, whose callback raises `RuntimeError`.
        listen: whether the spider connects receivers to `headers_received` and `bytes_received`.
        listener_sleep_seconds: how long each `bytes_received` blocks.
        stop_at: the signal in which `StopDownload` is raised.
        stop_after_bytes: how many bytes must have been received before that.
        stop_path: part of the URL of the downloads that are stopped.
        stop_fails: whether a stopped download is a failure.
        second_crawl: whether the program runs the same crawl a second time.
        linger: whether the program stays when its crawl is over, until it is killed.
        interpreter: path of the interpreter that starts workers; None for the crawl's own.
    """

    allowed_domains: tuple[str, ...] = ()
    file_urls: tuple[str, ...] = ()
    filter_duplicates: bool = False
    repeat_to: int | None = None
    wait_for_first: bool = False
    count_only: bool = False
    burn_seconds: float = 0.0
    close_spider_at: int | None = None
    error_at: int | None = None
    listen: bool = False
    listener_sleep_seconds: float = 0.0
    stop_at: Literal["headers_received", "bytes_received"] | None = None
    stop_after_bytes: int = 0
    stop_path: str = ""
    stop_fails: bool = False
    second_crawl: Literal["at once", "in turn"] | None = None
    linger: bool = False
    interpreter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that `testkit.runner` has to know.

    Attributes:
        requests: arguments of `scrapy.Request`, in order; a body is latin-1 text.
        settings: of the crawl; they override those of the runner.
        way: the way in which Scrapy runs.
        scenario: what else the spider does.
    """

    requests: list[dict[str, Any]]
    settings: dict[str, Any]
    way: Way
    scenario: Scenario

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Plan:
        fields = json.loads(text)
        return cls(**{**fields, "scenario": Scenario(**fields["scenario"])})

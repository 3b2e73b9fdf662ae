"""Sends every case to a handler, and compares what comes of it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from testkit.crawling import Crawl
from testkit.scenario import Scenario

from . import CASES, HTTP1_CASES, HTTP2_CASES
from .case import Case

# Scrapy's HTTP/1.1 handler leaves out those that concern the connection (RFC 9110, section 7.6.1),
# and writes Content-Length anew.
CONNECTION_HEADERS = {
    "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailers",
    "Transfer-Encoding", "Upgrade",
}  # fmt: skip

SCRAPY: dict[str, Any] = {"ADDONS": {}}
SCRAPY_HTTP2 = {
    "ADDONS": {},
    "DOWNLOAD_HANDLERS": {"https": "scrapy.core.downloader.handlers.http2.H2DownloadHandler"},
}
OURS: Mapping[str, Any] = {}

# For a crawl with that many requests, even on a machine that is busy.
_LONGEST_CRAWL_SECONDS = 120.0
_HANGING_SECONDS = 30.0


@dataclass(frozen=True)
class Outcome:
    """The end of a request: a response or an exception.

    Attributes:
        error: name of the exception, or "hangs"; None for a response.
        headers: of the response, sorted by name, without those of the connection.
        text: of the exception.
    """

    error: str | None = None
    status: int = 0
    flags: tuple[str, ...] = ()
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    protocol: str = ""
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.error is not None:
            return self.error
        flags = "".join(f" {flag}" for flag in self.flags)
        body = self.body if len(self.body) <= 20 else f"{self.body[:10]}... ({len(self.body)})"
        return f"{self.status}{flags} {body!r}"


HANGS = Outcome(error="hangs")


def download(
    cases: Sequence[Case],
    settings: Mapping[str, Any],
    *,
    listen: bool = False,
    longest: float = _LONGEST_CRAWL_SECONDS,
) -> list[Outcome]:
    """Download each case from an origin of its own, in one crawl.

    Args:
        settings: that choose the handler.
        listen: whether somebody listens to the signals about a response's parts.
        longest: seconds after which the crawl counts as hung.

    Raises:
        subprocess.TimeoutExpired: the crawl hangs.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory(prefix="responses-"))
        origins = [stack.enter_context(case.origin()) for case in cases]
        crawl = Crawl(
            [case.request(origin.url) for case, origin in zip(cases, origins, strict=True)],
            {
                "RETRY_ENABLED": False,
                "REDIRECT_ENABLED": False,
                "COMPRESSION_ENABLED": False,
                "COOKIES_ENABLED": False,
                "HTTPERROR_ALLOW_ALL": True,
                "DOWNLOAD_TIMEOUT": 5,
                "LOG_LEVEL": "INFO",
                **settings,
            },
            marker=Path(directory),
            scenario=Scenario(listen=listen),
        )
        stack.callback(crawl.kill)
        crawled = crawl.finish(longest)
    outcomes = {
        error["number"]: Outcome(error=error["type"], text=error["text"])
        for error in crawled.errors
    }
    for response in crawled.responses:
        headers = ((name, value) for name, value in response["headers"])
        outcomes[response["number"]] = Outcome(
            status=response["status"],
            flags=tuple(response["flags"]),
            body=response["body"],
            headers=tuple(
                sorted(
                    (pair for pair in headers if pair[0] not in CONNECTION_HEADERS),
                    key=lambda pair: pair[0],
                )
            ),
            protocol=response["protocol"].replace("h2", "HTTP/2"),
        )
    return [outcomes[number] for number in range(len(cases))]


def download_by_scrapy() -> list[Outcome]:
    """Download all cases by Scrapy's own handlers, each for its version of HTTP."""
    tame = [case for case in HTTP2_CASES if not case.hangs_scrapy]
    wild = [case for case in HTTP2_CASES if case.hangs_scrapy]
    outcomes = dict(zip(HTTP1_CASES, download(HTTP1_CASES, SCRAPY), strict=True))
    outcomes |= zip(tame, download(tame, SCRAPY_HTTP2), strict=True)
    try:
        outcomes |= zip(wild, download(wild, SCRAPY_HTTP2, longest=_HANGING_SECONDS), strict=True)
    except subprocess.TimeoutExpired:
        outcomes |= dict.fromkeys(wild, HANGS)
    return [outcomes[case] for case in CASES]

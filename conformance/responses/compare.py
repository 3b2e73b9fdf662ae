"""Sends every case to a handler, and compares what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from testkit.crawling import Crawl
from testkit.scenario import Scenario

from .case import Case

# Scrapy's HTTP/1.1 handler leaves out those that concern the connection (RFC 9110, section 7.6.1),
# and has written Content-Length itself.
CONNECTION_HEADERS = {
    "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailers",
    "Transfer-Encoding", "Upgrade",
}  # fmt: skip

SCRAPY: dict[str, Any] = {"ADDONS": {}}
SCRAPY_HTTP2 = {
    "ADDONS": {},
    "DOWNLOAD_HANDLERS": {"https": "scrapy.core.downloader.handlers.http2.H2DownloadHandler"},
}


@dataclass(frozen=True)
class Outcome:
    """What came of a request: the exception's name, or the response."""

    error: str | None = None
    status: int = 0
    flags: tuple[str, ...] = ()
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    protocol: str = ""
    text: str = ""

    def __str__(self) -> str:
        if self.error is not None:
            return self.error
        parts = [str(self.status)]
        if self.flags:
            parts.append(f"flagged {', '.join(self.flags)}")
        parts.append(f"body {_short(self.body)}" if self.body else "no body")
        return ", ".join(parts)

    def differs_from(self, other: Outcome) -> list[str]:
        """Name what differs."""
        if self.error is not None or other.error is not None:
            return [] if self.error == other.error else ["outcome"]
        return [
            name
            for name in ("status", "flags", "body", "headers", "protocol")
            if getattr(self, name) != getattr(other, name)
        ]


def _short(text: str) -> str:
    return repr(text if len(text) <= 20 else f"{text[:10]}... ({len(text)})")


def download(
    cases: Sequence[Case],
    settings: dict[str, Any],
    *,
    listen: bool = False,
    timeout_seconds: float = 60,
) -> list[Outcome]:
    """Download each case from an origin of its own, in one crawl.

    Args:
        settings: that choose the handler.
        listen: whether somebody listens to the signals about a response's parts.
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
        try:
            crawled = crawl.finish(timeout_seconds)
        finally:
            crawl.kill()
    outcomes: dict[int, Outcome] = {}
    for response in crawled.responses:
        outcomes[response["number"]] = Outcome(
            status=response["status"],
            flags=tuple(response["flags"]),
            body=response["body"],
            headers=tuple(
                (name, value)
                for name, value in sorted(response["headers"], key=lambda header: header[0])
                if name not in CONNECTION_HEADERS
            ),
            protocol=response["protocol"].replace("h2", "HTTP/2"),
        )
    for error in crawled.errors:
        outcomes[error["number"]] = Outcome(error=error["type"], text=error["text"])
    return [outcomes[number] for number in range(len(cases))]

"""Crawl the local origin and check that every page came, in spite of dropped handshakes.

The live log is on stderr, the summary on stdout; its last line says whether every page came
exactly once. The exit status is 0 if all is as it should be. This is what `make demo` runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

from docs_example.pages import Pages
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.settings import Settings

HANDSHAKE = "curl_safe/handshake"
# Paths that the last line names.
MOST_NAMED = 5


class Outcome:
    """The result of a finished crawl, from its items and stats."""

    def __init__(self, items: list[dict[str, Any]], stats: dict[str, Any], drop: float) -> None:
        self._stats = stats
        self._drop = drop
        hits = Counter(item["url"] for item in items)
        self._workers = {item["worker"] for item in items} - {None}
        self._paths = {urlsplit(url).path for url in hits}
        self._items = len(items)
        self._distinct = len(hits)
        self._duplicates = self._items - self._distinct
        # Without the origin's counts, as if it had a page that nobody saw.
        self._pages = self._count("docs/origin/pages") or self._distinct + 1
        self._missing = self._pages - self._distinct

    def _count(self, key: str) -> int:
        count: int = self._stats.get(key, 0)
        return count

    def summary(self) -> str:
        closed = self._count("docs/origin/handshakes_dropped/close")
        reset = self._count("docs/origin/handshakes_dropped/reset")
        seconds = self._stats.get("elapsed_time_seconds") or float("inf")
        return "\n".join(
            (
                f"pages       {self._pages} at the origin, {self._items} items:"
                f" {self._distinct} distinct, {self._duplicates} duplicates,"
                f" {self._missing} missing",
                f"handshakes  {closed + reset} dropped by the origin"
                f" ({closed} closed, {reset} reset),"
                f" {self._count(f'{HANDSHAKE}/failure_count/syscall')} SSL_ERROR_SYSCALL seen",
                f"retries     {self._count(f'{HANDSHAKE}/retry_count')} of"
                f" {self._count(f'{HANDSHAKE}/retried_request_count')} requests,"
                f" {self._count(f'{HANDSHAKE}/recovered_count')} recovered,"
                f" {self._count(f'{HANDSHAKE}/gave_up_count')} given up",
                f"speed       {self._items / seconds:.0f} pages/s"
                f" ({self._items} in {seconds:.1f} s) by {len(self._workers)} workers",
            )
        )

    def result(self) -> str:
        """Say that every page came exactly once, or what is missing or came twice."""
        if not self._missing and not self._duplicates:
            return "every page exactly once"
        lost = [path for path in Pages() if path not in self._paths]
        named = ", ".join(lost[:MOST_NAMED]) + (" ..." if len(lost) > MOST_NAMED else "")
        came = f"{self._duplicates} duplicates, {len(lost)} of {self._pages} pages missing"
        return f"{came}: {named}" if lost else came

    def failures(self) -> list[str]:
        """The conditions that do not hold."""
        syscalls = self._count(f"{HANDSHAKE}/failure_count/syscall")
        retries = self._count(f"{HANDSHAKE}/retry_count")
        reasons = self._count("retry/reason_count/ssl_error_syscall")
        conditions = {
            "every page of the origin is an item": self._missing == 0,
            "no page is an item twice": self._duplicates == 0,
            "dropped handshakes were seen as SSL_ERROR_SYSCALL": syscalls > 0 or not self._drop,
            "no request was given up": self._count(f"{HANDSHAKE}/gave_up_count") == 0,
            f"Scrapy counts the same retries ({reasons}) as the pool ({retries})": (
                reasons == retries
            ),
        }
        return [condition for condition, holds in conditions.items() if not holds]


def crawl(options: argparse.Namespace) -> Outcome:
    settings = Settings()
    settings.setmodule("docs_example.settings", priority="project")
    with TemporaryDirectory() as directory:
        feed = Path(directory) / "items.jsonl"
        settings.set("FEEDS", {str(feed): {"format": "jsonlines"}}, priority="cmdline")
        process = AsyncCrawlerProcess(settings)
        crawler = process.create_crawler("docs")
        process.crawl(crawler, **vars(options))
        process.start()
        lines = feed.read_text().splitlines() if feed.exists() else []
    assert crawler.stats is not None
    return Outcome([json.loads(line) for line in lines], crawler.stats.get_stats(), options.drop)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--drop", type=float, default=0.2, help="share of handshakes to drop")
    parser.add_argument("--requests-per-connection", type=int, default=4)
    parser.add_argument("--seed", type=int, help="makes the drops the same in each run")
    options = parser.parse_args()
    if options.drop:
        print(
            f"The local origin drops {options.drop:.0%} of the TLS handshakes on purpose: failures"
            " and warnings in the log\nbelow are what this demo is about. Its last line says"
            " whether any page was lost.",
            flush=True,
        )
    outcome = crawl(options)
    print(outcome.summary())
    failures = outcome.failures()
    for failure in failures:
        print(f"FAILED      not so: {failure}")
    print(f"result      {outcome.result()}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""A crawl whose workers are killed, stopped and broken all the time: `make chaos`.

20,000 requests over an origin that drops 10 % of its handshakes, while every half second a random
worker gets SIGKILL, SIGSTOP or SIGSEGV in turn. Every page must come out once.

A worker that a quarantined request has to itself is spared: a request that ends even that worker is
given up by design, so killing it would be asking for a lost page.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from scrapy.crawler import Crawler

from testkit.crawling import Crawl, Crawled, urls
from testkit.origins.process import OriginProcess

SIGNALS = (signal.SIGKILL, signal.SIGSTOP, signal.SIGSEGV)
INTERVAL = 0.5
WORKERS = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument(
        "--duration", type=float, default=600, help="seconds of chaos at most; the crawl goes on"
    )
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.requests} requests", flush=True)
    dice = random.Random(options.seed)
    sent: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as directory,
        OriginProcess(drop=0.1, seed=options.seed) as origin,
    ):
        crawl = Crawl(
            urls(origin, options.requests),
            {
                "CONCURRENT_REQUESTS": 128,
                "CONCURRENT_REQUESTS_PER_DOMAIN": 128,
                "CURL_SAFE_WORKERS": WORKERS,
                "CURL_SAFE_WORKER_HANG_TIMEOUT": 1,
                "LOG_LEVEL": "INFO",
                "LOG_FORMATTER": "tests.chaos.Quiet",
            },
            marker=Path(directory),
        )
        started = time.monotonic()
        try:
            while crawl.process.poll() is None:
                time.sleep(INTERVAL)
                if time.monotonic() - started > options.duration:
                    continue
                victims = sorted(set(crawl.workers()) & regular(crawl))
                if victims:
                    how = SIGNALS[sent.total() % len(SIGNALS)]
                    hit(dice.choice(victims), how)
                    sent[how.name] += 1
            crawled = crawl.finish()
        finally:
            crawl.kill()
        seconds = time.monotonic() - started
    return report(crawled, options.requests, sent, seconds)


class Quiet:
    """A LogFormatter that says nothing of single pages."""

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Quiet:
        return cls()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


def regular(crawl: Crawl) -> set[int]:
    """Return the workers that came up and take any request: none of those for quarantined ones."""
    return {pid for slot, pid in crawl.ready_workers if slot < WORKERS}


def hit(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was about to go
        os.kill(pid, how)


def report(crawled: Crawled, requests: int, sent: Counter[str], seconds: float) -> int:
    times = Counter(r["number"] for r in crawled.responses)
    missing = [n for n in range(requests) if n not in times]
    twice = [n for n, count in times.items() if count > 1]
    wrong = [r for r in crawled.responses if f"/{r['number']}" != r["body"].rstrip()]
    stat = crawled.stat
    print(f"signals     {', '.join(f'{n} {name}' for name, n in sent.items())} in {seconds:.0f} s")
    print(
        f"workers     {stat('worker/start_count')} started, {stat('worker/crash_count')} died, "
        f"{stat('worker/hang_count')} hung"
    )
    print(
        f"requests    {stat('worker/lost_request_count')} were in flight in them, "
        f"{stat('worker/quarantine_count')} of those twice and so alone in the end"
    )
    print(
        f"handshakes  {stat('handshake/failure_count')} failed, "
        f"{stat('handshake/recovered_count')} requests recovered"
    )
    print(
        f"pages       {len(times)} of {requests}, {len(twice)} twice, {len(wrong)} wrong, "
        f"{len(missing)} missing; errors: {len(crawled.errors)}; exit code {crawled.exit_code}"
    )
    for error in crawled.errors[:5]:
        print(f"            {error['number']}: {error['type']}: {error['text']}")
    bad = missing or twice or wrong or crawled.errors or crawled.exit_code or not sent
    print("FAILED" if bad else "survived")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

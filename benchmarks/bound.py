"""Measures what no handler can go below: python -m benchmarks.bound

A page costs Scrapy's own time, libcurl's, and the origin's, which has the same cores. Scrapy's is
measured with a handler that has its response ready, and libcurl's without a crawl: one browser's
handle downloads one page after another, into memory that is used again. README.md says what
follows.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from dataclasses import dataclass

from curl_cffi import CurlOpt

from benchmarks.nginx import Nginx
from benchmarks.pages import decoded_size
from benchmarks.runs import run_steady
from benchmarks.speed import CEILING, LOADS, Load
from scrapy_curl_safe._ipc.messages import Profile
from scrapy_curl_safe._worker.browser import create_easy_handle
from scrapy_curl_safe._worker.targets import resolve_browser
from testkit.processes import cpu_seconds

_NAMES = ("fresh", "large")
_LIMIT_SECONDS = 300.0


@dataclass(frozen=True)
class _Costs:
    """CPU seconds of a page."""

    scrapy: float
    libcurl: float
    origin: float

    def rate(self, cores: int) -> float:
        """Return the most pages a second. A crawl has a single thread."""
        return min(1 / self.scrapy, cores / (self.scrapy + self.libcurl + self.origin))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cores = len(os.sched_getaffinity(0))
    print(f"| load | Scrapy, ms | libcurl, ms | nginx, ms | pages/s of {cores} cores at most |"
          " to the ceiling |")  # fmt: skip
    print("| --- | --: | --: | --: | --: | --: |")
    with Nginx() as origin:
        for name in _NAMES:
            load = LOADS[name]
            found = [_measure(load, origin) for _ in range(rounds)]
            costs = _Costs(*(statistics.median(each) for each in zip(*found, strict=True)))
            in_ms = " | ".join(
                f"{1000 * each:.2f}" for each in (costs.scrapy, costs.libcurl, costs.origin)
            )
            most = costs.rate(cores)
            print(f"| {load.name} | {in_ms} | {most:.0f} | {most * costs.scrapy:.2f} |", flush=True)


def _measure(load: Load, origin: Nginx) -> tuple[float, float, float]:
    before = cpu_seconds(origin.workers)
    libcurl = _download(f"{origin.url(load.server)}/{load.page}", load.requests)
    served = (cpu_seconds(origin.workers) - before) / load.requests
    return _scrapy(load), libcurl, served


def _scrapy(load: Load) -> float:
    """Return the CPU seconds of a page in a crawl that downloads nothing."""
    plan = {
        "url": "https://127.0.0.1", "requests": load.requests, "concurrency": load.concurrency,
        "size": decoded_size(load.page), "meta": {}, "started": time.time(), "times_each": False,
        "settings": {**CEILING.all_settings(), "CEILING_PAGE": load.page},
    }  # fmt: skip
    result = run_steady(plan, lambda pid: None, timeout=_LIMIT_SECONDS, interval=1.0)
    if result is None or result["errors"]:
        sys.exit(f"the crawl failed: {result}")
    return float(result["own_cpu"])


def _download(url: str, count: int) -> float:
    """Return the CPU seconds of a page by libcurl alone."""
    easy = create_easy_handle(resolve_browser(Profile(impersonate="chrome")))
    easy.setopt(CurlOpt.URL, url)
    begin = time.process_time()
    for _ in range(count):
        easy.write_to_memory()
        easy.limit_sends(1)
        easy.perform()
        easy.reuse()
    seconds = time.process_time() - begin
    easy.close()
    return seconds / count


if __name__ == "__main__":
    main()

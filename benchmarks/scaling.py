"""Measures what a page costs, and projects it to more cores: python -m benchmarks.scaling

It crawls nginx with this handler only and measures the CPU time of each part. See docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.nginx import Nginx
from benchmarks.pages import decoded_size
from testkit.processes import cpu_seconds

CORES = (2, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Load:
    """Pages that a crawl requests.

    Attributes:
        server: name of the nginx server.
        page: name of the page.
        concurrency: requests at once.
        requests: number of requests in a crawl.
        settings: of the crawl, besides the add-on.
    """

    name: str
    server: str
    page: str
    concurrency: int
    requests: int
    settings: dict[str, Any] = field(default_factory=dict)


LOADS = {
    "small": Load("1 kB, warm connections", "warm", "1kB", 64, 4000),
    "fresh": Load("1 kB, a handshake each", "fresh", "1kB", 64, 3000),
    "warm": Load("50 kB, warm connections", "warm", "50kB", 64, 4000),
    "large": Load("1 MB, warm connections", "warm", "1MB", 32, 1000),
    "gzip": Load("94 kB, gzipped, warm connections", "warm", "gzip/real", 64, 3000),
    "sessions": Load(
        "50 kB, warm connections, in sessions", "warm", "50kB", 64, 4000, {"CURL_SAFE_SESSIONS": {}}
    ),
}


@dataclass(frozen=True)
class Costs:
    """The CPU time in milliseconds that a page costs each part."""

    crawler: float
    workers: float
    origin: float

    def rate_beside_origin(self, cores: int) -> float:
        """Return pages per second with the origin on the same cores. The limit is either the
        crawler, which is a single thread, or the number of cores."""
        everyone = self.crawler + self.workers + self.origin
        return 1000 * min(1 / self.crawler, cores / everyone)

    def crawl(self, cores: int) -> tuple[float, int]:
        """Return pages per second of one crawl on these cores, and how many workers it needs."""
        rate = 1000 * min(1 / self.crawler, cores / (self.crawler + self.workers))
        return rate, max(1, -int(-rate * self.workers // 1000))

    def crawls(self, cores: int) -> tuple[float, int]:
        """Return pages per second of as many crawls as fit on these cores, and their number."""
        count = max(1, int(cores / (1 + self.workers / self.crawler)))
        return min(count / self.crawler, cores / (self.crawler + self.workers)) * 1000, count


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cores = len(os.sched_getaffinity(0))
    costs: dict[str, Costs] = {}
    print("| load | crawler ms | workers ms | origin ms | pages/s | by the model |")
    print("| --- | --: | --: | --: | --: | --: |")
    with Nginx() as origin:
        for load in LOADS.values():
            found, rate = _measure(load, origin, rounds)
            costs[load.name] = found
            print(
                f"| {load.name} | {found.crawler:.2f} | {found.workers:.2f} | {found.origin:.2f} "
                f"| {rate:.0f} | {found.rate_beside_origin(cores):.0f} |",
                flush=True,
            )
    print("\n| load | " + " | ".join(f"{n} cores" for n in CORES) + " |")
    print("| --- |" + " --: |" * len(CORES))
    for name, found in costs.items():
        cells = []
        for n in CORES:
            rate, workers = found.crawl(n)
            many, count = found.crawls(n)
            cells.append(f"{rate:.0f} ({workers}); {many:.0f} ({count})")
        print(f"| {name} | " + " | ".join(cells) + " |")


def _measure(load: Load, origin: Nginx, rounds: int) -> tuple[Costs, float]:
    results: list[dict[str, Any]] = []
    for _ in range(rounds):
        before = cpu_seconds(origin.workers)
        result = _crawl(load, origin)
        result["origin"] = (cpu_seconds(origin.workers) - before) / load.requests
        results.append(result)

    def median(key: str) -> float:
        return float(statistics.median(result[key] for result in results))

    workers = statistics.median(result["cpu"] - result["own_cpu"] for result in results)
    costs = Costs(1000 * median("own_cpu"), 1000 * workers, 1000 * median("origin"))
    return costs, median("rate")


def plan_of(load: Load, origin: Nginx, requests: int) -> dict[str, Any]:
    """Return the plan of a crawl for `benchmarks.steady`."""
    return {
        "url": f"{origin.url(load.server)}/{load.page}", "requests": requests,
        "concurrency": load.concurrency, "size": decoded_size(load.page),
        "settings": {"ADDONS": {"scrapy_curl_safe.Addon": 500}, **load.settings}, "meta": {},
        "started": time.time(), "times_each": False,
    }  # fmt: skip


def _crawl(load: Load, origin: Nginx) -> dict[str, Any]:
    plan = plan_of(load, origin, load.requests)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.steady"],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        cwd=Path(__file__).parent.parent,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    if result["errors"]:
        raise RuntimeError(f"the crawl lost pages: {result['errors']}")
    return result


if __name__ == "__main__":
    main()

"""Two crawler processes on one queue in Redis; one of them is stopped halfway.

Every page has to be an item exactly once, and the stats of the two have to add up to what the
origin counted. This is what `make demo-distributed` runs. It starts a redis-server of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from docs_example.local_origin import LocalOrigin

PROJECT = Path(__file__).resolve().parent
ITEMS, QUEUE = "docs:items", "docs:requests"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drop", type=float, default=0.2, help="share of handshakes to drop")
    parser.add_argument("--seed", type=int, help="makes the drops the same in each run")
    options = parser.parse_args()
    with TemporaryDirectory() as directory, redis_server(Path(directory)) as url:
        failures = crawl(Path(directory), url, options)
    for failure in failures:
        print(f"FAILED      not so: {failure}")
    return 1 if failures else 0


@contextlib.contextmanager
def redis_server(directory: Path) -> Iterator[str]:
    """Its URL. It listens to a socket in this directory and to no port.

    Raises:
        SystemExit: there is none to start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("redis-server is missing: apt-get install redis-server")
    path = directory / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(path), "--save", "", "--dir"]
    with subprocess.Popen([*command, str(directory)], stdout=subprocess.DEVNULL) as server:
        try:
            wait_for(path.exists, server)
            if server.poll() is not None:
                raise SystemExit(f"redis-server ended with status {server.returncode}")
            yield f"unix://{path}?db=0"
        finally:
            server.terminate()


def crawl(directory: Path, redis_url: str, options: argparse.Namespace) -> list[str]:
    """Print what happened, and return the conditions that do not hold."""
    shared = redis.Redis.from_url(redis_url)
    origin = LocalOrigin(drop=options.drop, seed=options.seed)
    url, pages = origin.start()
    try:
        first = start_crawl(directory, "first", url, redis_url)
        # A crawl that finds the queue empty looks again after five seconds: both at once, and one
        # of them might have half of the pages by then.
        wait_for(lambda: shared.llen(ITEMS) > 0, first)
        second = start_crawl(directory, "second", url, redis_url)
        wait_for(lambda: shared.llen(ITEMS) >= pages // 2, first)
        print(f"stopping one of two crawls after {shared.llen(ITEMS)} of {pages} pages")
        first.send_signal(signal.SIGTERM)
        first.wait()
        print(f"it has ended, and left {shared.zcard(QUEUE)} requests in the queue")
        second.wait()
    finally:
        counts = origin.stop()
    items = [json.loads(item)["url"] for item in shared.lrange(ITEMS, 0, -1)]
    stats = [json.loads((directory / name).read_text()) for name in ("first", "second")]
    return report(items, stats, counts)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Until it is true, or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def start_crawl(directory: Path, name: str, url: str, redis_url: str) -> subprocess.Popen[bytes]:
    environment = {
        "SCRAPY_PROJECT": "shared",
        "REDIS_URL": redis_url,
        "STATS_FILE": str(directory / name),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "scrapy", "crawl", "docs", "-a", f"url={url}"],
        cwd=PROJECT,
        env={**os.environ, **environment},
    )


def report(items: list[str], stats: list[dict[str, Any]], counts: dict[str, Any]) -> list[str]:
    hits = Counter(items)
    dropped = sum(counts["handshakes_dropped"].values())

    def total(key: str) -> int:
        return sum(one.get(f"curl_safe/{key}", 0) for one in stats)

    shares = " and ".join(str(one.get("item_scraped_count", 0)) for one in stats)
    print(f"pages       {counts['pages']} at the origin, {len(items)} items ({shares})")
    print(f"handshakes  {counts['handshakes']} done, {dropped} dropped by the origin")
    print(
        f"stats       {total('handshake/success_count')} done,"
        f" {total('handshake/failure_count/syscall')} SSL_ERROR_SYSCALL,"
        f" {total('handshake/retry_count')} retries,"
        f" {total('handshake/gave_up_count')} given up"
    )
    conditions = {
        "every page of the origin is an item": len(hits) == counts["pages"],
        "no page is an item twice": len(items) == len(hits),
        "one crawl was stopped, the other finished": (
            [one["finish_reason"] for one in stats] == ["shutdown", "finished"]
        ),
        "the stats of both add up to the handshakes that the origin completed": (
            total("handshake/success_count") == counts["handshakes"]
        ),
        "and to those that it dropped": total("handshake/failure_count/syscall") == dropped,
        "both downloaded pages": all(one.get("item_scraped_count") for one in stats),
    }
    return [condition for condition, holds in conditions.items() if not holds]


if __name__ == "__main__":
    sys.exit(main())

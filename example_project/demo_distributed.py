"""Two crawler processes on one queue in Redis; one of them is stopped halfway.

Every page has to be an item exactly once, and the stats of the two have to add up to what the
origin counted. Then the same with sessions: no cookie may come to the origin through two proxies or
from two browsers. This is what `make demo-distributed` runs. It starts a redis-server of its own.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
from docs_example.local_origin import LocalOrigin

PROJECT = Path(__file__).resolve().parent
sys.path.append(str(PROJECT.parent))

from testkit.origins.messages import Reply, SeenRequest  # noqa: E402
from testkit.origins.visitors import AddressProxy, VisitorsOrigin  # noqa: E402

ITEMS, QUEUE = "docs:items", "docs:requests"

# Of the crawls with sessions.
PAGES = 300
PAGES_PER_VISITOR = 20
PROXIES = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--drop", type=float, default=0.2, help="share of handshakes to drop")
    parser.add_argument("--seed", type=int, help="makes the drops the same in each run")
    options = parser.parse_args()
    with TemporaryDirectory() as directory, redis_server(Path(directory)) as url:
        failures = crawl(Path(directory), url, options)
        failures += crawl_in_sessions(Path(directory), url)
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
    origin = LocalOrigin(drop=options.drop, seed=options.seed)
    url, pages = origin.start()
    try:
        items, stats = run_two(directory, url, redis_url, pages)
    finally:
        counts = origin.stop()
    return report(items, stats, counts)


def crawl_in_sessions(directory: Path, redis_url: str) -> list[str]:
    """Do the same with an origin that soon refuses each of its visitors, who come through proxies
    on this machine."""
    with contextlib.ExitStack() as stack:
        origin = stack.enter_context(VisitorsOrigin(PAGES_PER_VISITOR, small_page, delay=0.05))
        proxies = [stack.enter_context(AddressProxy(number + 2)) for number in range(PROXIES)]
        sessions = json.dumps({"proxies": [proxy.url for proxy in proxies]})
        setting = f"CURL_SAFE_SESSIONS={sessions}"
        items, stats = run_two(directory, f"{origin.url}/", redis_url, PAGES + 1, "-s", setting)
    return report_of_sessions(items, stats, origin)


def small_page(seen: SeenRequest) -> Reply:
    """Answer as a site of an index and the pages that it links."""
    if seen.path == "/robots.txt":
        return Reply(headers=[(b"Content-Type", b"text/plain")], body=b"User-agent: *\nAllow: /\n")
    numbers = range(PAGES) if seen.path == "/" else ()
    links = "".join(f'<a href="/{number}">{number}</a>' for number in numbers)
    body = f"<html><head><title>{seen.path}</title></head><body>{links}</body></html>"
    return Reply(headers=[(b"Content-Type", b"text/html")], body=body.encode())


def run_two(
    directory: Path, url: str, redis_url: str, pages: int, *options: str
) -> tuple[list[str], list[dict[str, Any]]]:
    """Run two crawls, and stop one of them; return the URLs of all items, and the stats of each."""
    shared = redis.Redis.from_url(redis_url)
    shared.flushdb()
    first = start_crawl(directory, "first", url, redis_url, *options)
    # A crawl that finds the queue empty looks again after five seconds: both at once, and one
    # of them might have half of the pages by then.
    wait_for(lambda: shared.llen(ITEMS) > 0, first)
    second = start_crawl(directory, "second", url, redis_url, *options)
    wait_for(lambda: shared.llen(ITEMS) >= pages // 2, first)
    print(f"stopping one of two crawls after {shared.llen(ITEMS)} of {pages} pages")
    first.send_signal(signal.SIGTERM)
    first.wait()
    print(f"it has ended, and left {shared.zcard(QUEUE)} requests in the queue")
    second.wait()
    items = [json.loads(item)["url"] for item in shared.lrange(ITEMS, 0, -1)]
    return items, [json.loads((directory / name).read_text()) for name in ("first", "second")]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Until it is true, or the process has ended."""
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def start_crawl(
    directory: Path, name: str, url: str, redis_url: str, *options: str
) -> subprocess.Popen[bytes]:
    environment = {
        "SCRAPY_PROJECT": "shared",
        "REDIS_URL": redis_url,
        "STATS_FILE": str(directory / name),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "scrapy", "crawl", "docs", "-a", f"url={url}", *options],
        cwd=PROJECT,
        env={**os.environ, **environment},
    )


def report(items: list[str], stats: list[dict[str, Any]], counts: dict[str, Any]) -> list[str]:
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
        **conditions_of_items(items, stats, counts["pages"]),
        "the stats of both add up to the handshakes that the origin completed": (
            total("handshake/success_count") == counts["handshakes"]
        ),
        "and to those that it dropped": total("handshake/failure_count/syscall") == dropped,
    }
    return [condition for condition, holds in conditions.items() if not holds]


def report_of_sessions(
    items: list[str], stats: list[dict[str, Any]], origin: VisitorsOrigin
) -> list[str]:
    shares = " and ".join(str(one.get("item_scraped_count", 0)) for one in stats)
    cookies = {visit.cookie for visit in origin.visits if visit.cookie}
    mixed = origin.mixed_up().values()
    moved = sum(len({visit.address for visit in visits}) > 1 for visits in mixed)
    disguised = sum(len({visit.fingerprint for visit in visits}) > 1 for visits in mixed)
    opened = sum(one.get("curl_safe/session/open_count", 0) for one in stats)
    print(f"pages       {PAGES + 1} at the origin, {len(items)} items ({shares})")
    print(
        f"visitors    {len(cookies)} cookies through {PROXIES} proxies, {origin.blocked} requests"
        f" refused; {opened} sessions"
    )
    print(f"            {moved} cookies with two proxies, {disguised} with two fingerprints")
    conditions = {
        **conditions_of_items(items, stats, PAGES + 1),
        "the origin refused visitors": origin.blocked > 0,
        "no cookie came through two proxies": not moved,
        "no cookie came with two fingerprints": not disguised,
        "there are no more cookies than sessions": opened >= len(cookies),
    }
    return [condition for condition, holds in conditions.items() if not holds]


def conditions_of_items(
    items: list[str], stats: list[dict[str, Any]], pages: int
) -> dict[str, bool]:
    return {
        "every page of the origin is an item": len(set(items)) == pages,
        "no page is an item twice": len(items) == len(set(items)),
        "one crawl was stopped, the other finished": (
            [one["finish_reason"] for one in stats] == ["shutdown", "finished"]
        ),
        "both downloaded pages": all(one.get("item_scraped_count") for one in stats),
    }


if __name__ == "__main__":
    sys.exit(main())

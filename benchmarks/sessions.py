"""Measures crawls through many proxies: python -m benchmarks.sessions [--quick]

All handlers crawl the same nginx in turn, in several rounds. README.md says how to read the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psutil

from benchmarks.contenders import CONTENDERS, OURS, Contender, add_handlers, in_turn, installed
from benchmarks.nginx import Nginx
from benchmarks.pages import decoded_size
from benchmarks.proxy import Tinyproxy
from benchmarks.runs import ratio, run_steady
from benchmarks.server import free_ports
from testkit.origins.visitors import AddressProxy
from testkit.processes import descendants, proportional_mb

PAGE = "1kB"
CONCURRENCY = 64
IN_SESSIONS = f"{OURS}, in sessions"
GOALS = "Goal: 1.5 times Scrapy's own handler, and 2.5 times the best other with a fingerprint."
BAD_GOAL = "Goal: no page lost, and 1.15 times the time."
BAD = ("dead", "407", "slow", "closes each CONNECT")
SLOW_SECONDS = 2.0
# No request goes to what nginx passes on.
_NO_HOLDER = 9
_LIMIT_SECONDS = 900


def main() -> None:
    options = _options()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Nginx(_NO_HOLDER) as nginx, Tinyproxy("0.0.0.0") as proxy:
        url = f"{nginx.url('warm')}/{PAGE}"
        for part in options.parts:
            for line in PARTS[part](url, proxy, options):
                print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS])
    add_handlers(parser)
    parser.add_argument("--quick", action="store_true", help="one round of shorter crawls")
    options = parser.parse_args()
    options.shorter = 10 if options.quick else 1
    if options.quick:
        options.rounds = 1
    return options


# Parts


def rotation(url: str, proxy: Tinyproxy, options: argparse.Namespace) -> Iterator[str]:
    """Compare the handlers' speeds, each request through the next of 500 proxies."""
    proxies = _addresses(proxy, 500 // options.shorter)
    requests = 10 * len(proxies)
    results = _in_turns(url, requests, proxies, options.handlers, options.rounds)
    yield f"## 1 kB, {len(proxies)} proxies, one request each in turn, {CONCURRENCY} at once\n"
    yield "| handler | pages/s | ours to it | in sessions to it | CPU ms | lost |"
    yield "| --- | --: | --: | --: | --: | --: |"
    for name, runs in results.items():
        cells = [
            _median([run["rate"] for run in runs]),
            ratio(results[OURS], runs, "rate"),
            ratio(results[IN_SESSIONS], runs, "rate"),
            _median([run["cpu"] and 1000 * run["cpu"] for run in runs]),
            str(sum(requests - run["got"] for run in runs)),
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield f"\n{GOALS}\n"


def many(url: str, proxy: Tinyproxy, options: argparse.Namespace) -> Iterator[str]:
    """Compare what crawls through 5,000 proxies have open, and their memory."""
    proxies = _addresses(proxy, 5000 // options.shorter)
    requests = 3 * len(proxies)
    results = _in_turns(url, requests, proxies, options.handlers, 1)
    yield f"## {len(proxies):,} proxies, three requests each in turn\n"
    yield "| handler | descriptors: crawler | each below it | memory (PSS), MB | pages/s | lost |"
    yield "| --- | --: | --: | --: | --: | --: |"
    for name, (run,) in results.items():
        crawler, below = run["descriptors"]
        cells = f"{crawler} | {below} | {run['memory']:.0f} | {_median([run['rate']])}"
        yield f"| {name} | {cells} | {requests - run['got']} |"
    yield ""


def bad(url: str, proxy: Tinyproxy, options: argparse.Namespace) -> Iterator[str]:
    """Compare crawls through ten proxies, one of them bad, with those through the other nine."""
    others = _addresses(proxy, 9)
    # Enough for ten seconds and more, of which the two of a slow tunnel are a small part.
    requests = 24_000 // options.shorter
    yield "## One bad proxy among ten, in sessions\n"
    yield "| the bad one | seconds | without it | ratio | lost |"
    yield "| --- | --: | --: | --: | --: |"
    for kind in BAD:
        found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
        for number in range(options.rounds):
            for has_bad in (True, False) if number % 2 else (False, True):
                with _bad_proxy(kind) as one:
                    proxies = [one, *others] if has_bad else others
                    found[has_bad].append(_crawl(_in_sessions(proxies), url, requests, []))
        cells = [
            _median([run["seconds"] for run in found[True]]),
            _median([run["seconds"] for run in found[False]]),
            ratio(found[True], found[False], "seconds"),
            str(sum(requests - run["got"] for run in found[True])),
        ]
        yield f"| {kind} | {' | '.join(cells)} |"
    yield f"\n{BAD_GOAL}\n"


PARTS = {"rotation": rotation, "many": many, "bad": bad}


@contextlib.contextmanager
def _bad_proxy(kind: str) -> Iterator[str]:
    if kind == "dead":
        yield f"http://127.0.0.1:{free_ports(1)[0]}"
        return
    status = {"407": 407, "closes each CONNECT": 0}.get(kind, 200)
    delay = SLOW_SECONDS if kind == "slow" else 0.0
    with AddressProxy(2, status=status, delay=delay) as proxy:
        yield proxy.url


def _addresses(proxy: Tinyproxy, count: int) -> list[str]:
    """Return the URLs of so many proxies, each with an address of its own."""
    port = proxy.location.rpartition(":")[2]
    places = (divmod(number, 250) for number in range(count))
    return [f"http://127.1.{high}.{low + 1}:{port}" for high, low in places]


# Runs


def _in_turns(
    url: str, requests: int, proxies: list[str], handlers: list[str], rounds: int
) -> dict[str, list[dict[str, Any]]]:
    everyone = [*installed([OURS, *handlers]), _in_sessions(proxies)]
    results: dict[str, list[dict[str, Any]]] = {c.distribution: [] for c in everyone}
    for number in range(rounds):
        for contender in in_turn(everyone, number):
            own = [] if contender.distribution == IN_SESSIONS else proxies
            results[contender.distribution].append(_crawl(contender, url, requests, own))
    return results


def _in_sessions(proxies: list[str]) -> Contender:
    ours = next(c for c in CONTENDERS if c.distribution == OURS)
    sessions = {"proxies": proxies, "browsers": ["chrome"]}
    settings = {**ours.settings, "CURL_SAFE_SESSIONS": sessions}
    return replace(ours, distribution=IN_SESSIONS, settings=settings)


def _crawl(contender: Contender, url: str, requests: int, proxies: list[str]) -> dict[str, Any]:
    """Run a crawl.

    Args:
        proxies: which the requests take in turn; empty if a setting has them.
    """
    plan = {
        "url": url, "requests": requests, "concurrency": CONCURRENCY, "size": decoded_size(PAGE),
        "settings": contender.all_settings(), "meta": contender.meta, "started": time.time(),
        "times_each": False, "proxies": proxies,
    }  # fmt: skip
    watched = _Watched()
    result = run_steady(plan, watched.sample, timeout=_LIMIT_SECONDS, interval=0.5)
    nothing = {"got": 0, "errors": {"no result": 1}, "rate": None, "cpu": None, "seconds": None}
    result = {
        **(result or nothing),
        "descriptors": (watched.crawler, watched.below),
        "memory": watched.memory,
    }
    print(f"{contender.distribution}: {result}", file=sys.stderr, flush=True)
    return result


class _Watched:
    """The most descriptors of a crawl and of any process below it, and the most memory of all
    together."""

    def __init__(self) -> None:
        self.crawler, self.below, self.memory = 0, 0, 0.0

    def sample(self, pid: int) -> None:
        with contextlib.suppress(psutil.Error, OSError):
            others = [each.pid for each in descendants(pid)]
            self.crawler = max(self.crawler, psutil.Process(pid).num_fds())
            self.below = max([self.below, *(psutil.Process(each).num_fds() for each in others)])
            self.memory = max(self.memory, sum(map(proportional_mb, [pid, *others])))


# Figures


def _median(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.4g}" if known else "-"


if __name__ == "__main__":
    main()

"""Measures how fast each download handler is: python -m benchmarks.speed [--quick]

All handlers crawl the same nginx in turn, in several rounds. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, OURS, Contender, add_handlers, in_turn
from benchmarks.nginx import Nginx
from benchmarks.pages import decoded_size
from benchmarks.proxy import Tinyproxy
from benchmarks.runs import ratio, run_steady
from testkit.processes import descendants, proportional_mb

REPOSITORY = Path(__file__).parent.parent
RESULTS = REPOSITORY / "benchmarks/RESULTS.md"
CEILING = Contender("ceiling", "benchmarks.ceiling.CeilingHandler")


@dataclass(frozen=True)
class Load:
    """A row of the results: what each handler crawls, and how.

    Attributes:
        name: of the row.
        server: name of the nginx server.
        page: name of the page.
        concurrency: requests at once.
        requests: number of requests in a crawl.
        figure: what is compared: "rate", "latency", "first" or "most".
        crawls: crawls of each handler in a round; a start says little, so it has several.
        origins: how many there are, by address, which requests take in turn.
        users: of a proxy, whom requests take in turn; 0 for no proxy.
        handlers: which are compared; all by default.
        wait: the seconds for which the ceiling keeps a response.
        goals: lowest ratio (for rates) or highest ratio (for other figures) to the ceiling, to the
            best other, and of CPU seconds to the best other; None for no goal.
    """

    name: str
    server: str
    page: str
    concurrency: int
    requests: int
    figure: str = "rate"
    crawls: int = 1
    origins: int = 1
    users: int = 0
    handlers: tuple[str, ...] = ()
    wait: float = 0.0
    goals: tuple[float | None, float | None, float | None] = (None, None, None)


LOADS = {
    "warm": Load("50 kB pages, warm connections, 64 at once", "warm", "50kB", 64, 4000,
                 goals=(1.0, 2.5, 0.85)),
    "fresh": Load("1 kB, a new TLS handshake for each, 64 at once", "fresh", "1kB", 64, 3000,
                  goals=(0.90, 3.2, 0.85)),
    "large": Load("1 MB pages, 32 at once", "warm", "1MB", 32, 1000, goals=(0.90, 2.3, 1.0)),
    **{
        encoding: Load(f"94 kB of documentation as {encoding}, warm connections, 64 at once",
                       "warm", f"{encoding}/real", 64, 3000, goals=(1.35, 2.5, 1.0))
        for encoding in ("gzip", "br", "zstd")
    },
    "users": Load("1 kB through a proxy, 500 users in turn, 64 at once", "warm", "1kB", 64, 3000,
                  users=500, handlers=(OURS, "scrapy"), goals=(None, 1.5, None)),
    "origins": Load("1 kB from 1,000 origins in turn, 64 at once", "warm", "1kB", 64, 4000,
                    origins=1000, wait=0.03, goals=(None, 2.5, None)),
    "single": Load("50 kB, one at a time, median latency", "warm", "50kB", 1, 400, "latency",
                   goals=(None, 1.15, None)),
    "first": Load("first response after start", "warm", "50kB", 1, 1, "first", 4,
                  goals=(None, 1.10, None)),
}  # fmt: skip
HELD = {"held": "HTTP/2", "held1": "HTTP/1.1"}
MEMORY_GOAL = 1.1


def main() -> None:
    options = _options()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    contenders = [c for c in CONTENDERS if c.version() and c.distribution in options.handlers]
    # As pip does with installed packages, so that no compilation is measured.
    compileall.compile_dir(REPOSITORY / "scrapy_curl_safe", quiet=1)
    lines: list[str] = []
    with _holder(options.hold) as (port, counts), Nginx(port) as origin, Tinyproxy() as proxy:
        for name in options.loads:
            if name in LOADS:
                lines += _compare(LOADS[name], origin, proxy.location, contenders, options)
            else:
                for held in HELD:
                    lines += _hold(held, int(name), origin, contenders, counts, options.hold)
        text = _heading(f"{origin.version} and {proxy.version}", options) + "\n".join(lines) + "\n"
    print(text)
    if options.write:
        RESULTS.write_text(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of shorter crawls")
    parser.add_argument(
        "--loads",
        nargs="+",
        default=[*LOADS, "5000", "10000"],
        help="names of loads, and numbers of requests to hold in flight",
    )
    add_handlers(parser)
    parser.add_argument("--hold", type=float, default=10.0, help="seconds that a request is held")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md")
    options = parser.parse_args()  # fmt: skip
    if options.quick:
        options.rounds, options.loads = 1, list(LOADS)
    return options


def _heading(servers: str, options: argparse.Namespace) -> str:
    packages = ("Scrapy", "Twisted", "curl_cffi", "msgspec")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"# How fast\n\n`python -m benchmarks.speed --rounds {options.rounds}`, medians; "
        f"{os.cpu_count()} cores ({_cpu()}), Linux {platform.release()}, "
        f"Python {platform.python_version()}, {versions}, {servers} on the same machine.\n\n"
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((x.partition(": ")[2] for x in lines if x.startswith("model name")), "unknown")


# Loads


def _compare(
    load: Load,
    origin: Nginx,
    proxy: str,
    contenders: list[Contender],
    options: argparse.Namespace,
) -> list[str]:
    with_ceiling = load.figure == "rate" and not load.handlers
    chosen = [c for c in contenders if not load.handlers or c.distribution in load.handlers]
    ceiling = replace(CEILING, settings={"CEILING_WAIT": load.wait})
    everyone = [*([ceiling] if with_ceiling else []), *chosen]
    results: dict[str, list[dict[str, Any]]] = {c.distribution: [] for c in everyone}
    requests = max(load.requests // (4 if options.quick else 1), 1)
    for number in range(options.rounds * load.crawls):
        for contender in in_turn(everyone, number):
            url = f"{origin.url(load.server)}/{load.page}"
            result = _crawl(contender, url, requests, load, proxy)
            _say(f"{load.name}, crawl {number + 1}: {contender.distribution}: {result}")
            results[contender.distribution].append(result)
    return _table(load, results)


def _table(load: Load, results: dict[str, list[dict[str, Any]]]) -> list[str]:
    figure = load.figure
    units = {"rate": "pages/s", "latency": "ms", "first": "s"}[figure]
    scale = 1000 if figure == "latency" else 1
    lines = [f"## {load.name}", ""]
    lines += [f"| handler | {units} | to the ceiling | ours to it | CPU ms | ours to it |"]
    lines += ["| --- | --: | --: | --: | --: | --: |"]
    for name, runs in results.items():
        values = [scale * run[figure] for run in runs if run[figure]]
        cpu = [1000 * run["cpu"] for run in runs if run["cpu"]]
        cells = [
            f"{statistics.median(values):.4g}" if values else "-",
            ratio(runs, results["ceiling"], figure) if "ceiling" in results else "-",
            ratio(results[OURS], runs, figure) if OURS in results else "-",
            f"{statistics.median(cpu):.2f}" if cpu else "-",
            ratio(results[OURS], runs, "cpu") if OURS in results else "-",
        ]
        lost = sum(sum(run["errors"].values()) for run in runs)
        lines.append(f"| {name}{f' ({lost} errors)' if lost else ''} | {' | '.join(cells)} |")
    goals = zip(load.goals, ("of the ceiling", "of the best other", "of its CPU"), strict=True)
    said = [f"{goal} {of}" for goal, of in goals if goal is not None]
    return [*lines, "", f"Goal: {', '.join(said)}.", ""]


def _hold(
    server: str,
    requests: int,
    origin: Nginx,
    contenders: list[Contender],
    counts: Any,
    seconds: float,
) -> list[str]:
    lines = [
        f"## {requests:,} in flight at once, {HELD[server]}",
        "",
        "| handler | most at the origin | errors | memory (PSS), MB"
        " | crawler | below it | ours to it |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    rows = {}
    for contender in [replace(CEILING, settings={"CEILING_WAIT": seconds}), *contenders]:
        if not contender.chrome and server == "held":
            continue
        counts()
        load = Load("", server, "", requests, requests)
        result = _crawl(contender, f"{origin.url(server)}/", requests, load)
        result["most"] = counts()["most"]
        _say(f"{requests} held: {contender.distribution}: {result}")
        rows[contender.distribution] = result
    ours = sum(rows[OURS]["pss"]) if OURS in rows else 0.0
    for name, row in rows.items():
        errors = requests - row["got"]
        crawler, below = row["pss"]
        total = crawler + below
        ratio = f"{ours / total:.2f}" if ours and total else "-"
        cells = f"{row['most'] or '-'} | {errors} | {total:.0f} | {crawler:.0f} | {below:.0f}"
        lines.append(f"| {name} | {cells} | {ratio} |")
    return [*lines, "", f"Goal: {MEMORY_GOAL} of the best other's memory.", ""]


# Runs


def _crawl(
    contender: Contender, url: str, requests: int, load: Load, proxy: str = ""
) -> dict[str, Any]:
    plan = {
        "url": url, "requests": requests, "concurrency": load.concurrency,
        "size": decoded_size(load.page) if load.page else 2,
        "settings": {**contender.all_settings(), "CEILING_PAGE": load.page},
        "meta": contender.meta, "started": time.time(), "times_each": load.concurrency == 1,
        "origins": load.origins, "users": load.users, "proxy": proxy,
    }  # fmt: skip
    samples = [(0.0, 0.0)]
    result = run_steady(
        plan, lambda pid: samples.append(_memory_mb(pid)), timeout=300, interval=1.0
    )
    nothing = {"got": 0, "errors": {"no result": 1}, "first": None, "rate": None, "cpu": None}
    # The peak of both together.
    return {**(result or {**nothing, "latency": None}), "pss": max(samples, key=sum)}


def _memory_mb(pid: int) -> tuple[float, float]:
    """Return the proportional set sizes of a process and of its descendants."""
    below = sum(proportional_mb(child.pid) for child in descendants(pid))
    return proportional_mb(pid), below


@contextlib.contextmanager
def _holder(seconds: float) -> Iterator[tuple[int, Any]]:
    """Run `benchmarks.holder`; yield its port and a function that returns its counts."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.holder", "--seconds", str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def counts() -> dict[str, int]:
            process.stdin.write("\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            found: dict[str, int] = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            return found

        yield json.loads(process.stdout.readline())["port"], counts
        process.stdin.close()
        process.wait(30)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""Counts the pages that each download handler loses if an origin drops TLS handshakes.

    python -m benchmarks.flaky [--requests 2000] [--drop 0.3] [--concurrency 64] [--rounds 3]

Each round runs one crawl for each installed handler, with the same seed for the origin. The crawl
and the origin run in separate processes. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import CONTENDERS, LEFT_OUT, OURS, Contender
from testkit.origins.process import OriginProcess
from testkit.processes import descendants, resident_mb

REPOSITORY = Path(__file__).parent.parent
SAMPLE_INTERVAL = 0.2
WIDTH_WITHOUT_TERMINAL = 150


@dataclass
class Crawl:
    """The outcome of one crawl, as the crawl and the origin report it."""

    round: int
    got: int
    lost: int
    lost_by: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    chrome: float = 0.0
    retries: int | None = None
    seconds: float | None = None
    peak_rss_mb: float | None = None
    origin_busy: float | None = None
    ended: str = "finished"


def main() -> None:
    options = _options()
    contenders = list(_installed(options.handlers))
    crawls: dict[str, list[Crawl]] = {one.distribution: [] for one in contenders}
    for number in range(options.rounds):
        # Each round starts with a different one, so that other load on the machine hits them all.
        first = number % max(1, len(contenders))
        for contender in contenders[first:] + contenders[:first]:
            crawl = _crawl(contender, number, options)
            crawls[contender.distribution].append(crawl)
            _say(
                f"round {number + 1}: {contender.distribution} got {crawl.got}, "
                f"lost {crawl.lost}, {crawl.ended}"
            )
    result = {
        "requests": options.requests,
        "drop": options.drop,
        "concurrency": options.concurrency,
        "rounds": options.rounds,
        "retry_times": options.retry_times,
        "python": platform.python_version(),
        "curl_cffi": version("curl_cffi"),
        "scrapy": version("scrapy"),
        "cpus": os.cpu_count(),
        "handlers": [
            _summary(one, crawls[one.distribution], crawls.get(OURS, ())) for one in contenders
        ],
        "left_out": LEFT_OUT,
    }
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        _print_tables(result)


def _options() -> argparse.Namespace:
    names = [one.distribution for one in CONTENDERS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=_positive, default=2000, help="pages of a crawl")
    parser.add_argument("--drop", type=float, default=0.3, help="share of handshakes to drop")
    parser.add_argument("--concurrency", type=_positive, default=64)
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument("--handlers", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--retry-times", type=int, help="RETRY_TIMES, Scrapy's own by default")
    parser.add_argument("--timeout", type=float, default=300, help="seconds until a crawl is hung")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _installed(names: Sequence[str]) -> Iterator[Contender]:
    for name, reason in LEFT_OUT.items():
        _say(f"{name} is left out: {reason}")
    for contender in CONTENDERS:
        if contender.distribution not in names:
            continue
        if contender.version() is None:
            _say(f"{contender.distribution} is skipped: it is not installed")
            continue
        for wanted in contender.unmet():
            _say(f"{contender.distribution} asks for {wanted}")
        yield contender


def _crawl(contender: Contender, number: int, options: argparse.Namespace) -> Crawl:
    settings = {
        "CONCURRENT_REQUESTS": options.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": options.concurrency,
        **contender.all_settings(),
    }
    if options.retry_times is not None:
        settings["RETRY_TIMES"] = options.retry_times
    plan = {"requests": options.requests, "settings": settings, "meta": contender.meta}
    with (
        OriginProcess(drop=options.drop, seed=options.seed + number) as origin,
        tempfile.TemporaryFile("w+") as results,
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crawl"],
            stdin=subprocess.PIPE,
            stdout=results,
            stderr=log,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({**plan, "url": origin.url}))
            process.stdin.close()
        peak, hung = _watch(process, options.timeout)
        results.seek(0)
        crawl = _read(results.read().splitlines(), number, options.requests)
        crawl.peak_rss_mb = peak
        if hung:
            crawl.ended = "hung"
        elif process.returncode:
            crawl.ended = f"exit code {process.returncode}"
        if crawl.ended != "finished":
            log.seek(0)
            _say(log.read()[-2000:])
    counts = origin.counts
    crawl.dropped = int(counts.get("closed", 0) + counts.get("reset", 0))
    crawl.chrome = counts.get("chrome", 0) / max(1, counts.get("served", 0))
    if crawl.seconds:
        crawl.origin_busy = counts["cpu_seconds"] / crawl.seconds
    return crawl


def _watch(process: subprocess.Popen[str], timeout: float) -> tuple[float | None, bool]:
    """Wait for a process to end, or kill it after a timeout.

    Returns:
        The peak memory of the process and its descendants in MB, and whether it was killed.
    """
    deadline = time.monotonic() + timeout
    peak = 0.0
    try:
        while process.poll() is None and time.monotonic() < deadline:
            peak = max(peak, _tree_resident_mb(process.pid))
            time.sleep(SAMPLE_INTERVAL)
    finally:
        hung = process.poll() is None
        if hung:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return peak or None, hung


def _tree_resident_mb(pid: int) -> float:
    """Return the resident memory of a process and its descendants; shared memory counts once
    per process."""
    return resident_mb(pid) + sum(resident_mb(child.pid) for child in descendants(pid))


def _read(lines: list[str], number: int, requests: int) -> Crawl:
    outcomes = Counter(line for line in lines if not line.startswith("{"))
    got = outcomes.pop("got", 0)
    crawl = Crawl(number, got, requests - got)
    crawl.lost_by = {line.removeprefix("lost "): n for line, n in outcomes.items()}
    if unheard := crawl.lost - outcomes.total():
        crawl.lost_by["no outcome"] = unheard
    if lines and lines[-1].startswith("{"):
        end = json.loads(lines[-1])
        crawl.seconds, crawl.retries = end["seconds"], end["retries"]
        crawl.ended = end["finish_reason"] or "no finish reason"
    return crawl


def _summary(contender: Contender, crawls: list[Crawl], ours: Sequence[Crawl]) -> dict[str, Any]:
    seconds_of_ours = {crawl.round: crawl.seconds for crawl in ours}
    ratios = [
        crawl.seconds / ours_took
        for crawl in crawls
        if crawl.seconds and (ours_took := seconds_of_ours.get(crawl.round))
    ]
    return {
        "handler": contender.distribution,
        "version": contender.version(),
        "asks_for": contender.unmet(),
        "impersonates": contender.chrome,
        "got": _spread([crawl.got for crawl in crawls]),
        "lost": _spread([crawl.lost for crawl in crawls]),
        "lost_by": sum((Counter(crawl.lost_by) for crawl in crawls), Counter[str]()),
        "dropped": _median([crawl.dropped for crawl in crawls]),
        "retries": _median([crawl.retries for crawl in crawls]),
        "time_ratio": _median(ratios),
        "peak_rss_mb": _median([crawl.peak_rss_mb for crawl in crawls]),
        "ended": Counter(crawl.ended for crawl in crawls),
        "crawls": [asdict(crawl) for crawl in crawls],
    }


def _spread(values: Sequence[int]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _print_tables(result: dict[str, Any]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_WITHOUT_TERMINAL)
    retry_times = result["retry_times"]
    retries = "as Scrapy has it" if retry_times is None else f"= {retry_times}"
    table = Table(
        title=f"{result['requests']} pages, {result['drop']:.0%} of the handshakes dropped, "
        f"{result['concurrency']} requests at once, rounds: {result['rounds']}, "
        f"RETRY_TIMES {retries},\ncurl_cffi {result['curl_cffi']}"
    )
    table.add_column("handler", no_wrap=True)
    table.add_column("version")
    table.add_column("Chrome's\nheaders")
    for name in (
        "got\nmin/median/max",
        "lost\nmin/median/max",
        "handshakes\ndropped",
        "retries",
        "time\nto ours",
        "peak RSS\nMB",
    ):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("crawls\nthat", overflow="fold")
    for row in result["handlers"]:
        table.add_row(
            row["handler"],
            row["version"],
            _as_chrome(row),
            *(f"{s['min']:g}/{s['median']:g}/{s['max']:g}" for s in (row["got"], row["lost"])),
            _text(row["dropped"], "{:g}"),
            _text(row["retries"], "{:g}"),
            _text(row["time_ratio"], "{:.2f}"),
            _text(row["peak_rss_mb"], "{:.0f}"),
            ", ".join(f"{n} {ended}" for ended, n in row["ended"].items()),
        )
    console.print(table)
    console.print("How pages were lost, all rounds:")
    for row in result["handlers"]:
        causes = ", ".join(f"{n} {cause}" for cause, n in row["lost_by"].most_common())
        console.print(f"  {row['handler']}: {causes or 'none'}", markup=False, highlight=False)
    busy = [crawl["origin_busy"] for row in result["handlers"] for crawl in row["crawls"]]
    if known := [share for share in busy if share is not None]:
        console.print(f"The origin used at most {max(known):.0%} of a CPU in a crawl.")


def _as_chrome(row: dict[str, Any]) -> str:
    if not row["impersonates"]:
        return "cannot"
    return f"{min(crawl['chrome'] for crawl in row['crawls']):.0%}"


def _text(value: float | None, form: str) -> str:
    return "?" if value is None else form.format(value)


if __name__ == "__main__":
    main()

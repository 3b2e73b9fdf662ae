"""Counts the pages that each download handler loses if an origin drops TLS handshakes.

    python -m benchmarks.flaky [--requests 2000] [--drop 0.3] [--concurrency 64] [--rounds 3]

Each round runs one crawl for each installed handler, with the same seed for the origin. The crawl
and the origin run in separate processes. README.md says how to read the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import LEFT_OUT, OURS, Contender, add_handlers, in_turn, installed
from benchmarks.crawls import Crawl, run_crawl
from testkit.origins.process import OriginProcess

WIDTH_WITHOUT_TERMINAL = 150


@dataclass
class Measured:
    """One crawl, as it and the origin report it."""

    round: int
    crawl: Crawl
    dropped: int
    chrome: float
    origin_busy: float | None


def main() -> None:
    options = _options()
    contenders = list(installed(options.handlers))
    crawls: dict[str, list[Measured]] = {one.distribution: [] for one in contenders}
    for number in range(options.rounds):
        for contender in in_turn(contenders, number):
            measured = _crawl(contender, number, options)
            crawls[contender.distribution].append(measured)
            crawl = measured.crawl
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=_positive, default=2000, help="pages of a crawl")
    parser.add_argument("--drop", type=float, default=0.3, help="share of handshakes to drop")
    parser.add_argument("--concurrency", type=_positive, default=64)
    parser.add_argument("--rounds", type=_positive, default=3)
    add_handlers(parser)
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


def _crawl(contender: Contender, number: int, options: argparse.Namespace) -> Measured:
    settings = {
        "CONCURRENT_REQUESTS": options.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": options.concurrency,
    }
    if options.retry_times is not None:
        settings["RETRY_TIMES"] = options.retry_times
    with OriginProcess(drop=options.drop, seed=options.seed + number) as origin:
        crawl = run_crawl(
            contender, origin.url, options.requests, settings, timeout=options.timeout
        )
    counts = origin.counts
    return Measured(
        number,
        crawl,
        dropped=int(counts.get("closed", 0) + counts.get("reset", 0)),
        chrome=counts.get("chrome", 0) / max(1, counts.get("served", 0)),
        origin_busy=counts["cpu_seconds"] / crawl.seconds if crawl.seconds else None,
    )


def _summary(
    contender: Contender, measured: list[Measured], ours: Sequence[Measured]
) -> dict[str, Any]:
    crawls = [one.crawl for one in measured]
    seconds_of_ours = {one.round: one.crawl.seconds for one in ours}
    ratios = [
        one.crawl.seconds / ours_took
        for one in measured
        if one.crawl.seconds and (ours_took := seconds_of_ours.get(one.round))
    ]
    return {
        "handler": contender.distribution,
        "version": contender.version(),
        "asks_for": contender.unmet(),
        "impersonates": contender.chrome,
        "got": _spread([crawl.got for crawl in crawls]),
        "lost": _spread([crawl.lost for crawl in crawls]),
        "lost_by": sum((Counter(crawl.lost_by) for crawl in crawls), Counter[str]()),
        "dropped": _median([one.dropped for one in measured]),
        "retries": _median([crawl.retries for crawl in crawls]),
        "time_ratio": _median(ratios),
        "peak_rss_mb": _median([crawl.peak_rss_mb for crawl in crawls]),
        "ended": Counter(crawl.ended for crawl in crawls),
        "crawls": [asdict(one) for one in measured],
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
    busy = [one["origin_busy"] for row in result["handlers"] for one in row["crawls"]]
    if known := [share for share in busy if share is not None]:
        console.print(f"The origin used at most {max(known):.0%} of a CPU in a crawl.")


def _as_chrome(row: dict[str, Any]) -> str:
    if not row["impersonates"]:
        return "cannot"
    return f"{min(one['chrome'] for one in row['crawls']):.0%}"


def _text(value: float | None, form: str) -> str:
    return "?" if value is None else form.format(value)


if __name__ == "__main__":
    main()

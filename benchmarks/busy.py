"""Shows what busy callbacks do to TLS handshakes: python -m benchmarks.busy

While a callback computes, the event loop stands still. A download handler in the same process
cannot answer the origin meanwhile, and an origin allows a handshake only so much time. Each round
crawls with each installed handler in turn. The exit status is 0 if this package's handler lost no
page.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS, Contender, add_handlers, in_turn, installed
from benchmarks.crawls import Crawl, run_crawl
from testkit.origins.limited import LimitedOrigin
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.process import OriginProcess

_ROOT = Path(__file__).parent.parent
_ALL_THE_TIME = 60.0
_AT_ONCE = {
    "CONCURRENT_REQUESTS": 64,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 64,
    # So that the event loop gets its turn after each callback.
    "CONCURRENT_ITEMS": 1,
    "DOWNLOAD_DELAY": 0,
}


@dataclass(frozen=True)
class Case:
    """An origin and a spider.

    Attributes:
        busy: the seconds for which each callback computes.
        allowed: the seconds that the origin allows for a handshake; None if it has time.
        most: the handshakes at once that the origin takes; None if it takes all.
        with_retries: whether the crawl is measured with the default retries, too.
    """

    busy: float
    allowed: float | None = None
    most: int | None = None
    with_retries: bool = False

    def __str__(self) -> str:
        if self.most is not None:
            origin = f"takes {self.most} handshakes at once"
        elif self.allowed is not None:
            origin = f"allows {self.allowed:g} s"
        else:
            origin = "is healthy"
        return f"An origin that {origin}, callbacks of {self.busy:g} s"


_SWEEP = [Case(busy, allowed=1, with_retries=busy >= 0.6) for busy in (0, 0.1, 0.3, 0.6, 1.0)]
CASES = [
    Case(0),
    *_SWEEP,
    Case(1.0, allowed=3),
    Case(1.0, allowed=10),
    Case(0, most=8, with_retries=True),
]
QUICK = [
    Case(0, allowed=1),
    Case(0.6, allowed=1, with_retries=True),
    Case(0, most=8, with_retries=True),
]

#: By case and whether there are retries, the crawls of each handler.
Crawls = dict[tuple[Case, bool], dict[str, list[Crawl]]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=int, default=20, help="pages of a crawl")
    add_handlers(parser)
    parser.add_argument("--quick", action="store_true", help="three cases, one round")
    parser.add_argument(
        "--write", action="store_true", help="write benchmarks/BUSY.md and docs/busy.svg"
    )
    options = parser.parse_args()
    cases = QUICK if options.quick else CASES
    rounds = 1 if options.quick else options.rounds
    contenders = list(installed(options.handlers))
    versions = ", ".join(f"{name} {version(name)}" for name in ("scrapy", "curl_cffi"))
    text = (
        "# Busy callbacks\n\n"
        f"`python -m benchmarks.busy --rounds {rounds} --pages {options.pages}`: "
        "64 requests at once, medians over the rounds (and their range); "
        f"{os.cpu_count()} cores, "
        f"Python {platform.python_version()}, {versions}.\n"
    )
    print(text, flush=True)
    found: Crawls = {}
    for case in cases:
        for retries in (False, True) if case.with_retries else (False,):
            crawls = found[case, retries] = {one.distribution: [] for one in contenders}
            for number in range(rounds):
                for one in in_turn(contenders, number):
                    crawl = _crawl(one, case, options.pages, retries=retries)
                    crawls[one.distribution].append(crawl)
            table = _table(case, retries, crawls)
            print(table, flush=True)
            text += table
    if options.write:
        (_ROOT / "benchmarks/BUSY.md").write_text(text)
        _plot(found, options.pages, _ROOT / "docs/busy.svg")
    return _verdict(found)


def _crawl(contender: Contender, case: Case, pages: int, *, retries: bool) -> Crawl:
    settings: dict[str, Any] = {**_AT_ONCE, "RETRY_ENABLED": retries}
    with _origin(case) as url:
        return run_crawl(contender, url, pages, settings, busy=case.busy)


@contextlib.contextmanager
def _origin(case: Case) -> Iterator[str]:
    if case.most is not None:
        with LimitedOrigin(
            case.most, app=_path_of, takes=0.05, requests_per_connection=1
        ) as limited:
            yield limited.url
    else:
        with OriginProcess(handshake_timeout=case.allowed or _ALL_THE_TIME) as origin:
            yield origin.url


def _path_of(request: SeenRequest) -> Reply:
    """Answer with the path, by which the crawl knows the page."""
    return Reply(body=request.path.encode())


def _table(case: Case, retries: bool, crawls: dict[str, list[Crawl]]) -> str:
    lines = [
        f"\n## {case}, {'with the default retries' if retries else 'without retries'}\n",
        "| handler | pages lost | longest turn of the loop, s | lost by |",
        "| --- | --: | --: | --- |",
    ]
    for name, rounds in crawls.items():
        lost = sorted(crawl.lost for crawl in rounds)
        causes = sum((Counter(crawl.lost_by) for crawl in rounds), Counter[str]())
        named = ", ".join(f"{n} {cause}" for cause, n in causes.most_common(2)) or "none"
        turns = [crawl.longest_turn for crawl in rounds if crawl.longest_turn is not None]
        turn = f"{statistics.median(turns):.2f}" if turns else "?"
        median = f"{statistics.median(lost):g} ({lost[0]} to {lost[-1]})"
        lines.append(f"| {name} | {median} | {turn} | {named} |")
    return "\n".join((*lines, ""))


def _plot(found: Crawls, pages: int, path: Path) -> None:
    # Not at the top: nothing else of the benchmarks needs it.
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    sweep = [case for case in _SWEEP if (case, False) in found]
    for name in found[sweep[0], False]:
        lost = [
            100 * statistics.median(crawl.lost for crawl in found[case, False][name]) / pages
            for case in sweep
        ]
        axes.plot([case.busy for case in sweep], lost, marker="o", label=name)
    axes.set_xlabel("seconds for which each callback computes")
    axes.set_ylabel("pages lost without retries (%)")
    axes.set_title("An origin that allows 1 s for a TLS handshake")
    axes.set_ylim(bottom=-2)
    axes.legend()
    figure.savefig(path, format="svg", metadata={"Date": None})


def _verdict(found: Crawls) -> int:
    # The origin that limits handshakes refuses some on purpose, and nothing retries them.
    lost = sum(
        crawl.lost
        for (case, retries), crawls in found.items()
        if retries or case.most is None
        for crawl in crawls[OURS]
    )
    print(f"\n{OURS} lost {lost} pages." if lost else f"\n{OURS} lost no page.")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())

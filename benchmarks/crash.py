"""Shows what a crash in native code costs a crawl: python -m benchmarks.crash

In the middle of a crawl, the process in which libcurl runs gets SIGSEGV: a worker of this package,
or the crawler itself. Each installed handler takes its turn. The exit status is 0 if this package's
handler lost no page.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
from collections import Counter

import psutil

from benchmarks.contenders import OURS, Contender, add_handlers, installed
from benchmarks.crawls import Crawl, run_crawl
from testkit.origins.process import OriginProcess
from testkit.processes import descendants

_SETTINGS = {"CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "DOWNLOAD_DELAY": 0}
# So that there are requests in flight when the process crashes.
_DELAY_SECONDS = 0.2


class Crash:
    """A crash of the process that runs libcurl, once so many pages have come.

    Attributes:
        victim: which process it was; None as long as there was none.
    """

    def __init__(self, after: int) -> None:
        self.victim: str | None = None
        self._after = after

    def __call__(self, crawler: int, ended: int) -> None:
        if self.victim is not None or ended < self._after:
            return
        workers = [child for child in descendants(crawler) if _runs_libcurl(child)]
        process = workers[0] if workers else psutil.Process(crawler)
        self.victim = "a worker" if workers else "the crawler"
        process.send_signal(signal.SIGSEGV)


def _runs_libcurl(process: psutil.Process) -> bool:
    return any("curl_cffi" in mapped.path for mapped in process.memory_maps())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pages", type=int, default=400, help="pages of a crawl")
    add_handlers(parser)
    options = parser.parse_args()
    print("| handler | what crashed | pages lost (least to most) | how the crawls ended |")
    print("| --- | --- | --: | --- |")
    lost_by_ours = 0
    for contender in installed(options.handlers):
        victims, crawls = set(), []
        for _ in range(options.rounds):
            crash = Crash(after=options.pages // 2)
            crawls.append(_crawl(contender, options.pages, crash))
            victims.add(crash.victim or "nothing")
        _print_row(contender, sorted(victims), crawls)
        if contender.distribution == OURS:
            lost_by_ours = sum(crawl.lost for crawl in crawls)
            if victims != {"a worker"}:
                print(f"{OURS}: the crash hit {', '.join(sorted(victims))}.", file=sys.stderr)
                return 1
    print(f"\n{OURS} lost {lost_by_ours or 'no'} page{'s' * (lost_by_ours > 1)}.")
    return int(lost_by_ours > 0)


def _crawl(contender: Contender, pages: int, crash: Crash) -> Crawl:
    with OriginProcess(delay=_DELAY_SECONDS) as origin:
        return run_crawl(contender, origin.url, pages, _SETTINGS, sampled=crash)


def _print_row(contender: Contender, victims: list[str], crawls: list[Crawl]) -> None:
    lost = sorted(crawl.lost for crawl in crawls)
    endings = Counter(crawl.ended for crawl in crawls)
    ended = ", ".join(f"{count} {name}" for name, count in endings.items())
    print(
        f"| {contender.distribution} | {', '.join(victims)} "
        f"| {statistics.median(lost):g} ({lost[0]} to {lost[-1]}) | {ended} |",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

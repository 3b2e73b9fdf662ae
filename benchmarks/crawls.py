"""Runs a crawl of `benchmarks.crawl` with a download handler, and reads how each page ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.contenders import Contender
from testkit.processes import descendants, resident_mb

_REPOSITORY = Path(__file__).parent.parent
_SAMPLE_INTERVAL = 0.2

#: Called now and then while a crawl runs, with its pid and the number of pages that ended.
Sampled = Callable[[int, int], object]


@dataclass
class Crawl:
    """The outcome of one crawl.

    Attributes:
        got: the pages that came.
        lost_by: how many pages ended with each error.
        retries: as Scrapy counts them; None if the crawl did not end by itself.
        seconds: None if the crawl did not end by itself.
        longest_turn: the longest time between two turns of the event loop, in seconds.
        peak_rss_mb: of all its processes; shared memory counts once per process.
        ended: Scrapy's finish reason, or what ended the process.
    """

    got: int
    lost: int
    lost_by: dict[str, int] = field(default_factory=dict)
    retries: int | None = None
    seconds: float | None = None
    longest_turn: float | None = None
    peak_rss_mb: float | None = None
    ended: str = "finished"


def run_crawl(
    contender: Contender,
    url: str,
    requests: int,
    settings: dict[str, Any],
    *,
    busy: float = 0.0,
    timeout: float = 300.0,
    sampled: Sampled | None = None,
) -> Crawl:
    """Crawl an origin, and return the outcome.

    Args:
        busy: seconds for which each callback computes.
        timeout: seconds until the crawl is killed.
    """
    plan = {
        "url": url,
        "requests": requests,
        "busy": busy,
        "settings": {**settings, **contender.all_settings()},
        "meta": contender.meta,
    }
    with (
        tempfile.TemporaryFile("w+") as results,
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.crawl"],
            stdin=subprocess.PIPE,
            stdout=results,
            stderr=log,
            text=True,
            cwd=_REPOSITORY,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(plan))
            process.stdin.close()
        peak, hung = _watch(process, results, timeout, sampled)
        crawl = _read(_lines(results), requests)
        crawl.peak_rss_mb = peak
        if hung:
            crawl.ended = "hung"
        elif process.returncode < 0:
            crawl.ended = signal.Signals(-process.returncode).name
        elif process.returncode:
            crawl.ended = f"exit code {process.returncode}"
        if crawl.ended != "finished":
            log.seek(0)
            print(log.read()[-2000:], file=sys.stderr, flush=True)
    return crawl


def _watch(
    process: subprocess.Popen[str], results: IO[str], timeout: float, sampled: Sampled | None
) -> tuple[float | None, bool]:
    """Wait for a process to end, or kill it after a timeout.

    Returns:
        The peak memory of the process and its descendants in MB, and whether it was killed.
    """
    deadline = time.monotonic() + timeout
    peak = 0.0
    try:
        while process.poll() is None and time.monotonic() < deadline:
            peak = max(peak, _tree_resident_mb(process.pid))
            if sampled is not None:
                sampled(process.pid, len(_lines(results)))
            time.sleep(_SAMPLE_INTERVAL)
    finally:
        hung = process.poll() is None
        # A crawl that crashed may have left workers.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return peak or None, hung


def _lines(results: IO[str]) -> list[str]:
    # By its position: the crawl writes at that of the descriptor, which both have in common.
    size = os.fstat(results.fileno()).st_size
    return os.pread(results.fileno(), size, 0).decode().splitlines()


def _tree_resident_mb(pid: int) -> float:
    return resident_mb(pid) + sum(resident_mb(child.pid) for child in descendants(pid))


def _read(lines: list[str], requests: int) -> Crawl:
    outcomes = Counter(line for line in lines if not line.startswith("{"))
    got = outcomes.pop("got", 0)
    crawl = Crawl(got, requests - got)
    crawl.lost_by = {line.removeprefix("lost "): n for line, n in outcomes.items()}
    if unheard := crawl.lost - outcomes.total():
        crawl.lost_by["no outcome"] = unheard
    if lines and lines[-1].startswith("{"):
        end = json.loads(lines[-1])
        crawl.seconds, crawl.retries = end["seconds"], end["retries"]
        crawl.longest_turn = end["longest_turn"]
        crawl.ended = end["finish_reason"] or "no finish reason"
    return crawl

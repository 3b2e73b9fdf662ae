"""Estimates how fast a handler that adds nothing to libcurl could be: python -m benchmarks.bound

Scrapy's work for a page, libcurl's and the origin's share the cores of one machine. This measures
Scrapy's with the ceiling, and the other two together with processes that have nothing but libcurl
and keep all cores busy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.nginx import Nginx
from benchmarks.runs import run_steady
from benchmarks.scaling import LOADS, Load, plan_of
from benchmarks.speed import CEILING

_LOADS = ("fresh", "large")
# So many that some have data to read while others wait.
_PROCESSES_PER_CORE = 4
# How long they download before their pages count, and then.
_SECONDS_BEFORE, _SECONDS = 0.5, 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cores = len(os.sched_getaffinity(0))
    print("| load | Scrapy, pages/s | libcurl, pages/s | both, pages/s | to the ceiling |")
    print("| --- | --: | --: | --: | --: |")
    with Nginx() as origin:
        for load in (LOADS[name] for name in _LOADS):
            ceilings, alone, both, ratios = [], [], [], []
            for _ in range(rounds):
                ceiling = _ceiling(load, origin)
                libcurl = _libcurl(load, origin, cores)
                # Core seconds per page.
                taken = ceiling["own_cpu"] + cores / libcurl
                ceilings.append(ceiling["rate"])
                alone.append(libcurl)
                both.append(min(1 / ceiling["own_cpu"], cores / taken))
                ratios.append(both[-1] / ceiling["rate"])
            figures = [f"{statistics.median(rates):.0f}" for rates in (ceilings, alone, both)]
            print(
                f"| {load.name} | {' | '.join(figures)} | {statistics.median(ratios):.2f} |",
                flush=True,
            )


def _ceiling(load: Load, origin: Nginx) -> dict[str, Any]:
    plan = plan_of(load, origin, load.requests)
    plan["settings"] = {**CEILING.all_settings(), "CEILING_PAGE": load.page}
    result = run_steady(plan, lambda pid: None, timeout=300, interval=1.0)
    if result is None or result["errors"]:
        raise RuntimeError(f"the crawl failed: {result}")
    return result


def _libcurl(load: Load, origin: Nginx, cores: int) -> float:
    """Return the pages per second of all processes together."""
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "benchmarks.bare"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=Path(__file__).parent.parent,
                )
            )
            for _ in range(_PROCESSES_PER_CORE * cores)
        ]
        # The number of requests is for crawls only.
        _tell(processes, json.dumps(plan_of(load, origin, 0)))
        _answers(processes)
        begin = time.monotonic() + _SECONDS_BEFORE
        _tell(processes, json.dumps([begin, begin + _SECONDS]))
        return sum(map(int, _answers(processes))) / _SECONDS


def _tell(processes: list[subprocess.Popen[str]], line: str) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()


def _answers(processes: list[subprocess.Popen[str]]) -> list[str]:
    """Return the next line of each.

    Raises:
        RuntimeError: one of them ended without it.
    """
    lines = []
    for process in processes:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError("a process with libcurl ended early")
        lines.append(line)
    return lines


if __name__ == "__main__":
    main()

"""Runs crawls of `benchmarks.steady`, and compares what they measured."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

Result = dict[str, Any]


def run_steady(
    plan: dict[str, Any], sample: Callable[[int], object], *, timeout: float, interval: float
) -> Result | None:
    """Run a crawl in a process of its own, and return what it measured; None if it died.

    Args:
        plan: of the crawl.
        sample: called with its pid while it runs.
        timeout: seconds until it is killed.
        interval: seconds between two samples.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.steady"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.close()
        deadline = time.monotonic() + timeout
        while process.poll() is None:
            if time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
            sample(process.pid)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(interval)
        line = process.stdout.readline()
    result: Result | None = json.loads(line) if line else None
    return result


def ratio(ours: list[Result], others: list[Result], figure: str) -> str:
    """Return the median of the rounds' ratios."""
    pairs = zip(ours, others, strict=True)
    ratios = [a[figure] / b[figure] for a, b in pairs if a[figure] and b[figure]]
    return f"{statistics.median(ratios):.2f}" if ratios else "-"

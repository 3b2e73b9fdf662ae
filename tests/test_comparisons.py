"""The comparisons that show why libcurl runs in processes of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HANDLERS = ["--handlers", "scrapy-curl-safe", "scrapy"]

pytestmark = pytest.mark.processes


def compared(module: str, *options: str) -> list[list[str]]:
    """Return the cells of the rows that a benchmark prints, without those of the heads."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *options, *HANDLERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if "|" in line]
    return [row for row in rows if row[0] in HANDLERS]


def test_a_crash_in_native_code_costs_no_page_here_and_a_whole_crawl_elsewhere() -> None:
    ours, scrapys = compared("crash", "--rounds", "1", "--pages", "100")
    assert ours == ["scrapy-curl-safe", "a worker", "0 (0 to 0)", "1 finished"]
    assert scrapys[1] == "the crawler"
    assert int(scrapys[2].split()[0]) > 0
    assert scrapys[3] == "1 SIGSEGV"


@pytest.mark.slow
def test_busy_callbacks_cost_no_page_here() -> None:
    rows = compared("busy", "--quick")
    # At rest, busy without retries, busy with them, limited without retries, limited with them.
    assert len(rows) == 5 * 2
    ours = [row[1] for row in rows if row[0] == "scrapy-curl-safe"]
    limited = ours.pop(3)
    assert ours == ["0 (0 to 0)"] * 4
    # Nothing retries what the origin refuses, but some handshakes get through.
    assert 0 < int(limited.split()[0]) < 20
    assert rows[1][1] == "0 (0 to 0)"
    assert rows[3][1] != "0 (0 to 0)"

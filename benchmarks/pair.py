"""Compares the speed of two checkouts of this package by crawls that take turns.

Each checkout needs its environment (`make .venv/.installed`). Both run the benchmarks of this one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import scaling
from benchmarks.nginx import Nginx
from benchmarks.scaling import Load, plan_of

LOADS = {
    **{name: scaling.LOADS[name] for name in ("warm", "fresh", "gzip", "sessions")},
    # Longer than elsewhere: 1,000 pages take too little time to tell 2 %.
    "large": dataclasses.replace(scaling.LOADS["large"], requests=4000),
    "br": Load("94 kB as br, warm connections", "warm", "br/real", 64, 3000),
    "zstd": Load("94 kB as zstd, warm connections", "warm", "zstd/real", 64, 3000),
    "post": Load("POST of 1 kB, answered by 1 kB, warm connections", "warm", "1kB", 64, 4000),
}
_POST_BYTES = 1_000
_ROOT = Path(__file__).resolve().parent.parent

Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="a checkout, which may be the same")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument(
        "--settings", type=json.loads, default={}, metavar="JSON", help="settings of AFTER alone"
    )
    options = parser.parse_args()
    sides: list[tuple[Path, dict[str, Any]]] = [
        (options.before, {}),
        (options.after, options.settings),
    ]
    print("Ratios of AFTER to BEFORE: the median over the rounds, and the middle half of them.\n")
    print("| load | pages/s | ratio | CPU a page | crawler's CPU | retries |")
    print("| --- | --: | --: | --: | --: | --: |")
    # A directory without this checkout's package, which would win over that of BEFORE.
    with Nginx() as origin, tempfile.TemporaryDirectory() as directory:
        for package in ("benchmarks", "testkit"):
            Path(directory, package).symlink_to(_ROOT / package)
        for name in options.loads:
            rounds = []
            for number in range(options.rounds):
                order = (0, 1) if number % 2 == 0 else (1, 0)
                crawled = {side: _crawl(name, origin, directory, *sides[side]) for side in order}
                rounds.append((crawled[0], crawled[1]))
            print(_row(LOADS[name], rounds), flush=True)


def _crawl(
    name: str, origin: Nginx, directory: str, checkout: Path, settings: dict[str, Any]
) -> Result:
    load = LOADS[name]
    plan = plan_of(load, origin, load.requests)
    plan["settings"] |= settings
    plan["post_bytes"] = _POST_BYTES if name == "post" else 0
    crawl = subprocess.run(
        [checkout.resolve() / ".venv" / "bin" / "python", "-m", "benchmarks.steady"],
        input=json.dumps(plan) + "\n",
        cwd=directory,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    result: Result = json.loads(crawl.stdout)
    if result["errors"]:
        raise SystemExit(f"{checkout}: {result['errors']}")
    return result


def _row(load: Load, rounds: list[tuple[Result, Result]]) -> str:
    def ratio(figure: str) -> str:
        ratios = [after[figure] / before[figure] for before, after in rounds]
        text = f"{statistics.median(ratios):.3f}"
        if len(ratios) > 1:
            low, _, high = statistics.quantiles(ratios, n=4)
            text += f" ({low:.3f} to {high:.3f})"
        return text

    def medians(figure: str) -> str:
        sides = zip(*((before[figure], after[figure]) for before, after in rounds), strict=True)
        return " → ".join(f"{statistics.median(side):.0f}" for side in sides)

    cells = (medians("rate"), ratio("rate"), ratio("cpu"), ratio("own_cpu"), medians("retries"))
    return f"| {load.name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

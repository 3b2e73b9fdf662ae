"""Shows where the CPU time of a crawl goes: python -m benchmarks.profile LOAD (needs perf)

Samples the workers and the crawler of one crawl in its steady state, and prints the shares of each
library and the kernel, and the most expensive functions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.nginx import Nginx
from benchmarks.scaling import LOADS, Load, plan_of
from testkit.processes import children

_SECONDS = 3
_LINES = 12


def main() -> None:
    loads = {f"{load.server}-{load.page}": load for load in LOADS.values()}
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("load", choices=loads)
    load = loads[parser.parse_args().load]
    with Nginx() as origin, tempfile.TemporaryDirectory() as directory:
        for who in ("workers", "crawler"):
            print(f"## {load.name}: {who}\n")
            for keys in ("dso", "dso,symbol"):
                print(_profile(load, origin, who, keys, Path(directory)))


def _profile(load: Load, origin: Nginx, who: str, keys: str, directory: Path) -> str:
    data = directory / f"{who}.perf"
    if not data.exists():
        _record(load, origin, who, data)
    report = ["perf", "report", "-i", str(data), "--stdio", "--no-children", "--sort", keys]
    lines = subprocess.run(report, capture_output=True, text=True, check=True).stdout.splitlines()
    return "\n".join([x.rstrip() for x in lines if x.strip() and x[0] != "#"][:_LINES]) + "\n"


def _record(load: Load, origin: Nginx, who: str, data: Path) -> None:
    crawl = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.steady"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    with crawl:
        assert crawl.stdin is not None
        # Enough requests for the crawl to outlast the sampling.
        crawl.stdin.write(json.dumps(plan_of(load, origin, 8 * load.requests)))
        crawl.stdin.close()
        time.sleep(_SECONDS)
        workers = [str(worker.pid) for worker in children(crawl.pid)]
        pids = ",".join(workers) if who == "workers" else str(crawl.pid)
        record = ["perf", "record", "-q", "-o", str(data), "-p", pids]
        subprocess.run([*record, "--", "sleep", str(_SECONDS)], check=True)
        assert crawl.stdout is not None
        crawl.stdout.read()


if __name__ == "__main__":
    main()

"""Coverage of worker processes, for `make coverage`.

coverage.py does not follow a crawl into its workers: they do not inherit the environment variable
that starts it, their sandbox lets them write no file, and they end by `os._exit`. Therefore
`install` puts this module and a .pth file into the virtual environment, and every interpreter
there imports it as it starts. In a worker, the import starts coverage.py, which keeps its results
in memory. They are written at the end to a file that was opened before the sandbox closed, in place
of the worker's stdout, which is /dev/null. `collect` merges these files into a data file of
coverage.py.

A worker that is killed leaves no results.

Usage: python tests/worker_coverage.py install|collect
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(sys.prefix).parent
RESULTS = Path(sys.prefix) / "worker-coverage"


def start() -> None:
    """Measure this process from here to its `os._exit`."""
    from coverage import Coverage  # noqa: PLC0415

    results = os.open(
        RESULTS / f"{os.getpid()}-{time.time_ns()}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    os.dup2(results, 1)
    os.close(results)
    measured = Coverage(
        data_file=None, config_file=False, branch=True, include=[f"{ROOT}/scrapy_curl_safe/*"]
    )
    measured.set_option("run:disable_warnings", ["no-data-collected"])
    exit_now = os._exit

    def save_and_exit(status: int) -> None:
        measured.stop()
        left = memoryview(measured.get_data().dumps())
        while left:
            left = left[os.write(1, left) :]
        exit_now(status)

    os._exit = save_and_exit  # type: ignore[assignment]
    measured.start()


def is_worker() -> bool:
    """Tell whether the pool started this interpreter, as a worker whose stdout is /dev/null."""
    return any(
        argument.endswith("worker/__main__.py") for argument in sys.orig_argv[1:3]
    ) and os.path.samestat(os.fstat(1), os.stat(os.devnull))


def install() -> None:
    """Have each interpreter of this virtual environment import this module."""
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir()
    packages = Path(sysconfig.get_path("purelib"))
    shutil.copy(__file__, packages)
    (packages / "worker_coverage.pth").write_text("import worker_coverage\n")


def collect() -> None:
    """Merge what the workers left into a data file for `coverage combine`."""
    from coverage import CoverageData  # noqa: PLC0415

    results = list(RESULTS.iterdir())
    measured = [path.read_bytes() for path in results if path.stat().st_size]
    merged = CoverageData(ROOT / ".coverage", suffix="workers")
    for dumped in measured:
        of_one = CoverageData(no_disk=True)
        of_one.loads(dumped)
        merged.update(of_one)
    merged.write()
    for path in results:
        path.unlink()
    print(f"{len(measured)} of {len(results)} workers left results")


if __name__ == "__main__":
    {"install": install, "collect": collect}[sys.argv[1]]()
elif is_worker():
    start()

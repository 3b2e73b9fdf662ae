"""Run the Scrapy team's tests of download handlers; the last line has the counts.

Needs the environment that `scrapy_suite/install.sh` makes, and is started by its interpreter.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

_ENVIRONMENT = Path(sys.prefix)
_SUITE = _ENVIRONMENT / "suite"
# What pytest is told, by what runs the crawls.
_LOOPS = {
    "asyncio": ["--reactor=asyncio"],
    "epoll": ["--reactor=default"],
    "no-reactor": ["-p", "no:twisted"],
}
# The tests that the suite has for one handler only.
_OF_ONE_HANDLER = {"TestImpersonation"}
_OUTCOMES = ("passed", "failed", "skipped")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scrapy_suite", description=__doc__)
    parser.add_argument("--handler", default="curl_safe", help="as in tests/test_handler_*.py")
    parser.add_argument("--loops", nargs="+", choices=_LOOPS, default=["asyncio", "epoll"])
    options, for_pytest = parser.parse_known_args()
    counts = {loop: _run(options.handler, loop, for_pytest) for loop in options.loops}
    print(
        f"{options.handler}: "
        + "; ".join(
            f"{loop}: " + ", ".join(f"{count[outcome]} {outcome}" for outcome in _OUTCOMES)
            for loop, count in counts.items()
        )
    )
    return int(any(count["failed"] or not count["passed"] for count in counts.values()))


def _run(handler: str, loop: str, for_pytest: list[str]) -> Counter[str]:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.xml"
        command = [sys.executable, "-m", "pytest", *_LOOPS[loop], f"--junit-xml={report}"]
        # Tests wait more than they compute.
        command += [f"--numprocesses={2 * (os.cpu_count() or 1)}", "-m", "not requires_internet"]
        command += [*for_pytest, f"tests/test_handler_{handler}.py"]
        mitmdump = _ENVIRONMENT / "mitmproxy" / "bin" / "mitmdump"
        subprocess.run(
            command,
            cwd=_SUITE,
            env={**os.environ, "MITMDUMP": str(mitmdump)},
            check=False,
        )
        return _count(report)


def _count(report: Path) -> Counter[str]:
    """Count the outcomes of the tests that come from the suite's base classes."""
    # A test whose teardown fails, too, is there twice: its worst outcome counts.
    outcomes: dict[tuple[str, str], str] = {}
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        test = case.get("classname", ""), case.get("name", "")
        class_name = test[0].rpartition(".")[2]
        of_base = class_name.startswith("Test") and class_name not in _OF_ONE_HANDLER
        if of_base and outcomes.get(test) != "failed":
            outcomes[test] = _outcome(case)
    return Counter(outcomes.values())


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


if __name__ == "__main__":
    sys.exit(main())

"""Run the Scrapy team's tests of download handlers; the last lines have the counts.

Needs the environment that `scrapy_suite/install.sh` makes, and is started by its interpreter.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

_ENVIRONMENT = Path(sys.prefix)
_SUITE = _ENVIRONMENT / "suite"
_SUITE_PACKAGE = "scrapy-download-handlers-incubator"
_OURS = "curl_safe"
# What pytest is told, by what runs the crawls.
_LOOPS = {
    "asyncio": ["--reactor=asyncio"],
    "epoll": ["--reactor=default"],
    "no-reactor": ["-p", "no:twisted"],
}
# The tests that the suite has for one handler only.
_OF_ONE_HANDLER = {"TestImpersonation"}
_OUTCOMES = ("passed", "failed", "skipped")
_TABLE = Path(__file__).parent.parent / "docs" / "conformance.md"
_HEADING = "\n## Scrapy's own tests of handlers\n"
_ABOUT = """
The Scrapy team's tests of download handlers come with scrapy-download-handlers-incubator, and so do
classes that adapt them to its own handlers. `make scrapy-suite` runs them on this handler, too. A
test is skipped where it does not apply, such as one of HTTP/2 on HTTP/1.1, or where its class says
that the handler cannot do it. Of this handler it says so for host names that IDNA rejects.

"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="scrapy_suite", description=__doc__)
    parser.add_argument(
        "--handlers", nargs="+", default=[_OURS], help="as in tests/test_handler_*.py"
    )
    parser.add_argument("--loops", nargs="+", choices=_LOOPS, default=["asyncio", "epoll"])
    parser.add_argument(
        "--write", action="store_true", help="write the table in docs/conformance.md"
    )
    options, for_pytest = parser.parse_known_args()
    counts = {
        handler: {
            loop: _run(handler, loop, for_pytest)
            for loop in options.loops
            # The suite's own handlers cannot be built there.
            if handler == _OURS or loop != "epoll"
        }
        for handler in options.handlers
    }
    for handler, by_loop in counts.items():
        summaries = (f"{loop}: {_summary(count)}" for loop, count in by_loop.items())
        print(f"{handler}: {'; '.join(summaries)}")
    if options.write:
        before = _TABLE.read_text().partition(_HEADING)[0]
        _TABLE.write_text(before + _HEADING + _ABOUT + _table(options.loops, counts))
    return int(
        any(c["failed"] or not c["passed"] for by_loop in counts.values() for c in by_loop.values())
    )


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


def _summary(count: Counter[str]) -> str:
    return ", ".join(f"{count[outcome]} {outcome}" for outcome in _OUTCOMES)


def _table(loops: list[str], counts: dict[str, dict[str, Counter[str]]]) -> str:
    versions = ", ".join(
        f"{package} {version(package)}" for package in ("Scrapy", "Twisted", "curl_cffi")
    )
    text = f"With Python {platform.python_version()}, {versions}.\n\n"
    text += f"| | {' | '.join(loops)} |\n| --- |{' --- |' * len(loops)}\n"
    for handler, by_loop in counts.items():
        package = "scrapy-curl-safe" if handler == _OURS else _SUITE_PACKAGE
        title = f"{package} {version(package)}" + ("" if handler == _OURS else f", {handler}")
        cells = (_summary(by_loop[loop]) if loop in by_loop else "needs asyncio" for loop in loops)
        text += f"| {title} | {' | '.join(cells)} |\n"
    return text


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


if __name__ == "__main__":
    sys.exit(main())

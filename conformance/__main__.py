"""Run every probe through every handler that is installed, and write docs/conformance.md."""

from __future__ import annotations

import argparse
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from conformance.handlers import HANDLERS, TITLES
from conformance.probe import Probe
from conformance.probes import PROBES

TABLE = Path(__file__).parent.parent / "docs" / "conformance.md"
ABOUT = """# What each handler does

Each row is a behaviour that Scrapy documents for its handlers, or that is needed to impersonate a
browser. Each cell comes from a run of that row's probe: a crawl against servers on the loopback
interface, through that handler, enabled as its own documentation says. `make conformance` installs
all handlers, runs the probes and writes this table; `conformance/probes/` shows what each probe
checks.

"""
LEGEND = """
"yes": the probe passed. "no": it failed, in two runs.

1 MB of headers is more than libcurl accepts (300 kB and 5,000 lines are its fixed limits). In
scrapy-curl-safe such a response is a failure whose message says so, and what to do:
`meta["curl_safe"] = False` has Scrapy's own handler download that request.

scrapy-stealth is a downloader middleware, not a handler. It used its "turbo" driver, and was kept
from asking PyPI for a newer version of itself.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--handlers", nargs="+", choices=HANDLERS, default=list(HANDLERS))
    parser.add_argument("--probes", help="only those whose name contains this")
    parser.add_argument("--jobs", type=int, default=4, help="crawls at once")
    parser.add_argument("--dry-run", action="store_true", help="print only")
    options = parser.parse_args()
    missing = [name for name in options.handlers if HANDLERS[name].version() is None]
    if missing:
        print(f"not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    probes = [p for p in PROBES if not options.probes or options.probes in p.behaviour]
    cells = [(probe, name) for probe in probes for name in options.handlers]

    def verdict(cell: tuple[Probe, str]) -> bool:
        probe, name = cell
        # On a busy machine a probe can fail by chance; one that fails twice has failed.
        seen = probe.try_on(HANDLERS[name]) and probe.try_on(HANDLERS[name])
        if seen:
            print(f"{name}: {probe.section}: {probe.behaviour}: {seen}", file=sys.stderr)
        return seen is None

    with ThreadPoolExecutor(options.jobs) as pool:
        passed = dict(zip(cells, pool.map(verdict, cells), strict=True))
    # Sections that follow come from `scrapy_suite`.
    _, heading, sections = TABLE.read_text().partition("\n## ")
    text = ABOUT + _table(options.handlers, probes, passed) + LEGEND + heading + sections
    if options.dry_run:
        print(text)
    else:
        TABLE.write_text(text)
    return 0


def _table(names: list[str], probes: list[Probe], passed: dict[tuple[Probe, str], bool]) -> str:
    versions = ", ".join(
        f"{package} {version(package)}" for package in ("Scrapy", "Twisted", "curl_cffi")
    )
    text = f"With Python {platform.python_version()}, {versions}.\n\n"
    heads = [f"{TITLES.get(name, name)} {version(name)}" for name in names]
    text += f"| | {' | '.join(heads)} |\n"
    text += "| --- |" + " :-: |" * len(names) + "\n"
    for section, rows in groupby(probes, key=lambda probe: probe.section):
        text += f"| **{section}** |" + " |" * len(names) + "\n"
        for probe in rows:
            cells = ["yes" if passed[probe, name] else "no" for name in names]
            text += f"| {probe.behaviour} | {' | '.join(cells)} |\n"
    counts = [str(sum(passed[probe, name] for probe in probes)) for name in names]
    return text + f"| **{len(probes)} in all** | {' | '.join(counts)} |\n"


if __name__ == "__main__":
    sys.exit(main())

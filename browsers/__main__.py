"""Record the browsers, walk through the same situations with every handler, and write
docs/browsers_table.md."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.contenders import OURS, Contender
from browsers.installed import BROWSERS, InstallError, install
from browsers.namespace import NamespaceError, enter
from browsers.record import RecordingError, record
from browsers.table import Column, page
from browsers.walk import walk
from conformance.handlers import HANDLERS, TITLES
from testkit.recordings import DIRECTORY, load, newest, recording_differences

TABLE = Path(__file__).parent.parent / "docs" / "browsers_table.md"

#: The browser that this package impersonates, by the one that it is compared with.
TARGETS = {"chromium": "chrome", "firefox": "firefox"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m browsers", description=__doc__)
    parser.add_argument(
        "--stored",
        action="store_true",
        help="start no browser; compare with the recordings in tests/data/browsers",
    )
    parser.add_argument(
        "--write", action="store_true", help="replace the stored recording of the same version"
    )
    parser.add_argument(
        "--browsers", nargs="*", choices=BROWSERS, default=list(BROWSERS), help="those to record"
    )
    parser.add_argument(
        "--handlers", nargs="*", choices=HANDLERS, default=list(HANDLERS), help="the columns"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the table only")
    options = parser.parse_args()
    try:
        if not options.stored:
            install()
        enter(sys.argv[1:])
        if not options.stored:
            for family in options.browsers:
                _record(family, write=options.write)
    except (InstallError, NamespaceError, RecordingError) as error:
        print(f"make browsers: {error}", file=sys.stderr)
        return 1
    text = page({family: _columns(family, options.handlers) for family in TARGETS})
    if options.dry_run:
        print(text)
    else:
        TABLE.write_text(text)
    return 0


def _record(family: str, *, write: bool) -> None:
    """Record a browser, and compare it with the stored recording of its version if there is one."""
    fresh = record(BROWSERS[family])
    name = fresh["browser"]
    path = DIRECTORY / f"{name}.json"
    if path.exists():
        different = recording_differences(fresh, load(name))
        count = len(fresh["scenarios"])
        print(f"{name}: {count} situations; {len(different)} differ from the stored recording")
        for key, found in different.items():
            print(f"  {key}: {'; '.join(found)}")
    if write or not path.exists():
        path.write_text(json.dumps(fresh, indent=1) + "\n")
        print(f"{name}: written to {path}")


def _columns(family: str, handlers: list[str]) -> list[Column]:
    """Return what each handler sends as this browser. Handlers of others only pass for Chrome."""
    recording = load(newest(family))
    columns = []
    for name in handlers:
        handler = HANDLERS[name]
        if name == OURS:
            handler = Contender(
                OURS, settings={**handler.settings, "CURL_SAFE_IMPERSONATE": TARGETS[family]}
            )
        elif family != "chromium":
            continue
        version = handler.version()
        if version is None:
            print(f"{name} is not installed", file=sys.stderr)
            continue
        print(f"{name} as {family} ...", file=sys.stderr)
        columns.append(Column(f"{TITLES.get(name, name)} {version}", recording, _walked(handler)))
    return columns


def _walked(handler: Contender) -> dict[str, dict[str, Any]]:
    try:
        return walk(handler)
    except (AssertionError, subprocess.TimeoutExpired) as error:  # the crawl died, or hangs
        print(f"{handler.distribution}: {error}", file=sys.stderr)
        return {}


if __name__ == "__main__":
    sys.exit(main())

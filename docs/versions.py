"""Write docs/versions.md from what nox found: python docs/versions.py REPORT..."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

_NAME = re.compile(
    r"matrix-(?P<python>[\d.]+)\(scrapy='(?P<scrapy>\w+)', curl_cffi='(?P<curl>\w+)'\)"
)
_NEWEST = "The newest were "
_PACKAGES = ".nox/matrix-*-scrapy-newest-curl_cffi-newest/lib/python*/site-packages"
_COLUMNS = [(scrapy, curl) for scrapy in ("oldest", "newest") for curl in ("oldest", "newest")]


def main() -> None:
    cells: dict[tuple[str, str, str], str] = {}
    for report in sys.argv[1:]:
        for session in json.loads(Path(report).read_text())["sessions"]:
            found = _NAME.fullmatch(session["signatures"][0])
            # Nox skips the Pythons that a system does not have.
            if found and session["result"] != "skipped":
                cells[found["python"], found["scrapy"], found["curl"]] = session["result"]
    head = " | ".join(f"Scrapy {scrapy}, curl_cffi {curl}" for scrapy, curl in _COLUMNS)
    lines = [f"| Python | {head} |", "| --- |" + " --- |" * len(_COLUMNS)]
    for python in sorted({key[0] for key in cells}, key=lambda v: [int(n) for n in v.split(".")]):
        results = " | ".join(cells.get((python, *column), "not run") for column in _COLUMNS)
        lines.append(f"| {python} | {results} |")
    page = Path(__file__).with_name("versions.md")
    before, _, _ = page.read_text().partition(_NEWEST)
    newest = " and ".join(f"{name} {_installed(name)}" for name in ("Scrapy", "curl_cffi"))
    page.write_text("\n".join([f"{before}{_NEWEST}{newest}.", "", *lines, ""]))
    print("\n".join(lines))
    if set(cells.values()) != {"success"}:
        raise SystemExit("not all of them passed")


def _installed(name: str) -> str:
    """Return the version of a package where nox has installed the newest ones."""
    paths = [str(path) for path in Path(__file__).parent.parent.glob(_PACKAGES)]
    return " or ".join(sorted({found.version for found in distributions(name=name, path=paths)}))


if __name__ == "__main__":
    main()

"""Write the samples of a demo's log, stats and summary on the pages anew: python docs/samples.py"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "monitoring.md")
_BLOCK = re.compile(r"(?<=^```text\n).*?(?=\n```$)", re.DOTALL | re.MULTILINE)
# The parts of the health line that the guide explains.
_PART = re.compile(r"(?<=^\| `)[^`]+(?=` \|)", re.MULTILINE)
_STATS = ("curl_safe/", "retry/")


def main() -> None:
    demo = subprocess.run(
        [sys.executable, "demo.py"],
        cwd=ROOT / "example_project",
        capture_output=True,
        text=True,
        check=True,
    )
    for page in PAGES:
        page.write_text(refreshed(page.read_text(), demo.stderr + demo.stdout))
        print(page.relative_to(ROOT))


def refreshed(page: str, printed: str) -> str:
    """Return a page with the samples that this run of the demo gives.

    Raises:
        LookupError: the run printed nothing of the kind of a sample.
    """
    last = {_kind(line): line for line in printed.splitlines()}
    health = next((line for line in last.values() if "Health of the whole crawl" in line), "")

    def block(old: re.Match[str]) -> str:
        if old[0].startswith("{"):
            return _stats(printed)
        return "\n".join(_like(line) for line in old[0].splitlines())

    def _like(sample: str) -> str:
        if _kind(sample) not in last:
            raise LookupError(f"the demo prints nothing like {sample!r}")
        return last[_kind(sample)]

    def part(old: re.Match[str]) -> str:
        figures = re.escape(re.sub(r"\d[\d.]*", "0", old[0])).replace("0", r"\d[\d.]*")
        new = re.search(rf"\b{figures}", health)
        return new[0] if new else old[0]

    return _PART.sub(part, _BLOCK.sub(block, page))


def _kind(line: str) -> tuple[str, ...]:
    """Return the words with which a line begins."""
    return tuple(re.findall(r"[A-Za-z_]+", line)[:5])


def _stats(printed: str) -> str:
    """Return those of the crawl's stats that are the package's, and its retries."""
    lines = re.findall(rf"^[ {{]('(?:{'|'.join(_STATS)}).*?)[,}}]$", printed, re.MULTILINE)
    return "{" + ",\n ".join(lines) + "}"


if __name__ == "__main__":
    main()

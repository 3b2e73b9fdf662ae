"""Prints the doctor's findings, for people or for machines."""

from __future__ import annotations

import json
import textwrap
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from ..._crawl.words import many
from .finding import CheckStatus, Finding

_STYLES = {CheckStatus.OK: "green", CheckStatus.WARNING: "yellow", CheckStatus.PROBLEM: "red"}
_WORST_FIRST = (CheckStatus.PROBLEM, CheckStatus.WARNING, CheckStatus.OK)
_INDENT = " " * (max(len(status.value) for status in CheckStatus) + 1)


def print_findings(
    findings: list[Finding],
    console: Console,
    *,
    spider: str | None = None,
    verbose: bool = False,
    in_project: bool = True,
) -> None:
    """Print the findings, the worst first.

    Args:
        spider: name of the spider whose settings were read; None for those of the project alone.
        verbose: whether to print what is right, too.
        in_project: whether there is a project that the findings are about.
    """
    if not in_project:
        _print("No Scrapy project here (no scrapy.cfg): Scrapy's defaults are checked.", console)
    counts = {status: sum(f.status is status for f in findings) for status in CheckStatus}
    for status in _WORST_FIRST:
        for finding in findings:
            if finding.status is status and (verbose or status is not CheckStatus.OK):
                _print_finding(finding, console)
    fine = f"{many(counts[CheckStatus.OK], 'check')} found nothing wrong"
    _print(fine + ("" if verbose else "; -v shows what they found"), console)
    if spider is None:
        _print("Not seen: a spider's custom_settings (scrapy curlsafe doctor SPIDER)", console)
    problems, warnings = counts[CheckStatus.PROBLEM], counts[CheckStatus.WARNING]
    _print(f"{many(problems, 'problem')}, {many(warnings, 'warning')}", console)


def _print_finding(finding: Finding, console: Console) -> None:
    head = f"{finding.status.value:<{len(_INDENT)}}{finding.check}: {finding.value}"
    lines = Text("\n").join(Text(line) for line in _wrapped(head, console, first=""))
    lines.stylize(_STYLES[finding.status], 0, len(finding.status.value))
    console.print(lines, soft_wrap=True)
    dim = "dim" if finding.status is CheckStatus.OK else ""
    for line in _wrapped(finding.why, console, first=_INDENT):
        console.print(Text(line, style=dim), soft_wrap=True)
    if finding.fix:
        # In one line, to be copied.
        console.print(Text(f"{_INDENT}fix: {finding.fix}", style="bold"), soft_wrap=True)


def _print(text: str, console: Console) -> None:
    for line in textwrap.wrap(text, console.width, break_long_words=False, break_on_hyphens=False):
        console.print(Text(line), soft_wrap=True)


def _wrapped(text: str, console: Console, *, first: str) -> list[str]:
    """Return lines that break between words only, so that no name is cut in two.

    Args:
        first: the indentation of the first line.
    """
    return textwrap.wrap(
        text,
        console.width,
        initial_indent=first,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def findings_json(findings: list[Finding]) -> str:
    return json.dumps({"checks": [asdict(finding) for finding in findings]}, indent=2)

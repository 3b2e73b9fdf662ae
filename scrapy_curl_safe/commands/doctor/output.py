"""Prints the doctor's findings, for people or for machines."""

from __future__ import annotations

import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .checks import CheckStatus, Finding

_STYLES = {CheckStatus.OK: "green", CheckStatus.WARNING: "yellow", CheckStatus.PROBLEM: "red"}


def print_findings(findings: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "found", "why it matters, and the fix"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        advice = Text(finding.why, style="dim" if finding.status is CheckStatus.OK else "")
        if finding.fix:
            advice.append(f"\n{finding.fix}", style="bold")
        status = Text(finding.status.value, _STYLES[finding.status])
        table.add_row(status, finding.check, finding.value, advice)
    console.print(table)
    counts = {status: sum(f.status is status for f in findings) for status in CheckStatus}
    console.print(f"{counts[CheckStatus.PROBLEM]} problems, {counts[CheckStatus.WARNING]} warnings")


def findings_json(findings: list[Finding]) -> str:
    return json.dumps({"checks": [asdict(finding) for finding in findings]}, indent=2)

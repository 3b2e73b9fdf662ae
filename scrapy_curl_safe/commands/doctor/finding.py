"""The doctor's findings, each about one thing."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CheckStatus(str, enum.Enum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was checked.
        status: the result.
        value: what was found.
        why: why it matters.
        fix: a command or a setting; empty if there is nothing to fix.
    """

    check: str
    status: CheckStatus
    value: str
    why: str
    fix: str = ""

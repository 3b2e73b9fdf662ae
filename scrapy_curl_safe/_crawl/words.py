"""Words of log lines and commands. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def plural(count: int, noun: str) -> str:
    """Return the form of a noun that goes with a number."""
    return noun if count == 1 else f"{noun}s"


def many(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count} {plural(count, noun)}"


def by_count(counts: Mapping[str, int]) -> str:
    """Return each name with its number, the highest first."""
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts, key=lambda n: -counts[n]))

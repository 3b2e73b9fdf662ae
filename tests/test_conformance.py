"""The table in docs/conformance.md matches the probes, and each probe can fail."""

from __future__ import annotations

import re

import pytest

from conformance.handlers import HANDLERS
from conformance.probes import PROBES
from testkit.crawling import ROOT

OURS = "scrapy-curl-safe"
# Built into libcurl; docs/conformance.md says so.
NOT_OURS = {"1 MB of headers"}


def tables() -> list[list[list[str]]]:
    """Return the rows of each section's table."""
    sections = (ROOT / "docs/conformance.md").read_text().split("\n## ")
    return [
        [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in section.splitlines()
            if line.startswith("| ")
        ]
        for section in sections
    ]


def test_the_table_is_of_these_probes_and_handlers() -> None:
    head, _, *rows = tables()[0]
    assert [title.split(" ")[0] for title in head[1:]] == [
        {"scrapy": "Scrapy's"}.get(name, name) for name in HANDLERS
    ]
    behaviours = [row[0] for row in rows if not row[0].startswith("**")]
    assert behaviours == [probe.behaviour for probe in PROBES]


def test_no_column_fills_a_gap_in_ours() -> None:
    head, _, *rows = tables()[0]
    assert head[1].startswith(OURS)
    ours = {row[0]: row[1] for row in rows if not row[0].startswith("**")}
    assert {behaviour for behaviour, cell in ours.items() if cell != "yes"} == NOT_OURS


def test_no_test_of_the_scrapy_team_fails() -> None:
    _, (head, _, *rows) = tables()
    assert head[1:] == ["asyncio", "epoll"]
    (ours,) = [row for row in rows if row[0].startswith(OURS)]
    for cell in ours[1:]:
        assert re.fullmatch(r"4\d\d passed, 0 failed, \d+ skipped", cell)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("behaviour", "handler", "passes"),
    [
        ("Chrome's TLS handshake", OURS, True),
        ("Chrome's TLS handshake", "scrapy", False),
        ("`DOWNLOAD_MAXSIZE`, where none is", OURS, True),
        ("1 MB of headers", OURS, False),
        ("1 MB of headers", "scrapy", True),
        ("without a reactor (`TWISTED_REACTOR_ENABLED = False`)", OURS, True),
        ("without a reactor (`TWISTED_REACTOR_ENABLED = False`)", "scrapy", False),
    ],
)
def test_a_probe_passes_and_fails(behaviour: str, handler: str, passes: bool) -> None:
    (probe,) = (probe for probe in PROBES if probe.behaviour == behaviour)
    seen = probe.try_on(HANDLERS[handler])
    assert (seen is None) == passes, seen

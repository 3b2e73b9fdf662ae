"""The page about odd responses: where the two handlers differ, and why."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from curl_cffi.__version__ import __version__ as curl_cffi_version

from . import CASES
from .compare import Outcome
from .explained import EXPLANATIONS, explanation_of

PAGE = Path(__file__).parent.parent.parent / "docs" / "odd_responses.md"

_ABOUT = """# Odd responses

{count} malformed or unusual responses (heads, lengths, chunks, frames and endings, in HTTP/1.1 and
HTTP/2, over TCP and TLS) went through this handler and through Scrapy's own, `HTTP11` for HTTP/1.1
and `H2` for HTTP/2, in a crawl each. In {same} cases the outcome is the same: the response with its
status, headers, body, flags and protocol, or the exception. The other {different} follow, by
reason. `make odd-responses` writes this page, and a test compares it with a run.

{versions}

A body that nothing but the end of the connection delimits is flagged `partial`, as by Scrapy. One
that ends before its announced end is a `ResponseDataLossError`, or with
`DOWNLOAD_FAIL_ON_DATALOSS = False` the part that came, flagged `dataloss`. An answer that is no
HTTP is a `DownloadFailedError`, which Scrapy retries.
"""


def versions() -> str:
    """Return a line about the versions on which outcomes depend."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("Scrapy", "Twisted"))
    # Other distributions have a module of that name, too.
    return f"With {packages}, curl_cffi {curl_cffi_version}."


def page(theirs: Sequence[Outcome], ours: Sequence[Outcome]) -> str:
    """Return the page.

    Args:
        theirs: what came of each of the cases by Scrapy's handlers.
        ours: by this one.
    """
    rows = list(zip(CASES, theirs, ours, strict=True))
    different = [row for row in rows if row[1] != row[2]]
    same = len(rows) - len(different)
    text = _ABOUT.format(count=len(rows), same=same, different=len(different), versions=versions())
    for explanation in (*EXPLANATIONS, None):
        mine = [row for row in different if explanation_of(row[0]) is explanation]
        if mine:
            text += f"\n{explanation.reason if explanation else 'Not explained:'}\n\n"
            text += "| response | here | Scrapy |\n| --- | --- | --- |\n"
            for case, their, our in mine:
                text += f"| {case.title} | {_cell(our, their)} | {_cell(their, our)} |\n"
    return text


def _cell(outcome: Outcome, other: Outcome) -> str:
    if outcome.headers != other.headers and str(outcome) == str(other):
        return f"`{dict(outcome.headers)}`"
    return f"`{outcome}`"

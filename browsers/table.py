"""The page with the tables of what each handler sends, situation by situation."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from scrapy_curl_safe._crawl.browser.contradictions import contradictions
from testkit.recordings import differences, sent_in

# Differences that would make a cell longer than this are only counted.
_LONGEST = 80

_ABOUT = """# Browsers and handlers compared

Each row is a situation in which a real browser was recorded. Each cell compares that recording
with a crawl through the same pages, in which one handler impersonated the browser: it shows how the
requests differ that the origins received. `make browsers` records the browsers of this machine,
compares them with the recordings in `tests/data/browsers`, walks through the situations with every
handler, and writes this page. [What browsers send](browsers.md) has the rules.

"equal": the same header names in the same order (each cookie counts), the same values, the same
HTTP/2 weight and exclusive flag, and in HTTP/1.1 the same case. Only what names the browser's
version, system or language may differ (User-Agent, Sec-CH-UA*, Accept-Language, `image/jxl` in
Accept), and Host, Content-Length and a form's boundary. A number counts the differences: headers
that are missing, extra or have another value, and order, case and priority. A request contradicts
itself if it breaks a rule that no browser breaks.

Firefox's recording has a reload without `Sec-Fetch-User`. Firefox sends `?1` when the F5 key or
the button reloads a page, whether it was typed or a link led to it.
"""


@dataclass(frozen=True)
class Column:
    """A handler's requests.

    Args:
        title: of the column.
        recording: of the browser that the handler impersonated.
        sent: the requests, by situation.
    """

    title: str
    recording: dict[str, Any]
    sent: dict[str, dict[str, Any]]

    def different(self, scenario: dict[str, Any]) -> list[str] | None:
        """Return how the request of a situation differs from the browser's; None if none came."""
        sent = self.sent.get(scenario["key"])
        return None if sent is None else differences(sent_in(sent), sent_in(scenario))

    def cell(self, scenario: dict[str, Any]) -> str:
        different = self.different(scenario)
        if different is None:
            return "not sent"
        listed = "; ".join(different)
        return str(len(different)) if len(listed) > _LONGEST else listed or "equal"

    def equal(self) -> int:
        return sum(self.different(each) == [] for each in self.recording["scenarios"])

    def contradicting(self) -> int:
        return sum(bool(contradictions(sent_in(each))) for each in self.sent.values())


def page(columns: dict[str, list[Column]]) -> str:
    """Return the page.

    Args:
        columns: by browser.
    """
    versions = ", ".join(
        f"{package} {version(package)}" for package in ("Scrapy", "Twisted", "curl_cffi")
    )
    text = f"{_ABOUT}\nWith Python {platform.python_version()}, {versions}.\n"
    for each in columns.values():
        if each:
            text += f"\n{_table(each)}"
    return text


def _table(columns: list[Column]) -> str:
    recording = columns[0].recording
    name, _, number = recording["browser"].rpartition("-")
    heads = [column.title for column in columns]
    text = f"## {name.capitalize()} {number}\n\n| situation | {' | '.join(heads)} |\n"
    text += "| --- |" + " :-: |" * len(columns) + "\n"
    for scenario in recording["scenarios"]:
        cells = [column.cell(scenario) for column in columns]
        what = scenario["what"].replace("<", "&lt;").replace(">", "&gt;")
        text += f"| {what} | {' | '.join(cells)} |\n"
    count = len(recording["scenarios"])
    equal = [str(column.equal()) for column in columns]
    contradicting = [str(column.contradicting()) for column in columns]
    text += f"| **equal, of {count}** | {' | '.join(equal)} |\n"
    return text + f"| **contradict themselves** | {' | '.join(contradicting)} |\n"

"""Tells the age of a browser from the name of its target in curl_cffi. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from typing import NamedTuple

_NAME = re.compile(r"([a-z]+)(\d+)_?(\d*)[a-z]?(?:_([a-z]+))?")

# Some releases, between which others are spread evenly; after the last one, each browser has a new
# version every other week. By https://github.com/mdn/browser-compat-data (browsers/*.json),
# https://chromiumdash.appspot.com/schedule and https://whattrainisitnow.com/calendar/.
_RELEASES = {
    "chrome": (
        (94, date(2021, 9, 21)),
        (120, date(2023, 12, 5)),
        (148, date(2026, 5, 5)),
        (152, date(2026, 8, 25)),
        (153, date(2026, 9, 8)),
    ),
    "firefox": ((133, date(2024, 11, 26)), (147, date(2026, 1, 13)), (154, date(2026, 8, 18))),
}
_RELEASES["edge"] = _RELEASES["chrome"]  # Its versions follow within days.
_CYCLE = timedelta(days=14)


class KnownBrowser(NamedTuple):
    """A browser, as the name of a target says it.

    Attributes:
        rest: digits of the version after the major one.
        system: as the name has it; empty where it has none.
    """

    family: str
    major: int
    rest: str
    system: str

    @property
    def is_mobile(self) -> bool:
        return self.system in ("android", "ios")


def browser_of(target: str) -> KnownBrowser | None:
    """Return the browser that a target is named after; None if the name is of another form."""
    found = _NAME.fullmatch(target)
    if found is None:
        return None
    family, digits, minor, system = found.groups("")
    # The digits of Safari's and Tor's versions are written without their points.
    length = 2 if family in ("safari", "tor") else len(digits)
    return KnownBrowser(family, int(digits[:length]), digits[length:] + minor, system)


def release_date(browser: KnownBrowser) -> date | None:
    """Return about when a browser's major version came out; None where that is not known."""
    if browser.family == "safari":
        # Each September; since 26, the number is that of the next year.
        return date(browser.major + (1999 if browser.major >= 26 else 2006), 9, 15)
    releases = _RELEASES.get(browser.family)
    if releases is None or browser.major < releases[0][0]:
        return None
    last, day = releases[-1]
    if browser.major >= last:
        return day + (browser.major - last) * _CYCLE
    (before, earlier), (after, later) = next(
        pair for pair in pairwise(releases) if browser.major < pair[1][0]
    )
    return earlier + (browser.major - before) * (later - earlier) / (after - before)


def age(days: int) -> str:
    """Return an age in words."""
    months = round(days / 30.44)
    if months < 2:
        return f"{max(days, 0) // 7} weeks"
    return f"{months} months"


def newest_like(target: str, targets: Iterable[str]) -> str:
    """Return the newest of the targets that are the same browser on a computer, or on a phone; one
    of the same system if there is one."""
    browser = browser_of(target)
    if browser is None:
        return target

    def rank(name: str) -> tuple[int, str, bool, bool]:
        other = browser_of(name)
        if (
            other is None
            or other.family != browser.family
            or other.is_mobile is not browser.is_mobile
        ):
            return -1, "", False, False
        return other.major, other.rest, other.system == browser.system, name == target

    return max((target, *targets), key=rank)

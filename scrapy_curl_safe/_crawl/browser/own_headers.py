"""Headers of a user's own that name another browser than the impersonated one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .target import Target

_BROWSERS = (
    ("Edge", re.compile(r"Edg(?:A|iOS)?/(\d+)")),
    ("Opera", re.compile(r"OPR/(\d+)")),
    ("Firefox", re.compile(r"(?:Firefox|FxiOS)/(\d+)")),
    ("Chrome", re.compile(r"(?:Chrome|Chromium|CriOS)/(\d+)")),
    ("Safari", re.compile(r"Version/(\d+)\S* (?:Mobile/\S+ )?Safari/")),
)
# The first mark that is there decides.
_SYSTEMS = (
    ("Windows NT", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iOS"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_MOBILE = ("Android", "iOS")
_AGENT = "user-agent"
_BRANDS, _PLATFORM, _IS_MOBILE = "sec-ch-ua", "sec-ch-ua-platform", "sec-ch-ua-mobile"
_WRITTEN = {
    _AGENT: "User-Agent",
    _BRANDS: "Sec-CH-UA",
    _PLATFORM: "Sec-CH-UA-Platform",
    _IS_MOBILE: "Sec-CH-UA-Mobile",
}
_LEAVE_OUT = "leave it out, so that the browser's own is sent"
_IMPERSONATE_IT = f"{_LEAVE_OUT}, or set CURL_SAFE_IMPERSONATE to the browser that it names"


class HeaderConflict(NamedTuple):
    """A header that does not fit the impersonated browser.

    Attributes:
        text: what contradicts what.
        ways_out: what to do about it.
    """

    text: str
    ways_out: str


class _Agent(NamedTuple):
    browser: str
    major: int
    system: str

    def __str__(self) -> str:
        return f"{self.browser} {self.major}"


def may_conflict(own: Iterable[tuple[bytes, bytes | None]]) -> bool:
    """Tell whether a user's headers name a browser or its system at all.

    Args:
        own: names and values; a header with the value None is not sent.
    """
    return bool(_telling(own))


def find_conflict(
    target: Target, own: Iterable[tuple[bytes, bytes | None]]
) -> HeaderConflict | None:
    """Return how the first of a user's headers contradicts the impersonated browser; None if none
    does.

    Args:
        own: names and values; a header with the value None is not sent.
    """
    texts = _telling(own)
    browser = _agent(target.value(_AGENT) or "")
    if not texts or browser is None:
        return None
    if _AGENT in texts:
        found = _of_agent(texts[_AGENT], browser)
        if found is not None:
            return found
    return _of_hints(target, browser, texts)


def _telling(own: Iterable[tuple[bytes, bytes | None]]) -> dict[str, str]:
    mine = {name.lower().decode("latin-1"): value for name, value in own if value is not None}
    return {name: value.decode("latin-1") for name, value in mine.items() if name in _WRITTEN}


def _of_agent(text: str, browser: _Agent) -> HeaderConflict | None:
    theirs = f"the handshake and the other headers are those of {browser}"
    agent = _agent(text)
    if agent is None:
        return HeaderConflict(
            f"User-Agent names no browser ({text}), and {theirs}",
            f"{_LEAVE_OUT}, or set CURL_SAFE_IMPERSONATE = None for plain curl",
        )
    if (agent.browser, agent.major) != (browser.browser, browser.major):
        return HeaderConflict(f"User-Agent names {agent}, and {theirs}", _IMPERSONATE_IT)
    if (agent.system in _MOBILE) is not (browser.system in _MOBILE):
        where = f"{agent} on {agent.system or 'an unknown system'}"
        return HeaderConflict(
            f"User-Agent names {where}, and {theirs} on {browser.system}", _IMPERSONATE_IT
        )
    return None


def _of_hints(target: Target, browser: _Agent, texts: dict[str, str]) -> HeaderConflict | None:
    hints = [name for name in texts if name != _AGENT]
    if hints and target.family != "chromium":
        return HeaderConflict(
            f"{_WRITTEN[hints[0]]} is sent by no {browser.browser}, which is impersonated",
            _IMPERSONATE_IT,
        )
    agent = _agent(texts.get(_AGENT, "")) or browser
    for name, fits in (
        (_BRANDS, lambda hint: f'v="{agent.major}"' in hint),
        (_PLATFORM, lambda hint: not agent.system or hint.strip('"') == agent.system),
        (_IS_MOBILE, lambda hint: (hint == "?1") is (agent.system in _MOBILE)),
    ):
        hint = texts.get(name, target.value(name))
        if hint and not fits(hint):
            named = f"{agent} on {agent.system or 'an unknown system'}"
            both = "the user agent" if _AGENT not in texts else "User-Agent"
            return HeaderConflict(
                f"{_WRITTEN[name]} is {hint}, and {both} names {named}", _LEAVE_OUT
            )
    return None


def _agent(text: str) -> _Agent | None:
    for browser, pattern in _BROWSERS:
        if version := pattern.search(text):
            return _Agent(browser, int(version[1]), system_of(text))
    return None


def system_of(user_agent: str) -> str:
    """Return the operating system that a User-Agent names; empty if it names none that is known."""
    return next((system for mark, system in _SYSTEMS if mark in user_agent), "")

"""Checks CURL_SAFE_SESSIONS. Its messages never show a proxy's credentials."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from scrapy.settings import BaseSettings
from scrapy.utils.misc import load_object

from ._proxy_url import parse_proxy

_NAME = "CURL_SAFE_SESSIONS"
_PER = ("origin", "crawl")

_KEYS = (
    "proxies",
    "browsers",
    "size",
    "max_requests",
    "max_age",
    "max_errors",
    "per",
    "blocked",
)

_OF_BROWSER = ("impersonate", "os", "languages")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")
_MOST_LANGUAGES = 10
_TAKES_BROWSERS = (
    "a list of what CURL_SAFE_IMPERSONATE takes, None apart, and of dicts with that as "
    "'impersonate', and 'os' or 'languages'"
)

#: Operating systems under their names in the setting, with those in the headers.
SYSTEMS = {
    "windows": "Windows",
    "macos": "macOS",
    "linux": "Linux",
    "android": "Android",
    "ios": "iOS",
}
# Of these, curl_cffi has targets beside those of computers.
_SUFFIXED = ("android", "ios")

Proxies = tuple[str, ...] | Callable[[], Iterable[str]]


class SessionBrowser(NamedTuple):
    """A browser that sessions have.

    Attributes:
        impersonate: as CURL_SAFE_IMPERSONATE takes it.
        languages: that its user reads, the best first; empty for the target's own.
        system: that it is to run on, one of `SYSTEMS`; None for any.
    """

    impersonate: str | dict[str, Any]
    languages: tuple[str, ...] = ()
    system: str | None = None


@dataclass(frozen=True)
class SessionSettings:
    """The values of CURL_SAFE_SESSIONS.

    Attributes:
        proxies: their URLs, or a function that returns them, called once.
        browsers: empty for those of CURL_SAFE_BROWSERS.
        size: sessions that are in use at once; 0 for one per proxy.
        max_requests: that a session gets; 0 for any number.
        max_age: seconds that a session lasts; 0 for any time.
        max_errors: errors in a row that end a session.
        per: "origin" if each has sessions of its own, or "crawl".
        blocked: the class of the policy that tells blocks; None for `BlockedPolicy`.
    """

    # Not shown, since they may have credentials.
    proxies: Proxies = field(default=(), repr=False)
    browsers: tuple[SessionBrowser, ...] = ()
    size: int = 0
    max_requests: int = 0
    max_age: float = 0.0
    max_errors: int = 1
    per: str = "origin"
    blocked: type | None = None

    def load_proxies(self) -> tuple[str, ...]:
        """Return the URLs of the proxies.

        Raises:
            ValueError: the function returns something else.
        """
        if isinstance(self.proxies, tuple):
            return self.proxies
        return _listed_proxies(list(self.proxies()))


def parse_sessions(
    value: Any, parse_browsers: Callable[[Any], tuple[str | dict[str, Any], ...]]
) -> SessionSettings | None:
    """Check the setting; None if it is absent.

    Raises:
        ValueError: the message has the setting, its key, the value and what it takes.
    """
    if value in (None, "", "None"):
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(f"{_NAME}: as text, it takes only JSON ({error})") from None
    # BaseSettings wraps a dict of a settings module in a BaseSettings.
    if isinstance(value, BaseSettings):
        value = value.copy_to_dict()
    if not isinstance(value, dict):
        raise ValueError(f"{_NAME} is {value!r}: it takes a dict, or None")
    for key in value:
        if key not in _KEYS:
            raise ValueError(f"{_NAME} has an unknown key {key!r}: it knows {', '.join(_KEYS)}")
    checks: dict[str, Callable[[Any], Any]] = {
        "browsers": lambda browsers: _browsers(browsers, parse_browsers),
        "size": _whole,
        "max_requests": _whole,
        "max_age": _seconds,
        "max_errors": _errors,
        "per": _per,
        "blocked": _policy,
    }
    checked = {key: _checked(key, value[key], checks[key]) for key in checks if key in value}
    if "proxies" in value:
        checked["proxies"] = _proxies(value["proxies"])
    return SessionSettings(**checked)


def _checked(key: str, value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return check(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{_NAME}[{key!r}] is {value!r}: it takes {error}") from None


def _proxies(value: Any) -> Proxies:
    if callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (list, tuple)):
        return _listed_proxies(value)
    if isinstance(value, str) and "/" not in value and "@" not in value:
        try:
            found = load_object(value)
        except (ImportError, NameError, ValueError) as error:
            raise ValueError(
                f"{_NAME}['proxies'] is {value!r}: it takes a list of URLs, or the path of a "
                f"function that returns such a list ({error})"
            ) from None
        if callable(found):
            return found  # type: ignore[no-any-return]
    raise ValueError(
        f"{_NAME}['proxies'] takes a list of URLs, or the path of a function that returns such a "
        "list"
    )


def _listed_proxies(proxies: Iterable[Any]) -> tuple[str, ...]:
    listed = tuple(proxies)
    for number, proxy in enumerate(listed):
        if not isinstance(proxy, str):
            raise ValueError(f"{_NAME}['proxies'][{number}] takes the URL of a proxy")
        try:
            parse_proxy(proxy)
        except ValueError as error:
            raise ValueError(f"{_NAME}['proxies'][{number}]: the proxy {error}") from None
    if len(set(listed)) < len(listed):
        raise ValueError(f"{_NAME}['proxies'] takes each proxy only once")
    return listed


def _browsers(
    value: Any, parse_browsers: Callable[[Any], tuple[str | dict[str, Any], ...]]
) -> tuple[SessionBrowser, ...]:
    try:
        listed = parse_browsers(value)
    except ValueError:
        raise ValueError(_TAKES_BROWSERS) from None
    return tuple(
        _browser(browser)
        if isinstance(browser, dict) and _is_described(browser)
        else SessionBrowser(browser)
        for browser in listed
    )


def _is_described(browser: dict[str, Any]) -> bool:
    """Tell this setting's dicts from fingerprints, which may have an 'os' among other keys."""
    return not {"impersonate", "languages"}.isdisjoint(browser) or browser.keys() == {"os"}


def _browser(value: dict[str, Any]) -> SessionBrowser:
    impersonate, languages = value.get("impersonate"), value.get("languages", ())
    system = value.get("os")
    if (
        not impersonate
        or not isinstance(impersonate, (str, dict))
        or not value.keys() <= {*_OF_BROWSER}
    ):
        raise ValueError(_TAKES_BROWSERS)
    if system is not None and system not in [*SYSTEMS]:
        raise ValueError(f"as 'os' one of {', '.join(SYSTEMS)}")
    if (
        not isinstance(languages, (list, tuple))
        or len(languages) > _MOST_LANGUAGES
        or not all(isinstance(each, str) and _LANGUAGE.fullmatch(each) for each in languages)
        or len(set(languages)) < len(languages)
    ):
        raise ValueError(
            "as 'languages' a list of up to ten different ones such as 'de-AT' and 'en'"
        )
    if isinstance(impersonate, str) and system in _SUFFIXED and f"_{system}" not in impersonate:
        impersonate = f"{impersonate}_{system}"
    return SessionBrowser(impersonate, tuple(languages), system)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number of 0 or more")
    return value


def _errors(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a whole number of 1 or more")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError("a number of 0 or more")
    return float(value)


def _per(value: Any) -> str:
    if value not in _PER:
        raise ValueError(f"one of {', '.join(_PER)}")
    return str(value)


def _policy(value: Any) -> type | None:
    takes = "the path of a class with a method `reason`, or None"
    if value is None:
        return None
    try:
        found = load_object(value)
    except (ImportError, NameError, ValueError) as error:
        raise ValueError(f"{takes} ({error})") from None
    if isinstance(found, type) and callable(getattr(found, "reason", None)):
        return found
    raise ValueError(takes)

"""The line of the log that says that a crawl's requests go through workers, and how."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from scrapy.settings import BaseSettings
from scrapy.utils.misc import load_object

from .._ipc.messages import Ready
from .._version import __version__
from ..settings import Settings

logger = logging.getLogger(__name__)

_PICKS_BROWSERS = "RandomBrowserMiddleware"


class StartLog:
    """Logs the line once, as soon as a worker has told what only it knows.

    Args:
        settings: of the crawl.
        schemes: that this package's handler downloads.
        picks_browsers: whether CURL_SAFE_BROWSERS says which browsers there are.
    """

    def __init__(self, settings: Settings, schemes: Sequence[str], *, picks_browsers: bool) -> None:
        self._workers = settings.workers
        self._browsers: Sequence[str | dict[str, Any] | None] = (settings.impersonate,)
        if settings.sessions is not None and settings.sessions.browsers:
            self._browsers = [browser.impersonate for browser in settings.sessions.browsers]
        elif settings.sessions is not None or picks_browsers:
            self._browsers = settings.browsers
        self._schemes = schemes
        self._is_logged = False

    def note(self, ready: Ready) -> None:
        """Take what a worker that has just come up says."""
        if self._is_logged:
            return
        self._is_logged = True
        logger.info(
            "scrapy-curl-safe %s is on: %s %s through %d %s as %s, with curl_cffi %s and %s",
            __version__,
            _enumerated(self._schemes, "and") or "what another handler passes on",
            "goes" if len(self._schemes) < 2 else "go",
            self._workers,
            "worker" if self._workers == 1 else "workers",
            # Some differ in their languages only.
            _enumerated(list(dict.fromkeys(_name(each, ready) for each in self._browsers)), "or"),
            ready.curl_cffi,
            ready.curl.partition(" ")[0].replace("/", " "),
        )


def picks_browsers(settings: BaseSettings) -> bool:
    """Tell whether a middleware picks the browsers of requests."""
    return any(
        order is not None and load_object(component).__name__ == _PICKS_BROWSERS
        for component, order in settings.getdict("DOWNLOADER_MIDDLEWARES").items()
    )


def _name(browser: str | dict[str, Any] | None, ready: Ready) -> str:
    if browser is None:
        return "plain curl"
    if isinstance(browser, dict):
        return "a fingerprint of the settings"
    targets = {resolved.name: resolved.target for resolved in ready.browsers}
    target = targets.get(browser, browser)
    known = [target] if target != browser else []
    if system := ready.targets.get(target):
        known.append(system)
    return f"{browser} ({', '.join(known)})" if known else browser


def _enumerated(words: Sequence[str], conjunction: str) -> str:
    *most, last = words or [""]
    return f"{', '.join(most)} {conjunction} {last}" if most else last

"""Says once which targets the names of browsers stand for, since that changes with curl_cffi."""

from __future__ import annotations

import logging

from .._ipc.messages import Ready

logger = logging.getLogger(__name__)


class AliasLog:
    """Logs each name the first time that it is seen."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def note(self, ready: Ready) -> None:
        """Take what a worker that has just come up says of the browsers in the settings."""
        new = {
            browser.name: f"{browser.name} is {browser.target}"
            + (f" ({system})" if (system := ready.targets.get(browser.target)) else "")
            for browser in ready.browsers
            if browser.name not in (browser.target, *self._logged)
        }
        if new:
            self._logged.update(new)
            logger.info(
                "With curl_cffi %s, %s. Another version may mean other browsers by these names; "
                "name the targets themselves to keep them",
                ready.curl_cffi,
                ", ".join(new.values()),
            )

"""A browser's walk through the situations, and its recording."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from browsers import pages
from browsers.desktop import Desktop
from browsers.installed import Browser
from browsers.sites import Arrival, Sites
from browsers.situations import AWAY, CREDENTIALS, SITUATIONS, Situation
from testkit.fingerprints import describe_h2, describe_hello
from testkit.origins.hello import parse_client_hello
from testkit.recordings import sent_in, urgency
from testkit.waiting import wait_until

# How often a page with images is loaded. Their priority depends on when the browser knows their
# place on the page, which is a matter of chance.
_LOADS = 5
_TRIES, _SECONDS = 5, 10


class RecordingError(Exception):
    """Names the situation that a browser did not get into."""


def record(browser: Browser) -> dict[str, Any]:
    """Drive a browser through all situations, and return the recording."""
    with Sites() as sites, Desktop() as desktop, _running(browser, desktop):
        person = Person(sites, desktop)
        scenarios = []
        for situations in visits(SITUATIONS):
            seen: dict[str, list[dict[str, Any]]] = {each.key: [] for each in situations}
            for _ in range(_LOADS if situations[0].way == "embedded" else 1):
                for situation, arrival in zip(situations, person.visit(situations), strict=True):
                    seen[situation.key].append(describe(situation, arrival))
            scenarios += [_first(each) for each in seen.values()]
        hellos = [arrival.hello for arrival in sites.arrivals if arrival.hello]
        resumed = next(hello for hello in hellos if parse_client_hello(hello).has_psk)
        return {
            "browser": f"{browser.family}-{browser.version()}",
            "scenarios": scenarios,
            "tls": describe_hello(hellos[0]),
            "tls_resumed": describe_hello(resumed),
            "http2": describe_h2(sites.first_opening),
        }


def visits(situations: Sequence[Situation]) -> Iterator[list[Situation]]:
    """Group the situations that one visit to a page leads to."""

    def visit(situation: Situation) -> tuple[str, ...]:
        if situation.way in ("script", "embedded"):
            return (situation.way, situation.page)
        return (situation.way, situation.first_url)

    for _, together in groupby(situations, visit):
        yield list(together)


class Person:
    """A person at a browser.

    Args:
        sites: the sites to visit.
        desktop: the desktop on which the browser has the keyboard.
    """

    def __init__(self, sites: Sites, desktop: Desktop) -> None:
        self._sites = sites
        self._desktop = desktop

    def visit(self, situations: Sequence[Situation]) -> list[Arrival]:
        """Get into the situations that one visit leads to, and return the request of each.

        Raises:
            RecordingError: a request did not arrive, or its page did not load.
        """
        begin = len(self._sites.arrivals)
        try:
            return self._visit(situations)
        except AssertionError:
            came = ", ".join(arrival.url for arrival in self._sites.arrivals[begin:]) or "nothing"
            raise RecordingError(
                f"{', '.join(each.key for each in situations)}: the sites have received {came}; "
                f"the windows are {self._desktop.titles()!r}"
            ) from None

    def _visit(self, situations: Sequence[Situation]) -> list[Arrival]:
        first = situations[0]
        self._sites.staged = situations
        if first.way in ("reload", "again"):
            self._open(first.url)
        if first.way in ("link", "form", "again"):
            self._open(first.page)
        begin = len(self._sites.arrivals)
        # Credentials go out only after the site has asked for them.
        count = 2 if first.way == "credentials" else 1

        def happened() -> bool:
            return all(len(self._matching(each.url, begin)) >= count for each in situations)

        self._insist(lambda: self._act(first), happened)
        requests = [self._matching(each.url, begin)[-1] for each in situations]
        if first.way in ("script", "embedded"):
            # The same address again would be a reload.
            self._open(AWAY)
        elif first.way not in ("reload", "again"):
            self._wait_for_page(requests[-1])
        return requests

    def _act(self, situation: Situation) -> None:
        """Do what leads into a situation."""
        if situation.way in ("link", "form", "again"):
            self._desktop.click()
        elif situation.way == "reload":
            self._desktop.press("F5")
        elif situation.way == "typed":
            self._desktop.type_address(situation.first_url)
        elif situation.way == "credentials":
            user_and_password = ":".join(CREDENTIALS)
            self._desktop.type_address(situation.url.replace("://", f"://{user_and_password}@"))
        else:
            self._open(situation.page)

    def _open(self, url: str) -> None:
        begin = len(self._sites.arrivals)
        self._insist(
            lambda: self._desktop.type_address(url), lambda: bool(self._matching(url, begin))
        )
        self._wait_for_page(self._matching(url, begin)[-1])

    def _insist(self, act: Callable[[], object], happened: Callable[[], bool]) -> None:
        """Repeat an action until it has an effect: a browser busy with a page can lose a key."""
        for _ in range(_TRIES):
            act()
            with contextlib.suppress(AssertionError):
                wait_until(happened, _SECONDS)
                return
        raise AssertionError

    def _wait_for_page(self, arrival: Arrival) -> None:
        wait_until(lambda: self._desktop.shows(pages.title(arrival.number)), _SECONDS)

    def _matching(self, url: str, begin: int) -> list[Arrival]:
        return [
            arrival
            for arrival in self._sites.arrivals[begin:]
            if arrival.url == url and arrival.request.method != "OPTIONS"
        ]


@contextmanager
def _running(browser: Browser, desktop: Desktop) -> Iterator[None]:
    """Run a browser, and give it the keyboard.

    Raises:
        RuntimeError: it ends before it has a window.
    """
    # Its processes may still write when the first of them is gone.
    with TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as directory:
        home = Path(directory)
        environment = {**desktop.environment, "HOME": directory, "LANG": "C.UTF-8"}
        environment.pop("XDG_RUNTIME_DIR", None)
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                browser.command(home),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: desktop.shows(browser.window) or process.poll() is not None)
            if process.poll() is not None:
                raise RuntimeError(f"{browser.program} has ended: {(home / 'log').read_text()}")
            desktop.focus(browser.window)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def describe(situation: Situation, arrival: Arrival) -> dict[str, Any]:
    """Return a request in the form of the recordings."""
    request = arrival.request
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    described: dict[str, Any] = {
        "key": situation.key,
        "what": situation.what,
        "method": request.method,
        "protocol": "h2" if request.http_version == "2" else "http/1.1",
        "scheme": arrival.scheme,
        "host": arrival.host,
        "path": request.path,
        "headers": [list(field) for field in fields if not field[0].startswith(":")],
    }
    if request.weight is not None:
        priority = {"exclusive": int(bool(request.exclusive)), "weight": request.weight}
        described["h2"] = {"priority": priority}
    return described


def _first(requests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the first of a situation's requests, with the urgencies of all of them."""
    seen = [urgency(sent_in(request)) for request in requests]
    return {**requests[0], "seen": list(dict.fromkeys(seen))}

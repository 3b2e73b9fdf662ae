"""The base of all probes, each of which checks one behaviour by a crawl."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contenders import Contender
from testkit.crawling import Crawl, Crawled, Wanted
from testkit.origins.certs import certs
from testkit.scenario import Scenario, Way

# The seconds after which a crawl of a handful of requests to this machine counts as hung.
_HUNG = 45


@dataclass
class Run:
    """A run of a probe with one handler.

    Args:
        handler: the handler that downloads.
        directory: for whatever the probe writes.
    """

    handler: Contender
    directory: Path
    _crawls: list[Crawl] = field(default_factory=list)

    def crawl(
        self,
        *requests: Wanted,
        way: Way = "asyncio",
        env: dict[str, str] | None = None,
        scenario: Scenario | None = None,
        **settings: Any,
    ) -> Crawled:
        """Crawl some requests to the end.

        Raises:
            subprocess.TimeoutExpired: the crawl hangs.
            AssertionError: the crawl ends without a result.
        """
        return self.finish(self.start(*requests, way=way, env=env, scenario=scenario, **settings))

    def finish(self, crawl: Crawl) -> Crawled:
        """Wait for the end of a crawl, with the errors of `crawl`."""
        return crawl.finish(_HUNG)

    def start(
        self,
        *requests: Wanted,
        way: Way = "asyncio",
        env: dict[str, str] | None = None,
        scenario: Scenario | None = None,
        **settings: Any,
    ) -> Crawl:
        """Start a crawl of some requests."""
        path = self.handler.handler
        theirs: dict[str, Any] = {
            "ADDONS": {},
            "DOWNLOAD_TIMEOUT": 15,
            **self.handler.settings,
        }
        if path is not None:
            theirs["DOWNLOAD_HANDLERS"] = {"http": path, "https": path}
        # In addition to SSL_CERT_FILE, which not all handlers look at.
        environment = {
            "CURL_CA_BUNDLE": str(certs().ca_pem),
            "REQUESTS_CA_BUNDLE": str(certs().ca_pem),
        }
        crawl = Crawl(
            [self._with_meta(request) for request in requests],
            {**theirs, **settings},
            marker=self.directory,
            way=way,
            env=environment | (env or {}),
            module="conformance.stealth" if "stealth" in self.handler.meta else "testkit.runner",
            scenario=scenario,
        )
        self._crawls.append(crawl)
        return crawl

    def _with_meta(self, request: Wanted) -> dict[str, Any]:
        asked: dict[str, Any] = {"url": request} if isinstance(request, str) else dict(request)
        return {**asked, "meta": {**self.handler.meta, **asked.get("meta", {})}}

    def kill_what_hangs(self) -> None:
        for crawl in self._crawls:
            crawl.kill()


Check = Callable[[Run], object]


@dataclass(frozen=True)
class Probe:
    """A row of the table.

    Attributes:
        section: of the table.
        behaviour: the row's name.
        check: raises AssertionError if the handler does not behave so.
    """

    section: str
    behaviour: str
    check: Check

    def try_on(self, handler: Contender) -> str | None:
        """Return why a handler fails the probe; None if it passes."""
        with _run_of(handler) as run:
            try:
                self.check(run)
            except subprocess.TimeoutExpired:
                return "the crawl hangs"
            except (AssertionError, LookupError, TypeError, ValueError) as error:
                return f"{type(error).__name__}: {error}"
        return None


@contextmanager
def _run_of(handler: Contender) -> Iterator[Run]:
    with TemporaryDirectory(prefix="conformance-") as directory:
        run = Run(handler, Path(directory))
        try:
            yield run
        finally:
            run.kill_what_hangs()


registered: list[Probe] = []


def probe(section: str, behaviour: str) -> Callable[[Check], Check]:
    """Make a function a row of the table, as a decorator."""

    def register(check: Check) -> Check:
        registered.append(Probe(section, behaviour, check))
        return check

    return register


def must(condition: object, seen: object = "") -> None:
    """Assert a condition, even if Python runs with -O.

    Args:
        seen: what the AssertionError shows.
    """
    if not condition:
        raise AssertionError(str(seen)[:300])

"""A probe: one behaviour, and a crawl that shows whether a handler has it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.contenders import Contender
from testkit.crawling import Crawl, Crawled
from testkit.origins.certs import certs
from testkit.scenario import Scenario, Way

# Seconds until a crawl of a handful of requests to this machine counts as hung.
_HUNG = 45


@dataclass
class Run:
    """A handler at work on a probe.

    Args:
        handler: what downloads.
        directory: for whatever the probe writes.
    """

    handler: Contender
    directory: Path
    _crawls: list[Crawl] = field(default_factory=list)

    def crawl(
        self,
        *requests: str | dict[str, Any],
        way: Way = "asyncio",
        env: dict[str, str] | None = None,
        scenario: Scenario | None = None,
        **settings: Any,
    ) -> Crawled:
        """Crawl these to the end.

        Raises:
            TimeoutExpired: it hangs.
            AssertionError: it ends without a result.
        """
        path = self.handler.handler
        theirs = {
            "ADDONS": {},
            "DOWNLOAD_TIMEOUT": 15,
            **self.handler.settings,
            **({"DOWNLOAD_HANDLERS": {"http": path, "https": path}} if path else {}),
        }
        # Beside SSL_CERT_FILE, which not all of them look at.
        environment = {
            "CURL_CA_BUNDLE": str(certs().ca_pem),
            "REQUESTS_CA_BUNDLE": str(certs().ca_pem),
            **(env or {}),
        }
        if "stealth" in self.handler.meta:
            environment["CONFORMANCE_STEALTH"] = "1"
        crawl = Crawl(
            [self._with_meta(request) for request in requests],
            {**theirs, **settings},
            marker=self.directory,
            way=way,
            env=environment,
            module="conformance.crawl",
            scenario=scenario,
        )
        self._crawls.append(crawl)
        return crawl.finish(_HUNG)

    def _with_meta(self, request: str | dict[str, Any]) -> dict[str, Any]:
        asked = {"url": request} if isinstance(request, str) else request
        meta = {**self.handler.meta, **asked.get("meta", {})}
        return {**asked, "meta": meta}

    def kill_what_hangs(self) -> None:
        for crawl in self._crawls:
            if crawl.process.poll() is None:
                crawl.process.kill()
            crawl.process.wait()


Check = Callable[[Run], object]


@dataclass(frozen=True)
class Probe:
    """
    Attributes:
        section: of the table.
        behaviour: the row's name.
        check: raises AssertionError where the handler has it not.
    """

    section: str
    behaviour: str
    check: Check

    def try_on(self, handler: Contender) -> str | None:
        """Why the handler fails it, or None."""
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
    """Make a function a row of the table."""

    def register(check: Check) -> Check:
        registered.append(Probe(section, behaviour, check))
        return check

    return register


def must(condition: object, seen: object = "") -> None:
    """
    Raises:
        AssertionError: it does not hold; with what was seen instead.
    """
    if not condition:
        raise AssertionError(str(seen)[:300])

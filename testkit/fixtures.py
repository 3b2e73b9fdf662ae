"""Types of the fixtures in `tests/conftest.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from testkit.crawling import Crawl, Crawled, Wanted
from testkit.origins.messages import App
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Scenario, Way


class StartCrawl(Protocol):
    """The fixture `start_crawl`: starts a `Crawl`, which ends no later than its test."""

    def __call__(
        self,
        *requests: Wanted,
        way: Way = "asyncio",
        env: Mapping[str, str] | None = None,
        limit: tuple[str, str] | None = None,
        around: Sequence[str] = (),
        module: str = ...,
        scenario: Scenario | None = None,
        cwd: Path = ...,
        **settings: Any,
    ) -> Crawl: ...


class RunCrawl(Protocol):
    """The fixture `crawl`: runs a crawl to its end."""

    def __call__(
        self,
        *requests: Wanted,
        way: Way = ...,
        env: Mapping[str, str] | None = None,
        limit: tuple[str, str] | None = None,
        around: Sequence[str] = (),
        module: str = ...,
        scenario: Scenario | None = None,
        cwd: Path = ...,
        **settings: Any,
    ) -> Crawled: ...


class MakeOrigin(Protocol):
    """The fixture `make_origin`: makes an origin that speaks one version of HTTP."""

    def __call__(self, app: App = ..., **options: Any) -> TlsOrigin: ...

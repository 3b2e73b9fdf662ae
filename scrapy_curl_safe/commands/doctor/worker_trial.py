"""Tries what a crawl does on this machine: starts a worker and makes a handshake with an origin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scrapy import Request

from ..._crawl.browser.own_headers import HeaderConflict, find_conflict
from ..._crawl.browser_targets import encoded_browser, read_head, request_of_head
from ..._crawl.installed_browsers import load_installed_browsers
from ..._crawl.profile import EncodedProfile, encoded_profile
from ..._crawl.request_headers import request_headers
from ..._ipc.messages import (
    Completed,
    Failed,
    Fetch,
    HeaderPairs,
    Hello,
    InvalidRequest,
    ResolvedBrowser,
)
from ..._platform.refusals import Facility
from ..._pool.affinity import WorkerAffinity
from ..._pool.refusal_log import all_refusals
from ..._pool.worker_client import WorkerClient, WorkerFailedError
from ...settings import Settings
from .local_origin import HOST, run_local_origin

_SETTING = "CURL_SAFE_IMPERSONATE"
_HANDSHAKE_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerTrial:
    """The result of the trial.

    Attributes:
        libcurl: its version, if the worker reported it; so of curl_cffi.
        browser: see `Facts`; so are the rest.
    """

    libcurl: str | None = None
    curl_cffi: str | None = None
    browser: ResolvedBrowser | None = None
    targets: Sequence[str] = ()
    conflict: HeaderConflict | None = None
    refusals: Mapping[Facility, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    worker_error: str | None = None
    target_error: str | None = None
    handshake_error: str | None = None


def try_worker(settings: Settings, headers: Mapping[str, str | None]) -> WorkerTrial:
    """Start a worker with the browser of the settings, let it make one handshake, and stop it.

    Args:
        headers: that Scrapy sets by the settings.
    """
    installed = load_installed_browsers()
    request = Request("data:,", headers=headers)
    profile = encoded_profile(request, {"verify": False}, settings, installed)
    own = request_headers(request, {}, like_browser=True) if profile.is_like_browser else []
    return asyncio.run(_try_worker(profile, own, settings.python))


async def _try_worker(profile: EncodedProfile, own: HeaderPairs, python: str | None) -> WorkerTrial:
    try:
        hello = Hello(profiles=[(_SETTING, profile.encoded)])
        with WorkerClient(hello, python=python) as worker:
            ready = await worker.ready()
            WorkerAffinity().apply(worker.process.pid)
            trial = WorkerTrial(
                ready.curl,
                ready.curl_cffi,
                next(iter(ready.browsers), None),
                list(ready.targets),
                refusals=all_refusals(ready.refusals),
                missing=ready.missing,
            )
            if ready.problem is not None and not ready.problem.startswith(_SETTING):
                return replace(trial, worker_error=ready.problem)
            if ready.problem is not None:
                return replace(trial, target_error=ready.problem)
            trial = replace(trial, conflict=await _conflict(worker, profile, own) if own else None)
            return replace(trial, handshake_error=await _try_handshake(worker, profile.encoded))
    except WorkerFailedError as failure:
        return WorkerTrial(worker_error=str(failure))


async def _conflict(
    worker: WorkerClient, profile: EncodedProfile, own: HeaderPairs
) -> HeaderConflict | None:
    """Compare a project's own headers with those of the browser."""
    browser = encoded_browser(profile.profile)
    outcome, body = await worker.fetch(request_of_head(browser))
    target = read_head(body) if isinstance(outcome, Completed) else None
    return None if target is None else find_conflict(target, own)


async def _try_handshake(worker: WorkerClient, profile: bytes) -> str | None:
    """Return why the handshake failed; None if it did not."""
    try:
        async with run_local_origin() as url:
            fetch = Fetch(url=url, profile=profile, timeout_seconds=_HANDSHAKE_TIMEOUT_SECONDS)
            outcome, _ = await worker.fetch(fetch)
    except OSError as error:
        return f"{HOST}: {error}"
    return outcome.detail if isinstance(outcome, (Failed, InvalidRequest)) else None

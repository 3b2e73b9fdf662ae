"""Tries what a crawl does on this machine: starts a worker and makes a handshake with an origin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from scrapy import Request

from ..._crawl.installed_browsers import load_installed_browsers
from ..._crawl.profile import make_profile
from ..._ipc.messages import (
    Failed,
    Fetch,
    Hello,
    InvalidRequest,
    ResolvedBrowser,
    encode_profile,
)
from ..._platform.affinity import WorkerAffinity
from ..._platform.refusals import Facility
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
    refusals: Mapping[Facility, int] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    worker_error: str | None = None
    target_error: str | None = None
    handshake_error: str | None = None


def try_worker(settings: Settings) -> WorkerTrial:
    """Start a worker with the browser of the settings, let it make one handshake, and stop it."""
    installed = load_installed_browsers()
    profile = make_profile(Request("data:,"), {"verify": False}, settings, installed)
    return asyncio.run(_try_worker(encode_profile(profile), settings.python))


async def _try_worker(profile: bytes, python: str | None) -> WorkerTrial:
    try:
        hello = Hello(profiles=[(_SETTING, profile)])
        with WorkerClient(hello, python=python) as worker:
            ready = await worker.ready()
            WorkerAffinity().apply(worker.process.pid)
            trial = WorkerTrial(
                ready.curl,
                ready.curl_cffi,
                next(iter(ready.browsers), None),
                list(ready.targets),
                all_refusals(ready.refusals),
                ready.missing,
            )
            if ready.problem is not None and not ready.problem.startswith(_SETTING):
                return replace(trial, worker_error=ready.problem)
            if ready.problem is not None:
                return replace(trial, target_error=ready.problem)
            return replace(trial, handshake_error=await _try_handshake(worker, profile))
    except WorkerFailedError as failure:
        return WorkerTrial(worker_error=str(failure))


async def _try_handshake(worker: WorkerClient, profile: bytes) -> str | None:
    """Return why the handshake failed; None if it did not."""
    try:
        async with run_local_origin() as url:
            fetch = Fetch(url=url, profile=profile, timeout_seconds=_HANDSHAKE_TIMEOUT_SECONDS)
            outcome, _ = await worker.fetch(fetch)
    except OSError as error:
        return f"{HOST}: {error}"
    return outcome.detail if isinstance(outcome, (Failed, InvalidRequest)) else None

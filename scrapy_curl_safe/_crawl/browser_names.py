"""Finds out at the start of a crawl whether curl_cffi can impersonate the browsers of the settings.

The crawler never loads curl_cffi. The names that every supported version has are known here; about
others, and about fingerprints, a worker is asked before the crawl begins, which takes a moment.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scrapy import Request

from .._ipc.failures import FailureKind
from .._ipc.messages import Failed, Fetch, Hello
from ..settings import Settings
from .installed_browsers import load_installed_browsers
from .profile import encoded_profile

if TYPE_CHECKING:
    from .._pool.worker_client import WorkerClient

#: Those of curl_cffi 0.15 that later versions have, too.
FAMILIAR_NAMES = frozenset(
    """
    chrome chrome99 chrome100 chrome101 chrome104 chrome107 chrome110 chrome116 chrome119 chrome120
    chrome123 chrome124 chrome131 chrome133a chrome136 chrome142 chrome145 chrome146
    chrome_android chrome99_android chrome131_android edge edge99 edge101
    firefox firefox133 firefox135 firefox144 firefox147
    safari safari15_3 safari15_5 safari17_0 safari18_0 safari18_4 safari153 safari155 safari170
    safari180 safari184 safari260 safari2601 safari_beta
    safari_ios safari17_2_ios safari18_0_ios safari18_4_ios safari172_ios safari180_ios
    safari184_ios safari260_ios safari_ios_beta tor tor145
    """.split()  # noqa: SIM905
)

_HOST = "127.0.0.1"
_TIMEOUT_SECONDS = 10.0
# A connection that is closed at once fails in other ways.
_OF_FINGERPRINT = (FailureKind.OTHER, FailureKind.PROTOCOL)


def named_browsers(settings: Settings) -> list[tuple[str, str | dict[str, Any] | None]]:
    """Return the browsers of the settings, the default one first, each with how a message names
    it."""
    named = [(f"CURL_SAFE_IMPERSONATE is {settings.impersonate!r}", settings.impersonate)]
    named += [(f"CURL_SAFE_BROWSERS has {browser!r}", browser) for browser in settings.browsers]
    if settings.sessions is not None:
        label = "CURL_SAFE_SESSIONS['browsers'] has"
        named += [(f"{label} {browser!r}", browser) for browser in settings.sessions.browsers]
    return named


def check_browsers(settings: Settings) -> None:
    """Check the browsers in the settings.

    Raises:
        ValueError: curl_cffi has no such browser, or takes no such fingerprint. The message has the
            setting, its value, and what would do.
    """
    doubtful = [
        (label, browser)
        for label, browser in named_browsers(settings)
        if browser is not None and not (isinstance(browser, str) and browser in FAMILIAR_NAMES)
    ]
    if not doubtful:
        return
    profiles = tuple((label, _encoded(label, browser, settings)) for label, browser in doubtful)
    fingerprints = tuple(
        profile
        for profile, (_, browser) in zip(profiles, doubtful, strict=True)
        if isinstance(browser, dict)
    )
    problem = _problem(profiles, fingerprints, settings.python)
    # Of others the crawl itself says more.
    if problem is not None and problem.startswith(tuple(f"{label}: " for label, _ in doubtful)):
        raise ValueError(problem)


def _encoded(label: str, browser: str | dict[str, Any], settings: Settings) -> bytes:
    # What else may fail is not the browser's fault.
    settings = replace(settings, downloader_client_tls_ciphers=None)
    options = {"impersonate": browser, "verify": False, "http_version": None}
    try:
        return encoded_profile(
            Request("data:,"), options, settings, load_installed_browsers()
        ).encoded
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


@lru_cache(16)
def _problem(
    profiles: tuple[tuple[str, bytes], ...],
    fingerprints: tuple[tuple[str, bytes], ...],
    python: str | None,
) -> str | None:
    """Ask a worker, in a thread with a loop of its own: the crawl's may be running."""
    # Most crawls do not ask, and need not wait for these.
    import asyncio  # noqa: PLC0415
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from .._pool.worker_client import WorkerClient, WorkerFailedError  # noqa: PLC0415

    async def ask() -> str | None:
        try:
            with WorkerClient(Hello(profiles=list(profiles)), python=python) as worker:
                problem = (await worker.ready()).problem
                return problem or await _problem_of_hello(worker, fingerprints)
        except WorkerFailedError:
            return None

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(ask())).result()


async def _problem_of_hello(
    worker: WorkerClient, fingerprints: tuple[tuple[str, bytes], ...]
) -> str | None:
    """Return why libcurl makes no ClientHello of one of the fingerprints; None if it makes all.

    libcurl looks at ciphers, curves and the like only once it is connected.
    """
    import asyncio  # noqa: PLC0415

    def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    try:
        server = await asyncio.start_server(close, _HOST, 0)
    except OSError:
        return None
    async with server:
        url = f"https://{_HOST}:{server.sockets[0].getsockname()[1]}/"
        for label, encoded in fingerprints:
            fetch = Fetch(url=url, profile=encoded, timeout_seconds=_TIMEOUT_SECONDS)
            outcome, _ = await worker.fetch(fetch)
            if isinstance(outcome, Failed) and outcome.kind in _OF_FINGERPRINT:
                return f"{label}: curl: ({outcome.code}) {outcome.detail}"
    return None

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
from .._ipc.messages import Completed, Failed, Fetch, Hello
from ..session_settings import SYSTEMS, SessionBrowser
from ..settings import Settings
from .browser.own_headers import system_of
from .browser_targets import encoded_browser, read_head, request_of_head
from .installed_browsers import load_installed_browsers
from .profile import EncodedProfile, encoded_profile

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
        named += [(_label(each), each.impersonate) for each in settings.sessions.browsers]
    return named


def _label(browser: SessionBrowser) -> str:
    return f"CURL_SAFE_SESSIONS['browsers'] has {browser.impersonate!r}"


def check_browsers(settings: Settings) -> None:
    """Check the browsers in the settings.

    Raises:
        ValueError: curl_cffi has no such browser, or not on that system, or takes no such
            fingerprint. The message has the setting, its value, and what would do.
    """
    of_sessions = () if settings.sessions is None else settings.sessions.browsers
    if settings.browser_headers != "context" and any(each.languages for each in of_sessions):
        raise ValueError(
            "CURL_SAFE_SESSIONS['browsers'] has languages: they take "
            f"CURL_SAFE_BROWSER_HEADERS = 'context', and it is {settings.browser_headers!r}"
        )
    on_systems = tuple(each for each in of_sessions if each.system is not None)
    doubtful = [
        (label, browser)
        for label, browser in named_browsers(settings)
        if browser is not None and not (isinstance(browser, str) and browser in FAMILIAR_NAMES)
    ]
    doubtful += [(_label(each), each.impersonate) for each in on_systems]
    if not doubtful:
        return
    profiles = tuple(
        (label, _profile(label, browser, settings).encoded) for label, browser in doubtful
    )
    fingerprints = tuple(
        profile
        for profile, (_, browser) in zip(profiles, doubtful, strict=True)
        if isinstance(browser, dict)
    )
    systems = tuple(
        (label, encoded_browser(_profile(label, each.impersonate, settings).profile), each.system)
        for label, each in ((_label(each), each) for each in on_systems)
    )
    problem = _problem(profiles, fingerprints, systems, settings.python)
    # Of others the crawl itself says more.
    if problem is not None and problem.startswith(tuple(f"{label}: " for label, _ in doubtful)):
        raise ValueError(problem)


def _profile(label: str, browser: str | dict[str, Any], settings: Settings) -> EncodedProfile:
    # What else may fail is not the browser's fault.
    settings = replace(settings, downloader_client_tls_ciphers=None)
    options = {"impersonate": browser, "verify": False, "http_version": None}
    try:
        return encoded_profile(Request("data:,"), options, settings, load_installed_browsers())
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from None


@lru_cache(16)
def _problem(
    profiles: tuple[tuple[str, bytes], ...],
    fingerprints: tuple[tuple[str, bytes], ...],
    systems: tuple[tuple[str, bytes, str | None], ...],
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
                problem = problem or await _problem_of_hello(worker, fingerprints)
                return problem or await _problem_of_system(worker, systems)
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


async def _problem_of_system(
    worker: WorkerClient, systems: tuple[tuple[str, bytes, str | None], ...]
) -> str | None:
    """Return which browser is one of another operating system; None if none is."""
    for label, browser, wanted in systems:
        outcome, body = await worker.fetch(request_of_head(browser))
        target = read_head(body) if isinstance(outcome, Completed) else None
        system = system_of((target and target.value("user-agent")) or "")
        if SYSTEMS.get(wanted or "") != system:
            return (
                f"{label}: it is a browser of {system or 'no known system'}, and its 'os' is "
                f"{wanted!r}. What curl_cffi impersonates has one system only"
            )
    return None

"""Finds out at the start of a crawl whether curl_cffi knows the browsers of the settings.

The crawler never loads curl_cffi. The names that every supported version has are known here; for
others a worker is asked before the crawl begins, which takes a moment.
"""

from __future__ import annotations

from functools import lru_cache

from scrapy import Request

from .._ipc.messages import Hello
from ..settings import Settings
from .installed_browsers import load_installed_browsers
from .profile import encoded_profile

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


def check_browsers(settings: Settings) -> None:
    """Check the names of browsers in the settings.

    Raises:
        ValueError: there is no such browser. The message has the setting and the nearest names.
    """
    named = [(f"CURL_SAFE_IMPERSONATE is {settings.impersonate!r}", settings.impersonate)]
    named += [(f"CURL_SAFE_BROWSERS has {browser!r}", browser) for browser in settings.browsers]
    doubtful = [
        (label, browser)
        for label, browser in named
        if isinstance(browser, str) and browser not in FAMILIAR_NAMES
    ]
    if not doubtful:
        return
    installed = load_installed_browsers()
    profiles = tuple(
        (
            label,
            encoded_profile(
                Request("data:,"), {"impersonate": browser}, settings, installed
            ).encoded,
        )
        for label, browser in doubtful
    )
    problem = _problem(profiles, settings.python)
    # Of others the crawl itself says more.
    if problem is not None and problem.startswith(tuple(f"{label}: " for label, _ in doubtful)):
        raise ValueError(problem)


@lru_cache(16)
def _problem(profiles: tuple[tuple[str, bytes], ...], python: str | None) -> str | None:
    """Ask a worker, in a thread with a loop of its own: the crawl's may be running."""
    # Most crawls do not ask, and need not wait for these.
    import asyncio  # noqa: PLC0415
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    from .._pool.worker_client import WorkerClient, WorkerFailedError  # noqa: PLC0415

    async def ask() -> str | None:
        try:
            with WorkerClient(Hello(profiles=list(profiles)), python=python) as worker:
                return (await worker.ready()).problem
        except WorkerFailedError:
            return None

    with ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: asyncio.run(ask())).result()

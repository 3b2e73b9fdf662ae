"""Runs a probe: starts workers, follows the plan step by step, and judges the outcome."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from scrapy import Request, Spider
from scrapy.crawler import Crawler
from scrapy.settings import Settings as ScrapySettings

from ..._crawl.installed_browsers import load_installed_browsers
from ..._crawl.profile import make_profile, origin_of
from ..._crawl.scrapy_api import load_addons
from ..._ipc.messages import Profile
from ..._pool.worker_client import WorkerFailedError
from ...settings import Settings
from .handshakes import Prober, start_prober
from .plan import Bounds, plan_steps
from .steps import PlannedStep, ProbeVariant, Step
from .verdict import Judgement, ProbeBrowsers, judge, judge_without_worker, may_be_no_tls

# curl_cffi targets whose ClientHello has about 500 bytes (the first) and 1,800 (the others).
_SMALL_HELLO_TARGET, _OTHER_TARGET, _THIRD_TARGET = "chrome120", "firefox", "chrome"
# No handshake begins after this time.
_MAX_DURATION_SECONDS = 180.0
_DEFAULT_HANDSHAKES = 200
_DEFAULT_CONCURRENCY = 50
#: The least number of handshakes in all for each that may be made at once.
HANDSHAKES_PER_CONCURRENCY = 4


@dataclass(frozen=True)
class ProbeOptions:
    """The origin to probe, and how.

    Attributes:
        url: an https URL.
        concurrency: the most handshakes at once.
        handshakes: the most in all.
        timeout_seconds: for each handshake.
        impersonate: a curl_cffi target; None for the target of the settings.
        proxy: URL of a proxy, with user and password if it has any; None for no proxy.
    """

    url: str
    concurrency: int = _DEFAULT_CONCURRENCY
    handshakes: int = _DEFAULT_HANDSHAKES
    timeout_seconds: float = 10.0
    impersonate: str | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class ProbeReport:
    """The result of a probe.

    Attributes:
        origin: scheme, host and port of the URL.
        proxy: URL of the proxy, without user and password; None for no proxy.
        browsers: the browser of each variant.
        steps: all steps, in order.
        judgement: what they mean.
        hello_bytes: size of each variant's ClientHello; None if unknown.
    """

    origin: str
    proxy: str | None
    browsers: ProbeBrowsers
    steps: list[Step]
    judgement: Judgement
    hello_bytes: dict[ProbeVariant, int | None]


class ProbeObserver:
    """Follows the progress of a probe. This class ignores it."""

    def on_step(self, planned: PlannedStep) -> None:
        """Note that a step begins."""

    def on_handshake(self) -> None:
        """Note that a handshake has ended."""


def default_handshakes(concurrency: int) -> int:
    """Return how many handshakes to make in all by default."""
    return max(_DEFAULT_HANDSHAKES, HANDSHAKES_PER_CONCURRENCY * concurrency)


def default_concurrency(handshakes: int | None) -> int:
    """Return how many handshakes to make at once by default.

    Args:
        handshakes: how many in all; None if that is not given either.
    """
    if handshakes is None:
        return _DEFAULT_CONCURRENCY
    return min(_DEFAULT_CONCURRENCY, max(1, handshakes // HANDSHAKES_PER_CONCURRENCY))


def parse_https_url(text: str) -> str:
    """Return an https URL without credentials; a missing scheme is added.

    Raises:
        ValueError: the text is not such a URL.
    """
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        is_https = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_https = False
    if not is_https:
        raise ValueError(f"{text!r} is no https URL: without TLS there are no handshakes")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def probe_origin(
    project: ScrapySettings, options: ProbeOptions, observer: ProbeObserver
) -> ProbeReport:
    """Make handshakes with an origin until it is clear how many it takes, and why others fail.

    Args:
        project: settings of a project, or Scrapy's defaults outside of one.

    Raises:
        ProbeRejectedError: curl_cffi does not know the browser, or libcurl rejects the URL.
        ValueError: a setting is wrong.
    """
    crawler = Crawler(Spider, project.copy())
    load_addons(crawler)
    settings = Settings.load(crawler.settings)
    given = _profile(options, settings)
    return asyncio.run(_probe(options, given, settings.python, observer))


def _profile(options: ProbeOptions, settings: Settings) -> Profile:
    request = Request(options.url, meta={"proxy": options.proxy} if options.proxy else {})
    browser: dict[str, Any] = (
        {} if options.impersonate is None else {"impersonate": options.impersonate}
    )
    installed = load_installed_browsers()
    return replace(make_profile(request, browser, settings, installed), once=True)


def _without_proxy(profile: Profile) -> Profile:
    return replace(profile, proxy=None, proxy_user=None, proxy_password=None, proxy_headers=[])


def _as_browser(profile: Profile, target: str) -> Profile:
    return replace(
        profile,
        impersonate=target,
        fingerprint=None,
        ja3=None,
        akamai=None,
        perk=None,
        extra_fp=None,
    )


def _choose_browsers(given: Profile) -> ProbeBrowsers:
    is_firefox = (given.impersonate or "").startswith(_OTHER_TARGET)
    return ProbeBrowsers(
        given=given.impersonate,
        small_hello=_SMALL_HELLO_TARGET,
        other=_THIRD_TARGET if is_firefox else _OTHER_TARGET,
    )


async def _probe(
    options: ProbeOptions, given: Profile, python: str | None, observer: ProbeObserver
) -> ProbeReport:
    browsers = _choose_browsers(given)
    profiles = {
        ProbeVariant.GIVEN: given,
        ProbeVariant.DIRECT: _without_proxy(given),
        ProbeVariant.SMALL_HELLO: _as_browser(given, browsers.small_hello),
        ProbeVariant.OTHER_BROWSER: _as_browser(given, browsers.other),
    }
    hello_bytes: dict[ProbeVariant, int | None] = {}
    steps: list[Step] = []
    start = start_prober(
        options.url, options.timeout_seconds, given, options.concurrency, python=python
    )
    try:
        async with start as prober:
            for variant, profile in profiles.items():
                if variant is not ProbeVariant.DIRECT:
                    hello_bytes[variant] = await prober.measure_hello(_without_proxy(profile))
            bounds = Bounds(
                options.handshakes,
                options.concurrency,
                has_proxy=given.proxy is not None,
                hello_bytes=hello_bytes[ProbeVariant.GIVEN],
            )
            await _follow_plan(bounds, prober, profiles, observer, steps)
            speaks_http = may_be_no_tls(steps) and await prober.speaks_http(given)
        has_login = given.proxy_user is not None
        judgement = judge(steps, browsers, speaks_http=speaks_http, has_login=has_login)
    except WorkerFailedError as error:
        judgement = judge_without_worker(str(error))
    origin = origin_of(Request(options.url))
    return ProbeReport(origin, given.proxy, browsers, steps, judgement, hello_bytes)


async def _follow_plan(
    bounds: Bounds,
    prober: Prober,
    profiles: dict[ProbeVariant, Profile],
    observer: ProbeObserver,
    steps: list[Step],
) -> None:
    """Run the steps of the plan, and append each to the list."""
    deadline = asyncio.get_running_loop().time() + _MAX_DURATION_SECONDS
    plan = plan_steps(bounds)
    with contextlib.suppress(StopIteration):
        planned = next(plan)
        while True:
            observer.on_step(planned)
            profile = profiles[planned.variant]
            step = await prober.measure(planned, profile, deadline, observer.on_handshake)
            steps.append(step)
            planned = plan.send(step)

"""`scrapy curlsafe probe URL`: how many handshakes at once an origin takes, and why some fail."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from scrapy import Request, Spider
from scrapy.addons import AddonManager
from scrapy.crawler import Crawler
from scrapy.settings import Settings as ScrapySettings

from ..identity import make_profile, origin_of
from ..settings import Settings
from ..wire import Profile
from .handshakes import Handshakes, WorkersError
from .plan import Bounds, plan
from .steps import Route, Step, Wanted
from .verdict import Browsers, Judgement, judge, no_worker

# curl_cffi targets whose ClientHello has about 500 bytes, and 1,800.
_SMALL, _OTHER, _THIRD = "chrome120", "firefox", "chrome"
# Seconds after which no handshake is begun.
_LONGEST = 180.0
_LEAST_HANDSHAKES = 200
_PER_CONCURRENCY = 4


@dataclass(frozen=True)
class Options:
    """
    Attributes:
        url: an https URL.
        concurrency: the most handshakes at once.
        handshakes: the most in all.
        timeout: seconds for each.
        impersonate: a curl_cffi target; None for what the settings say.
        proxy: URL of a proxy, with its user and password if it has some.
    """

    url: str
    concurrency: int = 50
    handshakes: int = _LEAST_HANDSHAKES
    timeout: float = 10.0
    impersonate: str | None = None
    proxy: str | None = None


@dataclass(frozen=True)
class Report:
    """
    Attributes:
        origin: scheme, host and port of the URL.
        proxy: of the URL's, without user and password.
        hellos: bytes of the ClientHello that each route sends; None if unknown.
    """

    origin: str
    proxy: str | None
    browsers: Browsers
    steps: list[Step]
    judgement: Judgement
    hellos: dict[Route, int | None]


class Watcher:
    """Is told how the probe goes."""

    def on_step(self, wanted: Wanted) -> None:
        """It begins."""

    def on_made(self) -> None:
        """A handshake has ended."""


def default_handshakes(concurrency: int) -> int:
    return max(_LEAST_HANDSHAKES, _PER_CONCURRENCY * concurrency)


def parse_url(text: str) -> str:
    """An https URL, also where the text has no scheme.

    Raises:
        ValueError: it is none.
    """
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError(f"{text!r} is no https URL: without TLS there are no handshakes")
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def probe(project: ScrapySettings, options: Options, watcher: Watcher) -> Report:
    """
    Args:
        project: the settings of a project, or Scrapy's own outside of one.

    Raises:
        RequestError: there is no such browser, or no such URL.
        ValueError: a setting is wrong.
    """
    crawler = Crawler(Spider, project.copy())
    AddonManager(crawler).load_settings(crawler.settings)
    given = _profile(options, Settings.load(crawler.settings))
    return asyncio.run(_probe(options, given, watcher))


def _profile(options: Options, settings: Settings) -> Profile:
    request = Request(options.url, meta={"proxy": options.proxy} if options.proxy else {})
    browser: dict[str, Any] = (
        {} if options.impersonate is None else {"impersonate": options.impersonate}
    )
    return replace(make_profile(request, browser, settings), once=True)


def _without_proxy(profile: Profile) -> Profile:
    return replace(profile, proxy=None, proxy_user=None, proxy_password=None, proxy_headers=[])


def _as_browser(profile: Profile, target: str) -> Profile:
    return replace(
        profile, impersonate=target, fingerprint=None, ja3=None, akamai=None, extra_fp=None
    )


async def _probe(options: Options, given: Profile, watcher: Watcher) -> Report:
    other = _THIRD if (given.impersonate or "").startswith(_OTHER) else _OTHER
    browsers = Browsers(given.impersonate, _SMALL, other)
    profiles = {
        Route.GIVEN: given,
        Route.DIRECT: _without_proxy(given),
        Route.SMALL: _as_browser(given, _SMALL),
        Route.OTHER: _as_browser(given, other),
    }
    hellos: dict[Route, int | None] = {}
    steps: list[Step] = []
    handshakes = Handshakes(options.url, options.timeout)
    deadline = asyncio.get_running_loop().time() + _LONGEST
    try:
        async with handshakes.workers(given, options.concurrency):
            for route in (Route.GIVEN, Route.SMALL, Route.OTHER):
                hellos[route] = await handshakes.hello_size(_without_proxy(profiles[route]))
            bounds = Bounds(
                options.handshakes,
                options.concurrency,
                has_proxy=given.proxy is not None,
                hello=hellos[Route.GIVEN],
            )
            steps_wanted = plan(bounds)
            with contextlib.suppress(StopIteration):
                wanted = next(steps_wanted)
                while True:
                    watcher.on_step(wanted)
                    profile = profiles[wanted.route]
                    step = await handshakes.measure(wanted, profile, deadline, watcher.on_made)
                    steps.append(step)
                    wanted = steps_wanted.send(step)
        judgement = judge(steps, browsers)
    except WorkersError as error:
        judgement = no_worker(str(error))
    origin = origin_of(Request(options.url))
    return Report(origin, given.proxy, browsers, steps, judgement, hellos)

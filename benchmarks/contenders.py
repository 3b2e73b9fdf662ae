"""Download handlers to compare, each enabled as its own documentation says."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

OURS = "scrapy-curl-safe"


@dataclass(frozen=True)
class Contender:
    """A way in which a crawl uses a download handler.

    Args:
        distribution: the name of its package, which is also its name here.
        handler: the import path, or None if a setting turns it on.
        settings: the crawl's other settings.
        meta: of each request.
        chrome: whether it should look like Chrome.
    """

    distribution: str
    handler: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    chrome: bool = True

    def all_settings(self) -> dict[str, Any]:
        if self.handler is None:
            return self.settings
        return {"DOWNLOAD_HANDLERS": {"https": self.handler}, **self.settings}

    def version(self) -> str | None:
        """Return the installed version; None if it is not installed."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None

    def unmet(self) -> list[str]:
        """Return the required versions of Scrapy and curl_cffi, if others are installed."""
        found = []
        for line in requires(self.distribution) or ():
            wanted = Requirement(line)
            if wanted.name.lower().replace("_", "-") not in ("scrapy", "curl-cffi"):
                continue
            installed = version(wanted.name)
            if not wanted.specifier.contains(installed, prereleases=True):
                found.append(f"{wanted.name}{wanted.specifier}, not {installed}")
        return found


CONTENDERS = (
    Contender(OURS, settings={"ADDONS": {"scrapy_curl_safe.Addon": 500}}),
    Contender(
        "scrapy",
        "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
        chrome=False,
    ),
    Contender(
        "scrapy-download-handlers-incubator",
        "scrapy_download_handlers_incubator.CurlCffiDownloadHandler",
        # Scrapy's headers would replace those of the browser.
        settings={
            "CURL_CFFI_HTTP_VERSION": "v2tls",
            "USER_AGENT": None,
            "DEFAULT_REQUEST_HEADERS": {},
        },
        meta={"curl_cffi_impersonate": "chrome"},
    ),
    Contender(
        "scrapy-impersonate",
        "scrapy_impersonate.ImpersonateDownloadHandler",
        settings={"USER_AGENT": ""},
        # Like Scrapy, the others do not verify certificates by default.
        meta={"impersonate": "chrome", "impersonate_args": {"verify": False}},
    ),
    Contender(
        "scrapy-curl",
        "scrapy_curl.CurlDownloadHandler",
        meta={"curl": {"impersonate": "chrome"}},
    ),
    Contender(
        "scrapy-curl-cffi",
        "scrapy_curl_cffi.handlers.CurlCffiDownloadHandler",
        settings={
            "DOWNLOADER_MIDDLEWARES": {
                "scrapy_curl_cffi.middlewares.CurlCffiMiddleware": 200,
                "scrapy_curl_cffi.middlewares.DefaultHeadersMiddleware": 400,
                "scrapy_curl_cffi.middlewares.UserAgentMiddleware": 500,
                "scrapy.downloadermiddlewares.defaultheaders.DefaultHeadersMiddleware": None,
                "scrapy.downloadermiddlewares.useragent.UserAgentMiddleware": None,
            }
        },
        meta={"curl_cffi_options": {"impersonate": "chrome"}},
    ),
)

LEFT_OUT = {
    "scrapy-stealth": "it is a downloader middleware that downloads in threads, not a download "
    "handler, and it asks PyPI for a newer version whenever a crawl starts",
}


def add_handlers(parser: ArgumentParser) -> None:
    """Add the option that says which handlers are compared."""
    names = [one.distribution for one in CONTENDERS]
    parser.add_argument("--handlers", nargs="+", choices=names, default=names, metavar="NAME")


def in_turn(contenders: Sequence[Contender], number: int) -> list[Contender]:
    """Return the order of a round. Each begins with a different one, so that other load on the
    machine hits them all."""
    first = number % max(1, len(contenders))
    return [*contenders[first:], *contenders[:first]]


def installed(names: Sequence[str]) -> Iterator[Contender]:
    """Return those of these names that are installed, and say on stderr what is left out."""
    for name, reason in LEFT_OUT.items():
        _say(f"{name} is left out: {reason}")
    for contender in CONTENDERS:
        if contender.distribution not in names:
            continue
        if contender.version() is None:
            _say(f"{contender.distribution} is skipped: it is not installed")
            continue
        for wanted in contender.unmet():
            _say(f"{contender.distribution} asks for {wanted}")
        yield contender


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

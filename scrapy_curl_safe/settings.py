"""Reads every setting once, and checks it at the start of the crawl."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from scrapy.settings import BaseSettings

from ._extras import check_opentelemetry
from ._platform.system import system
from ._pool.worker_count import default_worker_count
from .session_settings import SessionSettings, parse_sessions

HTTP_VERSIONS = ("v1", "v2", "v2tls", "v2_prior_knowledge", "v3", "v3only")
# Aliases: each stands for the newest such browser that the installed curl_cffi has.
_BROWSERS = ("chrome", "firefox", "safari")
BROWSER_HEADERS = ("context", "static", "none")
_IMPERSONATES = "the name of a curl_cffi target, a fingerprint as a dict, or None"
_TLS_VERSIONS = ("TLSv1.0", "TLSv1.1", "TLSv1.2", "TLSv1.3")


# Several components read the settings of a crawl, and the limits of a container are in files.
@lru_cache(1)
def default_workers() -> int:
    """Return min(4, max(2, CPUs)), counting the CPUs that this process may use; fewer if the limits
    of a container allow no more."""
    return default_worker_count(system.usable_cpus(), system.group_limits()).count


@dataclass(frozen=True)
class Settings:
    """The settings of one crawl: this package's own, and those of Scrapy that it follows.

    Each attribute has the name of its setting, without `CURL_SAFE_`. Durations are in seconds,
    sizes in bytes unless the name says MB. Scrapy's settings have the meaning that Scrapy
    documents.

    Attributes:
        workers: worker processes; by default `min(4, max(2, CPUs))`, or fewer if the memory, CPU
            quota or number of processes of a [container](deploy.md) allow no more
        impersonate: the browser to impersonate: a curl_cffi target, a fingerprint, or `None` for
            plain curl
        browser_headers: which of the browser's headers a request carries: `"context"`, those that
            the browser would send for it; `"static"`, a fixed set; `"none"`
        browsers: the browsers that `RandomBrowserMiddleware` and sessions pick from
        http_version: `None` to let the TLS negotiation decide, or one of curl_cffi's names
        worker_max_requests: replace a worker after this many requests; 0 for never
        worker_max_memory_mb: replace a worker whose resident memory exceeds this; 0 for never
        worker_hang_timeout: seconds without a heartbeat before a worker is killed; a starting
            worker has at least 60
        handshake_retry_times: retries of a request whose handshake failed; safe for every method,
            since no byte of the request was sent
        handshake_backoff: longest wait before the first such retry, in seconds; it doubles, with
            full jitter, while the origin's handshakes keep failing
        handshake_backoff_max: longest wait, in seconds
        adaptive: whether to limit the new connections to an origin whose handshakes fail
        adaptive_floor: the lowest such limit
        monitor_interval: seconds between health lines; 0 for a single line at the end
        monitor_json: whether the health line is a [JSON object](monitoring.md#as-json), for
            programs that collect logs
        progress: whether to show the crawl [in the terminal](monitoring.md#in-the-terminal), below
            the log
        failure_rate_warning: log a WARNING above this share of failed handshakes in an interval
        failure_rate_close: close the spider above this share, with the reason
            `curl_safe_handshake_failures`; 0 for never
        prometheus_port: the port of 127.0.0.1 on which the monitor serves metrics to Prometheus
        opentelemetry: whether OpenTelemetry gets a span of each download, and the metrics
        report: the file that a report of the crawl is written to: a page to look at, if its name
            ends in `.html`, or with `.json` the [data of one](report.md)
        decode: whether the workers decode compressed bodies, which otherwise the crawler does
        python: the interpreter that runs the workers; `None` for `sys.executable`. Frozen programs
            must set it
        files_dir: where bodies go whose `meta["curl_safe"]["file"]` is `True` or a relative path
        sessions: `None`, or a dict that turns sessions on; [Sessions](sessions.md) has its keys
        compat: whether to understand the meta keys of four other handlers as well
    """

    workers: int
    impersonate: str | dict[str, Any] | None
    browser_headers: str
    browsers: tuple[str | dict[str, Any], ...]
    http_version: str | None
    worker_max_requests: int
    worker_max_memory_mb: int
    worker_hang_timeout: float
    handshake_retry_times: int
    handshake_backoff: float
    handshake_backoff_max: float
    adaptive: bool
    adaptive_floor: int
    monitor_interval: float
    monitor_json: bool
    progress: bool
    failure_rate_warning: float
    failure_rate_close: float
    prometheus_port: int | None
    opentelemetry: bool
    report: str | None
    decode: bool
    python: str | None
    files_dir: str | None
    sessions: SessionSettings | None
    compat: bool
    concurrent_requests: int
    download_timeout: float
    download_maxsize: int
    download_warnsize: int
    download_fail_on_dataloss: bool
    download_bind_address: tuple[str, int] | None
    download_verify_certificates: bool
    download_tls_min_version: str | None
    download_tls_max_version: str | None
    downloader_client_tls_ciphers: str | None
    downloader_client_tls_verbose_logging: bool
    scraper_slot_max_active_size: int
    retry_enabled: bool
    retry_times: int
    retry_priority_adjust: int

    @classmethod
    def load(cls, settings: BaseSettings) -> Settings:
        """Read the settings.

        Raises:
            ValueError: a setting is wrong. The message has its name, its value and what it takes.
        """
        read = _Reader(settings)
        backoff = read.number("CURL_SAFE_HANDSHAKE_BACKOFF", 0.1)
        return cls(
            workers=read.whole("CURL_SAFE_WORKERS", default_workers(), 1, 64),
            impersonate=read.checked("CURL_SAFE_IMPERSONATE", "chrome", parse_impersonate),
            browser_headers=read.checked("CURL_SAFE_BROWSER_HEADERS", "context", _browser_headers),
            browsers=read.checked("CURL_SAFE_BROWSERS", _BROWSERS, parse_browsers),
            http_version=read.checked("CURL_SAFE_HTTP_VERSION", None, parse_http_version),
            worker_max_requests=read.whole("CURL_SAFE_WORKER_MAX_REQUESTS", 0),
            worker_max_memory_mb=read.whole("CURL_SAFE_WORKER_MAX_MEMORY_MB", 0),
            worker_hang_timeout=read.number("CURL_SAFE_WORKER_HANG_TIMEOUT", 30, 1),
            handshake_retry_times=read.whole("CURL_SAFE_HANDSHAKE_RETRY_TIMES", 10),
            handshake_backoff=backoff,
            handshake_backoff_max=read.number("CURL_SAFE_HANDSHAKE_BACKOFF_MAX", 5.0, backoff),
            adaptive=read.flag("CURL_SAFE_ADAPTIVE", True),
            adaptive_floor=read.whole("CURL_SAFE_ADAPTIVE_FLOOR", 3, 1),
            monitor_interval=read.number("CURL_SAFE_MONITOR_INTERVAL", 60),
            monitor_json=read.flag("CURL_SAFE_MONITOR_JSON", False),
            progress=read.flag("CURL_SAFE_PROGRESS", False),
            failure_rate_warning=read.number("CURL_SAFE_FAILURE_RATE_WARNING", 0.05, 0, 1),
            failure_rate_close=read.number("CURL_SAFE_FAILURE_RATE_CLOSE", 0, 0, 1),
            prometheus_port=read.checked("CURL_SAFE_PROMETHEUS_PORT", None, _port),
            opentelemetry=read.opentelemetry("CURL_SAFE_OPENTELEMETRY"),
            report=read.checked("CURL_SAFE_REPORT", None, _report),
            decode=read.flag("CURL_SAFE_DECODE", True),
            python=read.checked("CURL_SAFE_PYTHON", None, _path),
            files_dir=read.checked("CURL_SAFE_FILES_DIR", None, _directory),
            sessions=parse_sessions(read.raw("CURL_SAFE_SESSIONS"), parse_browsers),
            compat=read.flag("CURL_SAFE_COMPAT", False),
            concurrent_requests=read.whole("CONCURRENT_REQUESTS", 16),
            download_timeout=read.number("DOWNLOAD_TIMEOUT", 180),
            download_maxsize=read.whole("DOWNLOAD_MAXSIZE", 0),
            download_warnsize=read.whole("DOWNLOAD_WARNSIZE", 0),
            download_fail_on_dataloss=read.flag("DOWNLOAD_FAIL_ON_DATALOSS", True),
            download_bind_address=read.checked("DOWNLOAD_BIND_ADDRESS", None, parse_bind_address),
            download_verify_certificates=read.flag("DOWNLOAD_VERIFY_CERTIFICATES", False),
            download_tls_min_version=read.tls_version("DOWNLOAD_TLS_MIN_VERSION"),
            download_tls_max_version=read.tls_version("DOWNLOAD_TLS_MAX_VERSION"),
            downloader_client_tls_ciphers=read.checked(
                "DOWNLOADER_CLIENT_TLS_CIPHERS", None, _tls_ciphers
            ),
            downloader_client_tls_verbose_logging=read.flag(
                "DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING", False
            ),
            scraper_slot_max_active_size=read.whole("SCRAPER_SLOT_MAX_ACTIVE_SIZE", 5_000_000),
            retry_enabled=read.flag("RETRY_ENABLED", True),
            retry_times=read.whole("RETRY_TIMES", 2),
            retry_priority_adjust=settings.getint("RETRY_PRIORITY_ADJUST", -1),
        )


class _Reader:
    """Reads values from any source: a command line gives strings, a settings module anything."""

    def __init__(self, settings: BaseSettings) -> None:
        self._settings = settings

    def raw(self, name: str) -> Any:
        return self._settings[name]

    def checked(self, name: str, default: Any, check: Callable[[Any], Any]) -> Any:
        # BaseSettings.get() would return the default for a value of None as well.
        value = self._settings[name] if name in self._settings else default  # noqa: SIM401
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} is {value!r}: it takes {error}") from None

    def whole(self, name: str, default: int, least: int = 0, most: int | None = None) -> int:
        def check(value: Any) -> int:
            try:
                number = value if isinstance(value, int) else int(str(value))
            except ValueError:
                number = least - 1
            if isinstance(value, bool) or number < least or (most and number > most):
                raise ValueError(f"a whole number {_range(least, most)}")
            return int(number)

        result: int = self.checked(name, default, check)
        return result

    def number(
        self, name: str, default: float, least: float = 0, most: float | None = None
    ) -> float:
        def check(value: Any) -> float:
            try:
                number = math.nan if isinstance(value, bool) else float(value)
            except (TypeError, ValueError):
                number = math.nan
            if not (least <= number <= (math.inf if most is None else most)) or number == math.inf:
                raise ValueError(f"a number {_range(least, most)}")
            return number

        result: float = self.checked(name, default, check)
        return result

    def flag(self, name: str, default: bool) -> bool:
        try:
            return self._settings.getbool(name, default)
        except (TypeError, ValueError):
            value = self._settings.get(name)
            raise ValueError(f"{name} is {value!r}: it takes True or False") from None

    def opentelemetry(self, name: str) -> bool:
        is_on = self.flag(name, False)
        if is_on:
            check_opentelemetry(name)
        return is_on

    def tls_version(self, name: str) -> str | None:
        value: str | None = self._settings[name]
        if value is None or value in _TLS_VERSIONS:
            return value
        # The first words are Scrapy's.
        takes = ", ".join(_TLS_VERSIONS)
        raise ValueError(f"Unknown {name} value: {value}: it takes one of {takes}, or None")


def _range(least: float, most: float | None) -> str:
    return f"of {least:g} or more" if most is None else f"from {least:g} to {most:g}"


def parse_impersonate(value: Any) -> str | dict[str, Any] | None:
    """Check a browser. Only a worker can tell whether curl_cffi knows a target, since the crawler
    never loads curl_cffi.

    Raises:
        ValueError: says what the setting takes.
    """
    if value in (None, "", "None"):
        return None
    if isinstance(value, str):
        browser: str | dict[str, Any] = _from_json(value, "{", value)
        return browser
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    # BaseSettings wraps a dict of a settings module in a BaseSettings.
    if isinstance(value, BaseSettings):
        return value.copy_to_dict()
    raise ValueError(_IMPERSONATES)


def _from_json(text: str, opening: str, otherwise: Any) -> Any:
    """Return the value of a command line that begins like a dict or a list."""
    if not text.lstrip().startswith(opening):
        return otherwise
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{_IMPERSONATES}; as text, only JSON ({error})") from None


def _browser_headers(value: Any) -> str:
    if value in BROWSER_HEADERS:
        return str(value)
    raise ValueError(f"one of {', '.join(BROWSER_HEADERS)}")


def parse_browsers(value: Any) -> tuple[str | dict[str, Any], ...]:
    """Check a list of browsers.

    Raises:
        ValueError: says what the setting takes.
    """
    browsers = value
    if isinstance(value, str):
        browsers = _from_json(value, "[", [name.strip() for name in value.split(",")])
    if isinstance(browsers, (list, tuple)) and browsers and all(browsers):
        with contextlib.suppress(ValueError):
            return tuple(parse_impersonate(browser) or "" for browser in browsers)
    raise ValueError("a list of what CURL_SAFE_IMPERSONATE takes, None apart")


def parse_http_version(value: Any) -> str | None:
    """Check an HTTP version, under curl_cffi's names.

    Raises:
        ValueError: says what the setting takes.
    """
    if value in (None, "", "None"):
        return None
    if isinstance(value, str) and value in HTTP_VERSIONS:
        return value
    raise ValueError(f"one of {', '.join(HTTP_VERSIONS)}, or None")


def parse_bind_address(value: Any) -> tuple[str, int] | None:
    """Check a local address, with or without a port.

    Raises:
        ValueError: says what the setting takes.
    """
    if value in (None, ""):
        return None
    try:
        host, port = (value, 0) if isinstance(value, (bytes, str)) else value
        # Scrapy takes bytes, too.
        host = host.decode() if isinstance(host, bytes) else host
        ipaddress.ip_address(host)
        return host, _port(port or None) or 0
    except (TypeError, ValueError):
        raise ValueError("an IP address, or a tuple of an IP address and a port") from None


def _tls_ciphers(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        # A list relative to OpenSSL's defaults ("DEFAULT:!DH", "DEFAULT@SECLEVEL=1") is ignored:
        # the browser's ciphers apply.
        return None if not value or value.startswith("DEFAULT") else value
    raise ValueError("a list of ciphers as OpenSSL takes it, or None")


def _path(value: Any) -> str | None:
    if value in (None, "", "None"):
        return None
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    raise ValueError("the path of a Python interpreter, or None")


def _directory(value: Any) -> str | None:
    if value in (None, "", "None"):
        return None
    if isinstance(value, (str, os.PathLike)):
        return os.path.abspath(value)
    raise ValueError("the path of a directory, or None")


def _report(value: Any) -> str | None:
    if value in (None, "", "None"):
        return None
    if isinstance(value, (str, os.PathLike)) and os.fspath(value).endswith((".html", ".json")):
        return os.path.abspath(value)
    raise ValueError("the path of a file that ends in .html or .json, or None")


def _port(value: Any) -> int | None:
    if value in (None, "", "None"):
        return None
    try:
        port = -1 if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        port = -1
    if not 0 < port < 65536:
        raise ValueError("a port from 1 to 65535, or None")
    return port

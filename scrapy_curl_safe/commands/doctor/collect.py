"""Collects what the doctor wants to know of a project and of this machine."""

from __future__ import annotations

import os
import resource
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.settings import BaseSettings
from scrapy.settings import Settings as ScrapySettings
from scrapy.utils.misc import load_object

from ..._crawl.scrapy_api import load_addons
from ...handler import CurlSafeDownloadHandler
from ...settings import Settings
from .checks import OUR_HANDLER
from .facts import Facts
from .worker_trial import WorkerTrial, try_worker

_PROC = Path("/proc/sys/net")
_NO_LIMIT = 2**31


def collect_facts(project: ScrapySettings) -> Facts:
    """Look at everything. This starts a worker and stops it.

    Args:
        project: settings of a project, or Scrapy's own outside of one.
    """
    crawler = Crawler(Spider, project.copy())
    error = None
    try:
        load_addons(crawler)
        settings = Settings.load(crawler.settings)
        trial = try_worker(settings)
        workers, adaptive = settings.workers, settings.adaptive
    except ValueError as wrong:
        error, trial, workers, adaptive = str(wrong), WorkerTrial(), 0, False
    loaded = crawler.settings
    return Facts(
        concurrent_requests=loaded.getint("CONCURRENT_REQUESTS"),
        concurrent_items=loaded.getint("CONCURRENT_ITEMS"),
        workers=workers,
        reactor=str(loaded.get("TWISTED_REACTOR") or ""),
        autothrottle=loaded.getbool("AUTOTHROTTLE_ENABLED"),
        adaptive=adaptive,
        settings_error=error,
        open_files=_open_files(),
        ports=_numbers("ipv4/ip_local_port_range", 2),
        tw_reuse=_number("ipv4/tcp_tw_reuse"),
        fin_timeout=_number("ipv4/tcp_fin_timeout"),
        conntrack=_conntrack(),
        memory=_memory_mb(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        versions=_versions(trial.libcurl),
        handlers=_handlers(loaded),
        middlewares=_components(loaded, "DOWNLOADER_MIDDLEWARES"),
        extensions=_components(loaded, "EXTENSIONS"),
        worker_error=trial.worker_error,
        target_error=trial.target_error,
        handshake_error=trial.handshake_error,
    )


# The project


def _handlers(settings: BaseSettings) -> dict[str, str | None]:
    handlers = settings.getwithbase("DOWNLOAD_HANDLERS")
    return {scheme: _handler_path(handlers.get(scheme)) for scheme in ("http", "https")}


def _handler_path(component: Any) -> str | None:
    """Return the path of a handler's class; that of ours for a class that is derived from it.

    Args:
        component: the class, or its path.
    """
    if component is None:
        return None
    handler = load_object(component)
    if isinstance(handler, type) and issubclass(handler, CurlSafeDownloadHandler):
        return OUR_HANDLER
    return f"{handler.__module__}.{handler.__qualname__}"


def _components(settings: BaseSettings, name: str) -> dict[str, int]:
    components: Mapping[Any, Any] = settings.getwithbase(name)
    return {
        component if isinstance(component, str) else f"{component.__module__}.{component.__name__}":
        int(order)
        for component, order in components.items()
        if order is not None
    }  # fmt: skip


def _versions(libcurl: str | None) -> dict[str, str]:
    found = {"libcurl": libcurl} if libcurl else {}
    for package in ("Scrapy", "Twisted", "curl_cffi"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


# The machine


def _open_files() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return _NO_LIMIT if hard == resource.RLIM_INFINITY else hard


def _numbers(path: str, count: int) -> Any:
    """Read a file of so many numbers; return None if there is no such file."""
    try:
        numbers = tuple(map(int, (_PROC / path).read_text().split()))
    except (OSError, ValueError):
        return None
    return numbers if len(numbers) == count else None


def _number(path: str) -> int | None:
    numbers = _numbers(path, 1)
    return None if numbers is None else int(numbers[0])


def _conntrack() -> tuple[int, int] | None:
    count = _number("netfilter/nf_conntrack_count")
    most = _number("netfilter/nf_conntrack_max")
    return None if count is None or most is None else (count, most)


def _memory_mb() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = {name: text for name, _, text in (line.partition(":") for line in lines)}
    kilobytes = values.get("MemAvailable", "").split()
    return int(kilobytes[0]) // 1024 if kilobytes else None

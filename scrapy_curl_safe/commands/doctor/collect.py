"""Collects what the doctor looks at, and draws what it found."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from scrapy import Spider
from scrapy.addons import AddonManager
from scrapy.crawler import Crawler
from scrapy.settings import BaseSettings
from scrapy.settings import Settings as ScrapySettings
from scrapy.utils.misc import load_object

from ..handler import CurlSafeDownloadHandler
from ..settings import Settings
from .checks import OURS, Facts, Finding, Status
from .trial import Trial, try_worker

_PROC = Path("/proc/sys/net")
_STYLES = {Status.OK: "green", Status.WARNING: "yellow", Status.PROBLEM: "red"}


def collect(project: ScrapySettings) -> Facts:
    """
    Args:
        project: the settings of a project, or Scrapy's own outside of one.
    """
    crawler = Crawler(Spider, project.copy())
    error = None
    try:
        AddonManager(crawler).load_settings(crawler.settings)
        settings = Settings.load(crawler.settings)
        trial = try_worker(settings)
        workers, adaptive = settings.workers, settings.adaptive
    except ValueError as wrong:
        error, trial, workers, adaptive = str(wrong), Trial(), 0, False
    found = crawler.settings
    return Facts(
        concurrent_requests=found.getint("CONCURRENT_REQUESTS"),
        concurrent_items=found.getint("CONCURRENT_ITEMS"),
        workers=workers,
        reactor=str(found.get("TWISTED_REACTOR") or ""),
        autothrottle=found.getbool("AUTOTHROTTLE_ENABLED"),
        adaptive=adaptive,
        settings_error=error,
        open_files=_open_files(),
        ports=_numbers("ipv4/ip_local_port_range", 2),
        tw_reuse=_number("ipv4/tcp_tw_reuse"),
        fin_timeout=_number("ipv4/tcp_fin_timeout"),
        conntrack=_conntrack(),
        memory=_memory(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        versions=_versions(trial.libcurl),
        handlers=_handlers(found),
        middlewares=_components(found, "DOWNLOADER_MIDDLEWARES"),
        extensions=_components(found, "EXTENSIONS"),
        worker_error=trial.worker_error,
        target_error=trial.target_error,
        handshake_error=trial.handshake_error,
    )


def draw(findings: list[Finding], console: Console) -> None:
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "found", "why it matters, and what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        style = _STYLES[finding.status]
        advice = Text(finding.why, style="dim" if finding.status is Status.OK else "")
        if finding.fix:
            advice.append(f"\n{finding.fix}", style="bold")
        table.add_row(Text(finding.status.value, style), finding.check, finding.value, advice)
    console.print(table)
    counts = {status: sum(f.status is status for f in findings) for status in Status}
    console.print(f"{counts[Status.PROBLEM]} problems, {counts[Status.WARNING]} warnings")


def as_json(findings: list[Finding]) -> str:
    return json.dumps({"checks": [asdict(finding) for finding in findings]}, indent=2)


# The project


def _handlers(settings: BaseSettings) -> dict[str, str | None]:
    handlers = settings.getwithbase("DOWNLOAD_HANDLERS")
    return {scheme: _name(handlers.get(scheme)) for scheme in ("http", "https")}


def _name(component: Any) -> str | None:
    """Of a class, or of its path: one that is derived from ours goes by our name."""
    if component is None:
        return None
    loaded = load_object(component)
    if isinstance(loaded, type) and issubclass(loaded, CurlSafeDownloadHandler):
        return f"{OURS}.{CurlSafeDownloadHandler.__name__}"
    return f"{loaded.__module__}.{loaded.__qualname__}"


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
    return 2**31 if hard == resource.RLIM_INFINITY else hard


def _numbers(path: str, count: int) -> Any:
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


def _memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    values = {name: text for name, _, text in (line.partition(":") for line in lines)}
    kilobytes = values.get("MemAvailable", "").split()
    return int(kilobytes[0]) // 1024 if kilobytes else None

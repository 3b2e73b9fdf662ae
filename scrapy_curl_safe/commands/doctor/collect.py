"""Collects the facts that the doctor needs about a project and this machine."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.pipelines.media import MediaPipeline
from scrapy.settings import BaseSettings
from scrapy.settings import Settings as ScrapySettings
from scrapy.utils.conf import build_component_list
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from ..._crawl.components import is_derived
from ..._crawl.other_handlers import BY_ADDON, SCHEMES, where_set
from ..._crawl.scrapy_api import load_addons
from ..._crawl.unknown_names import unknown_settings
from ..._platform.cgroups import GroupLimit
from ..._platform.system import system
from ...addon import Addon
from ...handler import CurlSafeDownloadHandler
from ...settings import Settings
from .checks import OUR_HANDLER
from .facts import Facts
from .worker_trial import WorkerTrial, try_worker

_NO_LIMIT = 2**31


def collect_facts(project: ScrapySettings, spider: type[Spider] = Spider) -> Facts:
    """Collect all facts. This starts a worker and stops it.

    Args:
        project: settings of a project, or Scrapy's defaults outside of one.
        spider: whose own settings count, too.
    """
    crawler = Crawler(spider, project.copy())
    # Of the add-ons' settings nobody can tell afterwards who has set them.
    set_before = crawler.settings.getdict("DOWNLOAD_HANDLERS").keys()
    setters = {scheme: where_set(crawler.settings, scheme) for scheme in set_before}
    error = None
    try:
        load_addons(crawler)
        settings = Settings.load(crawler.settings)
        headers = crawler.settings.getdict("DEFAULT_REQUEST_HEADERS")
        if crawler.settings["USER_AGENT"]:
            headers.setdefault("User-Agent", crawler.settings["USER_AGENT"])
        trial = try_worker(settings, headers)
        workers, adaptive = settings.workers, settings.adaptive
        browser_headers = settings.browser_headers
    except ValueError as wrong:
        error, trial, workers, adaptive = str(wrong), WorkerTrial(), 0, False
        browser_headers = ""
    loaded = crawler.settings
    network = system.network_limits()
    limits = system.group_limits()
    return Facts(
        concurrent_requests=loaded.getint("CONCURRENT_REQUESTS"),
        concurrent_items=loaded.getint("CONCURRENT_ITEMS"),
        pipelines=_pipelines(loaded),
        workers=workers,
        reactor=str(loaded.get("TWISTED_REACTOR") or ""),
        autothrottle=loaded.getbool("AUTOTHROTTLE_ENABLED"),
        adaptive=adaptive,
        browser_headers=browser_headers,
        unknown_settings=dict(unknown_settings(loaded)),
        settings_error=error,
        open_files=min(system.max_descriptors(), _NO_LIMIT),
        ports=network.ports,
        tw_reuse=network.tw_reuse,
        fin_timeout=network.fin_timeout,
        time_wait=network.time_wait,
        conntrack=network.conntrack,
        memory=system.available_megabytes(),
        cpus=system.usable_cpus(),
        group_limits=limits,
        # A crawl would have what this process has.
        group_memory=_left(limits.memory, system.resident_megabytes()),
        group_tasks=_left(limits.tasks, threading.active_count()),
        system_name=system.NAME,
        lacking=system.LACKING,
        fixes=system.FIXES,
        browser=trial.browser,
        targets=trial.targets,
        conflict=trial.conflict,
        refusals=trial.refusals,
        missing=trial.missing,
        versions=_versions(trial),
        has_addon=Addon in map(load_object, build_component_list(loaded["ADDONS"])),
        handlers=_handlers(loaded),
        handler_setters={
            scheme: setters.get(scheme, BY_ADDON) for scheme in loaded.getdict("DOWNLOAD_HANDLERS")
        },
        middlewares=_components(loaded, "DOWNLOADER_MIDDLEWARES"),
        spider_middlewares=_components(loaded, "SPIDER_MIDDLEWARES"),
        extensions=_components(loaded, "EXTENSIONS"),
        worker_error=trial.worker_error,
        target_error=trial.target_error,
        handshake_error=trial.handshake_error,
    )


def _left(limit: GroupLimit | None, own: int) -> int | None:
    """Return how much of a limit is left, with what this process has of it."""
    if limit is None or limit.left is None:
        return None
    return int(min(limit.left + own, limit.most))


# The project


def _handlers(settings: BaseSettings) -> dict[str, str | None]:
    handlers = settings.getwithbase("DOWNLOAD_HANDLERS")
    return {scheme: _handler_path(handlers.get(scheme)) for scheme in SCHEMES}


def _handler_path(component: Any) -> str | None:
    """Return the path of a handler's class; the path of ours for a class derived from it.

    Args:
        component: the class, or its path.
    """
    if component is None:
        return None
    if is_derived(component, CurlSafeDownloadHandler):
        return OUR_HANDLER
    return global_object_name(load_object(component))


def _components(settings: BaseSettings, name: str) -> dict[str, int]:
    components: Mapping[Any, Any] = settings.getwithbase(name)
    return {
        component if isinstance(component, str) else f"{component.__module__}.{component.__name__}":
        int(order)
        for component, order in components.items()
        if order is not None
    }  # fmt: skip


def _pipelines(settings: BaseSettings) -> dict[str, bool]:
    """Return the names of the item pipelines, and whether each waits, as a coroutine can."""
    found = {}
    for component in build_component_list(settings.getwithbase("ITEM_PIPELINES")):
        pipeline = load_object(component)
        if not hasattr(pipeline, "process_item"):
            continue
        process = inspect.unwrap(pipeline.process_item)
        waits = inspect.iscoroutinefunction(process) or inspect.isgeneratorfunction(process)
        # In older versions of Scrapy, those for media return Deferreds.
        is_media = isinstance(pipeline, type) and issubclass(pipeline, MediaPipeline)
        found[getattr(pipeline, "__name__", str(component))] = waits or is_media
    return found


def _versions(trial: WorkerTrial) -> dict[str, str]:
    # curl_cffi may come from another distribution of that module, which the worker knows.
    of_worker = {"libcurl": trial.libcurl, "curl_cffi": trial.curl_cffi}
    found = {name: found for name, found in of_worker.items() if found}
    for package in ("Scrapy", "Twisted", "curl_cffi"):
        if package in found:
            continue
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

"""The one-line activation: ADDONS = {"scrapy_curl_safe.Addon": 500}."""

from __future__ import annotations

import logging

from scrapy.downloadermiddlewares.httpcompression import (
    HttpCompressionMiddleware as ScrapysCompressionMiddleware,
)
from scrapy.settings import BaseSettings, get_settings_priority
from scrapy.spidermiddlewares.referer import RefererMiddleware
from scrapy.utils.conf import build_component_list
from scrapy.utils.misc import load_object

from ._crawl.browser.referrer import DEFAULT_POLICY
from ._crawl.browser_names import check_browsers
from ._crawl.components import is_derived
from ._crawl.other_handlers import SCHEMES, other_handler, where_set
from .compression import HttpCompressionMiddleware
from .handler import CurlSafeDownloadHandler
from .initiator import BrowserRefererMiddleware, InitiatorMiddleware
from .middleware import HandshakeRetryMiddleware
from .monitor import HandshakeMonitor, LastReport
from .sessions import SessionMiddleware
from .settings import Settings

logger = logging.getLogger(__name__)

# The order of a component behind all others.
_LAST = 1_000_000


class Addon:
    """Turns on the download handler, the middlewares and the monitor, and sets the referrer policy
    of browsers.

    Existing settings take precedence: a handler for one of the schemes, another order of a
    middleware, None instead of any of the four, or another REFERRER_POLICY. A handler set by
    another add-on is an error: this package's handler would not be used, or, with a lower order in
    ADDONS, only by the other handler.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """Set the components.

        Raises:
            ValueError: a setting is wrong, or another add-on has set a download handler; Scrapy
                then does not start the crawl.
        """
        loaded = _checked(settings)
        handlers = settings.getdict("DOWNLOAD_HANDLERS")
        for scheme in SCHEMES:
            handlers.setdefault(scheme, CurlSafeDownloadHandler)
            _check_handler(settings, scheme)
        # Without a reactor Scrapy sets its own handlers with the priority of a project, below
        # which a setting of an add-on would not count.
        priority = max(
            settings.getpriority("DOWNLOAD_HANDLERS") or 0, get_settings_priority("project")
        )
        settings.set("DOWNLOAD_HANDLERS", handlers, priority)
        settings.setdefault_in_component_priority_dict(
            "DOWNLOADER_MIDDLEWARES", HandshakeRetryMiddleware, 560
        )
        if loaded.sessions is not None:
            settings.setdefault_in_component_priority_dict(
                "DOWNLOADER_MIDDLEWARES", SessionMiddleware, 585
            )
        settings.setdefault_in_component_priority_dict("EXTENSIONS", HandshakeMonitor, 0)
        settings.setdefault_in_component_priority_dict("ITEM_PIPELINES", LastReport, _LAST)
        if loaded.report is not None:
            # Other crawls need not load what collects one.
            from .report import HealthReport  # noqa: PLC0415

            settings.setdefault_in_component_priority_dict("EXTENSIONS", HealthReport, _LAST)
        if loaded.progress:
            from .progress import ProgressView  # noqa: PLC0415

            settings.setdefault_in_component_priority_dict("EXTENSIONS", ProgressView, _LAST)
        if loaded.decode:
            _take_decoded_bodies(settings)
        if loaded.browser_headers == "context":
            _note_initiators(settings)
            if settings.getpriority("REFERRER_POLICY") == get_settings_priority("default"):
                settings.set("REFERRER_POLICY", DEFAULT_POLICY, "addon")


def _checked(settings: BaseSettings) -> Settings:
    """Load the settings, and say in one line what is wrong with them: Scrapy writes a traceback."""
    try:
        loaded = Settings.load(settings)
        check_browsers(loaded)
    except ValueError as error:
        logger.error("The crawl does not start, since a setting is wrong: %s", error)
        raise ValueError(str(error)) from None
    return loaded


def _note_initiators(settings: BaseSettings) -> None:
    """Have a spider middleware note initiators: Scrapy's own for the Referer, extended, unless the
    user has placed that one or turned it off."""
    name = "SPIDER_MIDDLEWARES"
    placed = {load_object(component) for component in settings.getdict(name)}
    if (
        placed & {RefererMiddleware, InitiatorMiddleware}
        or not settings.getbool("REFERER_ENABLED")
        or not _replace_default(settings, name, RefererMiddleware, BrowserRefererMiddleware)
    ):
        settings.setdefault_in_component_priority_dict(name, InitiatorMiddleware, 750)


def _take_decoded_bodies(settings: BaseSettings) -> None:
    """Put the middleware in the place of Scrapy's, unless the user has placed that one, or another
    in its place, or turned it off."""
    name, scrapys = "DOWNLOADER_MIDDLEWARES", ScrapysCompressionMiddleware
    is_placed = any(is_derived(component, scrapys) for component in settings.getdict(name))
    if settings.getbool("COMPRESSION_ENABLED") and not is_placed:
        _replace_default(settings, name, scrapys, HttpCompressionMiddleware)


def _replace_default(settings: BaseSettings, name: str, scrapys: type, ours: type) -> bool:
    """Put a component in the place of a default one of Scrapy's; return False if that has no one
    place.

    Args:
        name: of the setting.
    """
    by_default = {
        path: order
        for path, order in settings.getdict(f"{name}_BASE").items()
        if is_derived(path, scrapys)
    }
    if len(by_default) != 1:
        return False
    (order,) = by_default.values()
    components = settings.getdict(name) | {**dict.fromkeys(by_default), ours: order}
    settings.set(name, components, settings.getpriority(name) or 0)
    return True


def _check_handler(settings: BaseSettings, scheme: str) -> None:
    """
    Raises:
        ValueError: another add-on has set the handler.
    """
    name = other_handler(settings, scheme, CurlSafeDownloadHandler)
    if name is None:
        return
    has_others = _others_before(settings)
    advice = "give scrapy_curl_safe.Addon a lower order in ADDONS than the add-on that sets it"
    if has_others and settings.getpriority("DOWNLOAD_HANDLERS") == get_settings_priority("default"):
        raise ValueError(f"DOWNLOAD_HANDLERS has {name} for {scheme} already: {advice}")
    logger.warning(
        "%s requests do not go through the workers: DOWNLOAD_HANDLERS has %s for %s, set %s. If "
        "that is not what you want, take it out%s",
        scheme,
        name,
        scheme,
        where_set(settings, scheme),
        # Whose it is cannot be told: add-ons change the dict of a project in place.
        f", or {advice}" if has_others else "",
    )


def _others_before(settings: BaseSettings) -> bool:
    """Tell whether another add-on has updated the settings before."""
    addons = build_component_list(settings.getwithbase("ADDONS"))
    return bool(addons) and load_object(addons[0]) is not Addon

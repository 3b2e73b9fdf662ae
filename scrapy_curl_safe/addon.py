"""The one-line activation: ADDONS = {"scrapy_curl_safe.Addon": 500}."""

from __future__ import annotations

from scrapy.settings import BaseSettings, get_settings_priority

from .handler import CurlSafeDownloadHandler
from .middleware import HandshakeRetryMiddleware
from .monitor import HandshakeMonitor
from .settings import Settings


class Addon:
    """Turns on the download handler, the middleware and the monitor.

    What is set already wins: a handler for one of the schemes, another order of the middleware, or
    None in place of any of the three.
    """

    def update_settings(self, settings: BaseSettings) -> None:
        """Set the components.

        Raises:
            ValueError: a setting is wrong; Scrapy then does not start the crawl.
        """
        Settings.load(settings)
        handlers = settings.getdict("DOWNLOAD_HANDLERS")
        for scheme in ("http", "https"):
            handlers.setdefault(scheme, CurlSafeDownloadHandler)
        # Without a reactor Scrapy sets its own handlers with the priority of a project, below
        # which a setting of an add-on would not count.
        priority = max(
            settings.getpriority("DOWNLOAD_HANDLERS") or 0, get_settings_priority("project")
        )
        settings.set("DOWNLOAD_HANDLERS", handlers, priority)
        settings.setdefault_in_component_priority_dict(
            "DOWNLOADER_MIDDLEWARES", HandshakeRetryMiddleware, 560
        )
        settings.setdefault_in_component_priority_dict("EXTENSIONS", HandshakeMonitor, 0)

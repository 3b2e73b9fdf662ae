"""Finds out which schemes a handler of somebody else downloads, and who has set it."""

from __future__ import annotations

from scrapy.settings import BaseSettings, get_settings_priority
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from .components import is_derived

SCHEMES = ("http", "https")

BY_ADDON = "by an add-on"
_SETTERS = {
    get_settings_priority("cmdline"): "on the command line",
    get_settings_priority("spider"): "in the spider's custom_settings",
    get_settings_priority("project"): "in the project's settings",
    get_settings_priority("addon"): BY_ADDON,
    get_settings_priority("command"): "by the command",
}


def other_handler(settings: BaseSettings, scheme: str, ours: type) -> str | None:
    """Return the path of the handler that somebody has set for a scheme; None if it is this
    package's, none at all, or Scrapy's by default.

    Args:
        ours: this package's handler.
    """
    component = settings.getdict("DOWNLOAD_HANDLERS").get(scheme)
    if component is None or is_derived(component, ours):
        return None
    return global_object_name(load_object(component))


def where_set(settings: BaseSettings, scheme: str) -> str:
    """Say where the handler of a scheme was set; add-ons that change the dict of a project in place
    cannot be told from the project."""
    handlers = settings["DOWNLOAD_HANDLERS"]
    priority = settings.getpriority("DOWNLOAD_HANDLERS")
    if isinstance(handlers, BaseSettings) and priority != get_settings_priority("default"):
        priority = handlers.getpriority(scheme)
    return _SETTERS.get(priority or 0, BY_ADDON)

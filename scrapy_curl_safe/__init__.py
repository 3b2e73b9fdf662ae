"""Scrapy downloads through a pool of curl_cffi subprocesses.

The public names are loaded when they are first used: a worker imports this package, and must never
import Scrapy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ._crawl.sessions.blocked import BlockedPolicy
    from .addon import Addon
    from .browser_bridge import session_for_browser, session_from_browser
    from .compression import HttpCompressionMiddleware
    from .exceptions import (
        ConnectionDiedError,
        HandshakeError,
        NoSessionError,
        OriginUnavailableError,
        ProxyAuthenticationError,
        UnsupportedProxyError,
        WorkerCrashedError,
    )
    from .handler import CurlSafeDownloadHandler
    from .middleware import HandshakeRetryMiddleware
    from .monitor import HandshakeMonitor
    from .pipelines import FilesPipeline, ImagesPipeline
    from .random_browser import RandomBrowserMiddleware
    from .sessions import SessionMiddleware

__all__ = [
    "Addon",
    "BlockedPolicy",
    "ConnectionDiedError",
    "CurlSafeDownloadHandler",
    "FilesPipeline",
    "HandshakeError",
    "HandshakeMonitor",
    "HandshakeRetryMiddleware",
    "HttpCompressionMiddleware",
    "ImagesPipeline",
    "NoSessionError",
    "OriginUnavailableError",
    "ProxyAuthenticationError",
    "RandomBrowserMiddleware",
    "SessionMiddleware",
    "UnsupportedProxyError",
    "WorkerCrashedError",
    "session_for_browser",
    "session_from_browser",
]

_MODULES = {
    "Addon": "addon",
    "BlockedPolicy": "_crawl.sessions.blocked",
    "ConnectionDiedError": "exceptions",
    "CurlSafeDownloadHandler": "handler",
    "FilesPipeline": "pipelines",
    "HandshakeError": "exceptions",
    "HandshakeMonitor": "monitor",
    "HandshakeRetryMiddleware": "middleware",
    "HttpCompressionMiddleware": "compression",
    "ImagesPipeline": "pipelines",
    "NoSessionError": "exceptions",
    "OriginUnavailableError": "exceptions",
    "ProxyAuthenticationError": "exceptions",
    "RandomBrowserMiddleware": "random_browser",
    "SessionMiddleware": "sessions",
    "UnsupportedProxyError": "exceptions",
    "WorkerCrashedError": "exceptions",
    "session_for_browser": "browser_bridge",
    "session_from_browser": "browser_bridge",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

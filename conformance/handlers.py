"""The columns of the table: download handlers, each enabled as its documentation says."""

from __future__ import annotations

from benchmarks.contenders import CONTENDERS, OURS, Contender

#: A downloader middleware that downloads in threads.
STEALTH = Contender(
    "scrapy-stealth",
    settings={
        "DOWNLOADER_MIDDLEWARES": {"scrapy_stealth.StealthDownloaderMiddleware": 950},
        "STEALTH_LOGS": False,
    },
    meta={"stealth": {"driver": "turbo", "profile": "chrome"}},
)

#: The first one is this package's.
HANDLERS = {handler.distribution: handler for handler in (*CONTENDERS, STEALTH)}

#: The import path of each one's download handler.
PATHS = {
    name: handler.handler or "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"
    for name, handler in HANDLERS.items()
} | {OURS: "scrapy_curl_safe.CurlSafeDownloadHandler"}

TITLES = {"scrapy": "Scrapy's HTTP11"}

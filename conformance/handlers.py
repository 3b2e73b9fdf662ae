"""The columns of the table: download handlers, each enabled as its documentation says."""

from __future__ import annotations

from benchmarks.contenders import CONTENDERS, Contender

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

TITLES = {"scrapy": "Scrapy's HTTP11"}

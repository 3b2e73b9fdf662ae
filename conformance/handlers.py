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

HANDLERS = {
    handler.distribution: handler
    for handler in (*(c for c in CONTENDERS if c.distribution != OURS), STEALTH)
} | {OURS: next(c for c in CONTENDERS if c.distribution == OURS)}

TITLES = {"scrapy": "Scrapy's HTTP11"}

"""Runs a crawl (`testkit.runner`) in which this package finds none of the undocumented names of
Scrapy that it uses, as with a Scrapy that has changed them."""

from __future__ import annotations

import runpy
import sys
from importlib import import_module
from types import ModuleType

# Scrapy itself needs them, and so has to have them before they go.
import scrapy.core.engine
import scrapy.core.scraper
import scrapy.crawler
import scrapy.downloadermiddlewares.httpcompression
import scrapy.pipelines.files

_GONE = {
    "pydispatch": None,
    "scrapy.responsetypes": None,
    "scrapy.downloadermiddlewares.httpcompression": ModuleType("httpcompression"),
    "scrapy.utils._compression": None,
}


def main() -> None:
    documented = scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware
    vars(_GONE["scrapy.downloadermiddlewares.httpcompression"])[documented.__name__] = documented
    kept = {name: sys.modules[name] for name in _GONE}
    sys.modules.update(_GONE)  # type: ignore[arg-type]
    api = import_module("scrapy_curl_safe._crawl.scrapy_api")
    sys.modules.update(kept)
    assert api.dispatcher is None
    runpy.run_module("testkit.runner", run_name="__main__")


if __name__ == "__main__":
    main()

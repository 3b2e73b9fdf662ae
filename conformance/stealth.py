"""Runs the crawl of a probe through scrapy-stealth, which is kept from asking PyPI anything."""

from __future__ import annotations

import importlib
from typing import Any

from testkit import runner

if __name__ == "__main__":
    stealth: Any = importlib.import_module("scrapy_stealth.middlewares.stealth")
    # It asks PyPI for a newer version of itself when a crawl starts.
    stealth.update_available = lambda: None
    runner.main()

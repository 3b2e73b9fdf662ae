"""Runs a crawl as `testkit.runner` does, on a loop of asyncio that watches no descriptors."""

from __future__ import annotations

from scrapy_curl_safe._platform.system import system
from testkit.runner import main

system.can_watch = lambda loop: False

if __name__ == "__main__":
    main()

"""One crawl of a probe: that of the tests, with nothing asking the network of its own accord."""

from __future__ import annotations

import os

from testkit import runner

if __name__ == "__main__":
    if "CONFORMANCE_STEALTH" in os.environ:
        from scrapy_stealth.middlewares import stealth

        # It asks PyPI for a newer version of itself as a crawl starts.
        stealth.update_available = lambda: None
    runner.main()

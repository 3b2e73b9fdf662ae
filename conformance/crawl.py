"""One crawl of a probe: that of the tests, with nothing asking the network of its own accord."""

from __future__ import annotations

import os

import certifi

if __name__ == "__main__":
    # The tests' authority stands in for the public ones, before anything has looked for them.
    certifi.where = lambda: os.environ["SSL_CERT_FILE"]
    from tests import runner

    if "CONFORMANCE_STEALTH" in os.environ:
        from scrapy_stealth.middlewares import stealth

        # It asks PyPI for a newer version of itself as a crawl starts.
        stealth.update_available = lambda: None
    runner.main()

"""Settings of the example project.

They suit the local origin of the `docs` spider. For a live site, lower the concurrency and
set a download delay.
"""

BOT_NAME = "docs_example"

SPIDER_MODULES = ["docs_example.spiders"]
NEWSPIDER_MODULE = "docs_example.spiders"

# All that a project needs to use scrapy-curl-safe.
ADDONS = {
    "scrapy_curl_safe.Addon": 500,
}

# The local origin serves a robots.txt that allows everything.
ROBOTSTXT_OBEY = True

CONCURRENT_REQUESTS = 32
CONCURRENT_REQUESTS_PER_DOMAIN = 32
DOWNLOAD_DELAY = 0
# An origin that has completed no handshake yet gets no more retries than this, and the local one
# drops some from the first on: with 2, one crawl in 125 would end without its robots.txt.
RETRY_TIMES = 5
# Scrapy starts this many tasks for each response, and no response here yields many items.
CONCURRENT_ITEMS = 1

LOG_LEVEL = "INFO"
TELNETCONSOLE_ENABLED = False
# Of Scrapy 2.19; it wants a directory that can be written, which a container may not have.
REMOTE_CONTROL_ENABLED = False

# The crawl takes seconds; the default interval would show no line of the monitor.
CURL_SAFE_MONITOR_INTERVAL = 5

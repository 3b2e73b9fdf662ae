"""Settings for several crawler processes, on one machine or on many, that share one queue.

    SCRAPY_PROJECT=shared REDIS_URL=redis://queue.example:6379/0 scrapy crawl docs -a url=...

Each process is a crawl of its own, with workers of its own. The queue and the filter of
duplicates are in Redis, by scrapy-redis. Its stats collector is left out: with Scrapy 2.19 it
fails at the first value that is no whole number. The counters under `curl_safe/` only add up,
so the stats of the processes can be summed.
"""

import os

from docs_example.settings import *  # noqa: F403

SCHEDULER = "scrapy_redis.scheduler.Scheduler"
DUPEFILTER_CLASS = "scrapy_redis.dupefilter.RFPDupeFilter"
# What one process leaves when it is stopped, the others do.
SCHEDULER_PERSIST = True
ITEM_PIPELINES = {"scrapy_redis.pipelines.RedisPipeline": 300}
REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")

EXTENSIONS = {
    "docs_example.extensions.Patience": 0,
    "docs_example.extensions.StatsFile": 0,
}
# Seconds that a process with nothing to do waits for what others may find.
PATIENCE = 5
STATS_FILE = os.environ.get("STATS_FILE")

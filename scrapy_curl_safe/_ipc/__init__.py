"""What the crawler and its workers share: messages, framing, channel, shared memory, failures.

Nothing here imports Scrapy, Twisted or curl_cffi; both processes load this package.
"""

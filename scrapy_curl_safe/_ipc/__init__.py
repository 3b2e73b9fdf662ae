"""Code that the crawler and its workers share: messages, framing, channel, memory, failures.

Nothing here imports Scrapy, Twisted or curl_cffi; both processes load this package.
"""

"""The subprocess that downloads: ``python -m scrapy_curl_safe.worker SOCKET [MEMORY]``.

It never imports Scrapy or Twisted: what it does not load cannot slow its start, grow
its memory or be reached by what comes from the network.
"""

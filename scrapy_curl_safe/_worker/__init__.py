"""The subprocess that downloads. Only this package knows curl_cffi.

A worker never imports Scrapy or Twisted: what it does not load cannot slow its start, grow its
memory or be reached by what comes from the network.
"""

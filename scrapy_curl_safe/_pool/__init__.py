"""The crawler's side of the workers: their processes, and which one gets which request, and when.

Nothing here imports Scrapy, Twisted or curl_cffi.
"""

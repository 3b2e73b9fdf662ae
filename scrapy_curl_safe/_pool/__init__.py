"""The crawler's side of the workers: their processes, who gets which request, and when.

Nothing here imports Scrapy, Twisted or curl_cffi.
"""

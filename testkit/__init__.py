"""Helpers that the tests, the conformance probes and the benchmarks share.

`origins` are servers on loopback, `crawling` runs real crawls in subprocesses (`runner` is what
runs in them), `processes` finds the processes below a crawl, and `waiting` waits.
"""

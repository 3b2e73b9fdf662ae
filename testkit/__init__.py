"""Helpers that the tests, the conformance probes and the benchmarks share.

- `origins`: servers and proxies on the loopback interface, well-behaved and broken ones.
- `crawling`: real crawls in subprocesses, and their results. `scenario` describes a crawl, `runner`
  runs it, `spider` has its spider, and `components` has the classes that crawls load by path.
- `processes`: what the system knows about a crawl's processes.
- `waiting`: the only way to wait.
- `fixtures`: the types of the fixtures in `tests/conftest.py`.
"""

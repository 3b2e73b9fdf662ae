"""Helpers that the tests, the conformance probes and the benchmarks share.

- `origins`: servers and proxies on the loopback interface, well-behaved and broken ones.
- `crawling`: real crawls in subprocesses, and what they leave behind. `scenario` describes a crawl,
  `runner` is the program that runs it, `spider` its spider, `components` what crawls load by path.
- `processes`: what the system knows of a crawl's processes.
- `waiting`: the one way to wait.
- `fixtures`: the types of the fixtures in `tests/conftest.py`.
"""

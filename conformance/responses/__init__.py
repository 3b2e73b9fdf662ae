"""Malformed and unusual responses, and what this handler and Scrapy's own make of each."""

from __future__ import annotations

from . import bodies, heads, http2

HTTP1_CASES = (*heads.cases(), *bodies.cases())
HTTP2_CASES = tuple(http2.cases())
CASES = (*HTTP1_CASES, *HTTP2_CASES)

"""Learning from responses that another handler has downloaded."""

from __future__ import annotations

from scrapy import Request
from scrapy.statscollectors import StatsCollector

from .._pool.origins import OriginRegistry, Route
from .meta import end_tries


def note_foreign_response(
    request: Request, route: Route, origins: OriginRegistry, stats: StatsCollector
) -> None:
    """Note that a request got a response which no worker has sent."""
    origins.response_received(origins.get(route))
    if end_tries(request.meta):
        stats.inc_value("curl_safe/handshake/recovered_count")

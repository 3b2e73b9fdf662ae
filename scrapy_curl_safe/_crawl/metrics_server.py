"""Serves a crawl's metrics to Prometheus, on a port of 127.0.0.1.

A thread serves, so that a slow client holds up nobody, and has the crawl's own loop read the
metrics, so that nothing changes meanwhile. prometheus_client's own server would
wait for good for a client that sends nothing, and needs half a second to stop.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from functools import partial
from socket import SHUT_RDWR, socket
from socketserver import ThreadingTCPServer
from typing import Any

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from scrapy.crawler import Crawler

from .._platform.system import system
from .._pool.event_loop import EventLoop
from .event_loop import call_in_loop, running_event_loop
from .prometheus import metric_families

logger = logging.getLogger(__name__)

# How long a scrape waits for a loop that is busy, and for a client that sends nothing.
_SCRAPE_TIMEOUT_SECONDS = 10.0


class MetricsServer(ThreadingTCPServer):
    """Serves the metrics of a crawl from `start` to `close`; it has the port from the first.

    Args:
        port: of 127.0.0.1.
        crawler: whose metrics they are.

    Raises:
        OSError: the port cannot be had.
    """

    daemon_threads = True
    # Else a port that was used a moment ago could not be had.
    allow_reuse_address = system.CAN_REUSE_PORTS

    def __init__(self, port: int, crawler: Crawler) -> None:
        self._crawler = crawler
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"curl-safe-prometheus-{port}", daemon=True
        )
        registry = CollectorRegistry()
        handler = MetricsHandler.factory(registry)
        handler.timeout = _SCRAPE_TIMEOUT_SECONDS  # type: ignore[attr-defined]
        super().__init__(("127.0.0.1", port), handler)
        self._registry = registry

    def start(self) -> None:
        """Serve from now on. To be called when the crawl's loop runs."""
        self._registry.register(_CrawlCollector(self._crawler, running_event_loop()))
        self._thread.start()

    def close(self) -> None:
        """Free the port and end the thread."""
        self._closing.set()
        if self._thread.is_alive():
            # Wakes the thread. (Closing the socket would not, and `shutdown` polls.)
            self.socket.shutdown(SHUT_RDWR)
            self._thread.join()
        self.server_close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self.handle_request()

    def get_request(self) -> tuple[socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # With no descriptor left the connection stays where it is, and would be seen again
            # at once, and again.
            self._closing.wait(1.0)
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("A scrape by %s failed", client_address, exc_info=True)


class _CrawlCollector(Collector):
    def __init__(self, crawler: Crawler, loop: EventLoop) -> None:
        self._crawler = crawler
        self._loop = loop

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        """Read the metrics, in a thread of the server's.

        Raises:
            TimeoutError: the crawl's loop is too busy.
        """
        read = partial(metric_families, self._crawler)
        return call_in_loop(self._loop, read, _SCRAPE_TIMEOUT_SECONDS)

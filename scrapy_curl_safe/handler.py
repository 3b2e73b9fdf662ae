"""Turns Scrapy's requests into responses.

`build_request` turns a request into a `PoolRequest` (`_crawl.request`), `Pool.fetch` downloads it
in a worker (`_pool.pool`; in the worker: `_worker.server`, `_worker.download`), and
`ResponseAssembler` builds the response (`_crawl.response`).
"""

from __future__ import annotations

import logging

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured, NotSupported
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.misc import build_from_crawler, load_object

from ._crawl.context import CrawlContext
from ._crawl.errors import pool_error
from ._crawl.foreign_responses import note_foreign_response
from ._crawl.meta import AVOID, CRASHES, reset_if_given_up
from ._crawl.profile import route_of
from ._crawl.request import (
    QUARANTINE_AFTER_CRASHES,
    build_request,
    learn_browser,
    options_of,
    profile_of,
)
from ._crawl.response import ResponseAssembler
from ._crawl.scrapy_api import close_crawl, default_handler_path
from ._pool.errors import OriginRejectedError, PoolError
from ._pool.interpreter import InterpreterError
from .exceptions import WorkerCrashedError

logger = logging.getLogger(__name__)


class CurlSafeDownloadHandler:
    """Downloads http and https URLs through the pool of worker processes.

    See https://docs.scrapy.org/en/latest/topics/download-handlers.html.
    """

    #: Built when the crawl starts, so that the workers start together with the spider.
    lazy = False

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._scrapy_handlers: dict[str, object] = {}
        self._is_closed = False
        try:
            self._context = CrawlContext.acquire(crawler, CurlSafeDownloadHandler)
        except InterpreterError as error:
            logger.error("The crawl is closed, since no worker can be started: %s", error)
            close_crawl(crawler, "curl_safe_no_worker")
            raise
        except ValueError as error:
            # Scrapy would go on without the handler, and all requests would fail.
            logger.error("The crawl is closed, since a setting is wrong: %s", error)
            close_crawl(crawler, "curl_safe_bad_setting")
            raise
        if self._context.settings.opentelemetry:
            # Only then the package for it is sure to be there.
            from ._crawl.download_spans import DownloadSpans  # noqa: PLC0415

            spans = DownloadSpans(crawler, self.download_request)
            self.download_request = spans.download_request  # type: ignore[method-assign]

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> CurlSafeDownloadHandler:
        return cls(crawler)

    async def download_request(self, request: Request) -> Response:
        """Download a request.

        Raises:
            ValueError: the request cannot be sent as it is (`UnsupportedProxyError`: by its proxy).
            HandshakeError: no TLS connection to the origin was established.
            OriginUnavailableError: none was tried, since the origin's circuit breaker is open.
            ProxyAuthenticationError: the proxy refused the credentials, or asked for some.
            Http2ProtocolError: the origin's HTTP/2 answer was invalid.
            ConnectionDiedError: the origin closed a reused connection before it answered.
            WorkerCrashedError: the worker exited with the request in flight, or none is left.
            CannotResolveHostError, DownloadConnectionRefusedError, DownloadTimeoutError,
            DownloadCancelledError, ResponseDataLossError, UnsupportedURLSchemeError,
            DownloadFailedError, StopDownload: as Scrapy's own handlers raise them.
        """
        request.meta.pop("curl_safe_info", None)
        reset_if_given_up(request.meta)
        options = options_of(request, self._context)
        if options is False:
            return await self._download_by_scrapy(request)
        profile = profile_of(request, options, self._context)
        if profile.header_mode != "none" and not self._context.targets.is_known(profile):
            await learn_browser(request, options, profile, self._context)
        file = self._context.files.open(request, options) if "file" in options else None
        assembler = ResponseAssembler(request, self._context, file)
        try:
            pool_request = build_request(request, options, profile, self._context, assembler, file)
            self._context.stats.request()
            try:
                result = await self._context.pool.fetch(pool_request)
            except PoolError as error:
                if file is not None:
                    self._context.files.keep(file, request, error, assembler.head)
                raised = pool_error(error, pool_request.origin.route)
                self._note_without_outcome(request, error, raised)
                raise raised from error
            origin = pool_request.origin
            response = assembler.finish(result, origin)
        finally:
            if file is not None:
                self._context.files.release(file)
        if pool_request.fetch.browser_head is not None:
            self._context.heads.response_received(request, options, response, pool_request.key)
        self._context.origins.response_received(origin)
        return response

    async def close(self) -> None:
        """Stop everything that the handler uses, unless that was done before."""
        if self._is_closed:
            return
        self._is_closed = True
        for handler in self._scrapy_handlers.values():
            await handler.close()  # type: ignore[attr-defined]
        await self._context.release()

    async def _download_by_scrapy(self, request: Request) -> Response:
        scheme = urlparse_cached(request).scheme
        if scheme not in self._scrapy_handlers:
            path = default_handler_path(self._crawler, scheme)
            try:
                handler = build_from_crawler(load_object(path), self._crawler)
            except NotConfigured as error:
                raise NotSupported(f"Scrapy's own handler for {scheme}: {error}") from error
            self._scrapy_handlers[scheme] = handler
        response: Response = await self._scrapy_handlers[scheme].download_request(request)  # type: ignore[attr-defined]
        context = self._context
        assert context.crawler.stats is not None
        route = route_of(request, {})
        note_foreign_response(request, route, context.origins, context.crawler.stats)
        return response

    def _note_without_outcome(self, request: Request, reason: PoolError, raised: Exception) -> None:
        if isinstance(reason, OriginRejectedError):
            self._context.stats.request_rejected()
        if isinstance(raised, WorkerCrashedError) and raised.worker is not None:
            self._count_crash(request, raised)

    def _count_crash(self, request: Request, error: WorkerCrashedError) -> None:
        request.meta[AVOID] = error.worker
        request.meta[CRASHES] = crashes = request.meta.get(CRASHES, 0) + 1
        if error.alone:
            logger.error("%s ended even the worker that it had for itself: %s", request, error)
        elif crashes == QUARANTINE_AFTER_CRASHES:
            self._context.stats.request_quarantined()
            logger.warning(
                "%s was in flight in %d workers as they died. From here on it gets a worker for "
                "itself",
                request,
                crashes,
            )

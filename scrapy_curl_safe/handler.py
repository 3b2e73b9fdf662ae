"""Scrapy's Request in, Scrapy's Response out.

The way of a request: from here to `pool.pool`, through `link` to `worker.server` and a
`worker.download` there; its outcome comes back the same way, and ends in `reception`.
"""

from __future__ import annotations

import logging
from typing import Any

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured, NotSupported
from scrapy.http import Response
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.misc import build_from_crawler, load_object

from .compat import all_options
from .errors import (
    ConnectionDiedError,
    HandshakeError,
    WorkerCrashedError,
    classify,
    download_error,
)
from .identity import make_headers, make_profile, origin_of
from .meta import AVOID, CRASHES, FRESH, RETRIES, request_options, start_anew_if_given_up
from .pool.gate import Route
from .pool.job import Job, Result
from .reception import Reception, info_of, is_heard
from .shared import Shared, close_crawl
from .wire import (
    Cancelled,
    Done,
    Fetch,
    Profile,
    Refused,
    TooLarge,
    Transfer,
    encode_profile,
)

logger = logging.getLogger(__name__)

# A request that was in flight in so many workers as they died must be alone in the next.
_MOST_CRASHES = 2


class CurlSafeDownloadHandler:
    """Downloads http and https URLs through the pool of worker processes.

    See https://docs.scrapy.org/en/latest/topics/download-handlers.html
    """

    #: Built when the crawl starts, so that the workers start along with the spider.
    lazy = False

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._own: dict[str, Any] = {}
        self._dataloss_warned = False
        try:
            self._shared = Shared.enter(crawler)
        except ValueError as error:
            # Scrapy goes on without a handler that cannot be built: all requests would fail.
            logger.error("Closing the crawl, a setting is wrong: %s", error)
            close_crawl(crawler, "curl_safe_bad_setting")
            raise

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> CurlSafeDownloadHandler:
        return cls(crawler)

    async def download_request(self, request: Request) -> Response:
        """
        Raises:
            ValueError: the request cannot be sent as it is.
            HandshakeError: no TLS connection came up, or none was tried now.
            WorkerCrashedError: the worker died with the request in flight.
            CannotResolveHostError, DownloadConnectionRefusedError, DownloadTimeoutError,
            DownloadCancelledError, ResponseDataLossError, UnsupportedURLSchemeError,
            DownloadFailedError, StopDownload: as Scrapy's own handlers do.
        """
        request.meta.pop("curl_safe_info", None)
        start_anew_if_given_up(request.meta)
        if self._shared.settings.compat:
            options = all_options(request.meta, self._crawler.spider)
        else:
            options = request_options(request.meta)
        if options is False:
            return await self._download_by_scrapy(request)
        figures = self._shared.figures
        figures.request()
        reception = Reception(self._crawler, request)
        job = self._job(request, options, reception)
        try:
            result = await self._shared.pool.fetch(job)
        except WorkerCrashedError as error:
            self._count_crash(request, error)
            raise
        return self._response(request, reception, result)

    async def close(self) -> None:
        for handler in self._own.values():
            await handler.close()
        await self._shared.leave()

    async def _download_by_scrapy(self, request: Request) -> Response:
        scheme = urlparse_cached(request).scheme
        if scheme not in self._own:
            path = self._crawler.settings["DOWNLOAD_HANDLERS_BASE"][scheme]
            try:
                self._own[scheme] = build_from_crawler(load_object(path), self._crawler)
            except NotConfigured as error:
                raise NotSupported(f"Scrapy's own handler for {scheme}: {error}") from error
        response: Response = await self._own[scheme].download_request(request)
        return response

    # The way there

    def _job(self, request: Request, options: dict[str, Any], reception: Reception) -> Job:
        settings, meta = self._shared.settings, request.meta
        profile, encoded = self._profile(request, options)
        fail_on_dataloss = meta.get("download_fail_on_dataloss", settings.download_fail_on_dataloss)
        timeout = options.get("timeout", meta.get("download_timeout", settings.download_timeout))
        fetch = Fetch(
            id=0,
            method=request.method,
            url=request.url,
            headers=make_headers(request, options, profile),
            profile=encoded,
            timeout=float(timeout),
            maxsize=int(meta.get("download_maxsize", settings.download_maxsize)),
            warnsize=int(meta.get("download_warnsize", settings.download_warnsize)),
            keep_partial=not fail_on_dataloss,
            stream=is_heard(self._crawler),
            tell_tls=settings.downloader_client_tls_verbose_logging,
            fresh=meta.pop(FRESH, False),
        )
        origin = origin_of(request)
        return Job(
            fetch,
            request.body,
            key=(origin, encoded),
            listener=reception,
            route=Route(origin, profile.proxy) if request.url.startswith("https:") else None,
            avoid=meta.pop(AVOID, None),
            alone=meta.get(CRASHES, 0) >= _MOST_CRASHES,
        )

    def _profile(self, request: Request, options: dict[str, Any]) -> tuple[Profile, bytes]:
        meta = request.meta
        if not options and not meta.get("proxy") and meta.get("bindaddress") is None:
            return self._shared.profile, self._shared.encoded_profile
        profile = make_profile(request, options, self._shared.settings)
        return profile, encode_profile(profile)

    # The way back

    def _response(self, request: Request, reception: Reception, result: Result) -> Response:
        outcome = result.outcome
        if isinstance(outcome, Refused):
            raise ValueError(f"{request} cannot be sent: {outcome.detail}")
        stop = None
        if outcome is None:
            transfer, response, stop = reception.stopped()
        elif isinstance(outcome, Done):
            transfer, response = outcome.transfer, reception.done(outcome, result.body)
        else:
            raise self._error(request, reception, result)
        request.meta.pop(CRASHES, None)
        self._count(request, transfer)
        self._shared.figures.response(transfer)
        attempt = 1 + request.meta.get("retry_times", 0) + request.meta.get(RETRIES, 0)
        request.meta["curl_safe_info"] = info_of(transfer, result.worker.slot, attempt)
        if stop is not None and stop.fail:
            raise stop
        return response

    def _error(self, request: Request, reception: Reception, result: Result) -> Exception:
        failed = result.outcome
        assert failed is not None
        assert not isinstance(failed, (Done, Refused, Cancelled))
        if isinstance(failed, TooLarge):
            self._count(request, failed.transfer)
            return reception.too_large(failed)
        transfer, origin = failed.transfer, origin_of(request)
        kind = classify(failed.code, failed.detail, during_handshake=failed.in_handshake)
        error = download_error(failed.code, failed.detail, kind, origin)
        self._count(request, transfer, kind if isinstance(error, HandshakeError) else None)
        if isinstance(error, (HandshakeError, ConnectionDiedError)):
            request.meta[AVOID] = result.worker.slot
        if isinstance(error, ConnectionDiedError):
            request.meta[FRESH] = True
        if kind == "local":
            self._shared.pool.retire(result.worker, failed.detail)
        if failed.code == 18 and not self._dataloss_warned:
            self._dataloss_warned = True
            logger.warning(
                "The body of %s ended early. To get such responses all the same set "
                "DOWNLOAD_FAIL_ON_DATALOSS = False. (Said once.)",
                request.url,
            )
        return error

    def _count_crash(self, request: Request, error: WorkerCrashedError) -> None:
        if error.worker is None:
            return
        request.meta[AVOID] = error.worker
        request.meta[CRASHES] = crashes = request.meta.get(CRASHES, 0) + 1
        if error.alone:
            logger.error("%s ended even the worker that it had for itself: %s", request, error)
        elif crashes == _MOST_CRASHES:
            self._shared.figures.request_quarantined()
            logger.warning(
                "%s was in flight in %d workers as they died: from here on it has a worker "
                "for itself",
                request,
                crashes,
            )

    def _count(self, request: Request, transfer: Transfer, failed: str | None = None) -> None:
        self._shared.figures.transferred(transfer)
        if request.url.startswith("https:"):
            self._shared.figures.handshakes(transfer, failed)

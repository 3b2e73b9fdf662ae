"""From Scrapy's Request to what the pool sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from scrapy import Request

from .._ipc.messages import Fetch, Profile, encode_profile
from .._pool.origins import Route
from .._pool.request import PoolRequest
from .compat import all_options
from .meta import AVOID, CRASHES, FRESH, HTTP1_ORIGIN, request_options
from .profile import make_profile, origin_of
from .request_headers import request_headers
from .response import ResponseAssembler

if TYPE_CHECKING:
    from .context import CrawlContext

#: A request that was in flight in so many workers as they died has the next one for itself.
QUARANTINE_AFTER_CRASHES = 2


def options_of(request: Request, context: CrawlContext) -> dict[str, Any] | Literal[False]:
    """Return what the request's meta asks for, checked; False for Scrapy's own handler.

    Raises:
        ValueError: a key or a value that is not known.
    """
    if context.settings.compat:
        return all_options(request.meta, context.crawler.spider)
    return request_options(request.meta)


def build_request(
    request: Request,
    options: dict[str, Any],
    context: CrawlContext,
    assembler: ResponseAssembler,
) -> PoolRequest:
    """Build what the pool sends for a request. Takes the private keys of the last try out of its
    meta.

    Args:
        options: as `options_of` returned them.
        assembler: hears of the download.

    Raises:
        ValueError: a bad value of one of Scrapy's own meta keys.
    """
    settings, meta = context.settings, request.meta
    origin = origin_of(request)
    if meta.get(HTTP1_ORIGIN) == origin and settings.http_version is None:
        options = {"http_version": "v1", **options}
    profile, encoded = _profile(request, options, context)
    fail_on_dataloss = meta.get("download_fail_on_dataloss", settings.download_fail_on_dataloss)
    timeout = options.get("timeout", meta.get("download_timeout", settings.download_timeout))
    fetch = Fetch(
        method=request.method,
        url=request.url,
        headers=request_headers(request, options, profile),
        profile=encoded,
        timeout_seconds=float(timeout),
        maxsize_bytes=int(meta.get("download_maxsize", settings.download_maxsize)),
        warnsize_bytes=int(meta.get("download_warnsize", settings.download_warnsize)),
        keep_partial=not fail_on_dataloss,
        stream=context.signals.are_heard(),
        report_tls=settings.downloader_client_tls_verbose_logging,
        fresh_connection=meta.pop(FRESH, False),
    )
    return PoolRequest(
        fetch,
        request.body,
        key=(origin, encoded),
        listener=assembler,
        origin=context.origins.get(Route(origin, profile.proxy)),
        needs_tls=request.url.startswith("https:"),
        avoid=meta.pop(AVOID, None),
        in_quarantine=meta.get(CRASHES, 0) >= QUARANTINE_AFTER_CRASHES,
    )


def _profile(
    request: Request, options: dict[str, Any], context: CrawlContext
) -> tuple[Profile, bytes]:
    meta = request.meta
    if not options and not meta.get("proxy") and meta.get("bindaddress") is None:
        return context.profile, context.encoded_profile
    profile = make_profile(request, options, context.settings)
    return profile, encode_profile(profile)

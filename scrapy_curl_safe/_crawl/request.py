"""Turns Scrapy's Request into what the pool sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from msgspec.structs import replace
from scrapy import Request
from scrapy.http.request import NO_CALLBACK

from .._ipc.messages import Fetch, encode_profile
from .._pool.origins import Route
from .._pool.request import PoolRequest
from .browser.languages import speaking
from .browser.own_headers import find_conflict, may_conflict
from .browser.target import Target
from .browser.user_agents import with_user_agent
from .compat import FOREIGN_KEYS, all_options
from .file_target import FileTarget
from .meta import (
    AVOID,
    BOUND,
    CRASHES,
    FRESH,
    HTTP1_ORIGIN,
    most_bytes,
    request_options,
    seconds,
)
from .profile import EncodedProfile, encoded_profile, origin_of
from .request_headers import request_headers
from .response import ResponseAssembler

if TYPE_CHECKING:
    from .context import CrawlContext

#: A request that was in flight in so many workers as they died has the next one for itself.
QUARANTINE_AFTER_CRASHES = 2

# Keys of meta["curl_safe"] that are no part of a profile.
_OF_REQUEST = {"as", "from", "clicked", "file", "trace_context"}


def options_of(request: Request, context: CrawlContext) -> dict[str, Any] | Literal[False]:
    """Return what the request's meta asks for, checked; False for Scrapy's own handler.

    Raises:
        ValueError: a key or a value that is not known, or a session without CURL_SAFE_SESSIONS.
    """
    if context.settings.compat:
        options = all_options(request.meta, context.crawler.spider)
    else:
        if not FOREIGN_KEYS.isdisjoint(request.meta):
            context.note_foreign_keys(request)
        options = request_options(request.meta)
    if options and "session" in options and context.settings.sessions is None:
        raise ValueError(
            f'meta["curl_safe"]["session"] is {options["session"]!r}: it takes CURL_SAFE_SESSIONS, '
            "which is not set"
        )
    return options


def profile_of(request: Request, options: dict[str, Any], context: CrawlContext) -> EncodedProfile:
    """Return the profile of a request.

    Args:
        options: as `options_of` returned them.

    Raises:
        ValueError: a bad value of one of Scrapy's own meta keys.
    """
    meta = request.meta
    if (
        (not options or options.keys() <= _OF_REQUEST)
        and not meta.get("proxy")
        and meta.get("bindaddress") is None
        and HTTP1_ORIGIN not in meta
    ):
        return context.profile
    if context.settings.http_version is None and meta.get(HTTP1_ORIGIN) == origin_of(request):
        options = {"http_version": "v1", **options}
    return encoded_profile(request, options, context.settings, context.installed_browsers)


async def learn_browser(
    request: Request, options: dict[str, Any], profile: EncodedProfile, context: CrawlContext
) -> None:
    """Learn the target of a profile before the first request with it is built.

    Fixed headers need no target, but whether the spider's first such request contradicts it is
    checked.

    Args:
        options: as `options_of` returned them.
        profile: as `profile_of` returned it.
    """
    if profile.header_mode == "context":
        await context.targets.learn(profile)
        return
    headers = request_headers(request, options, like_browser=True)
    if not profile.is_like_browser or not may_conflict(headers):
        # The request for robots.txt lacks the spider's headers, so it shows nothing of them.
        if request.callback is not NO_CALLBACK:
            context.targets.leave(profile)
        return
    await context.targets.learn(profile)
    target = context.targets.get(profile)
    conflict = None if target is None else find_conflict(target, headers)
    if conflict is not None:
        context.heads.warn_of_conflict(request, conflict)


def build_request(
    request: Request,
    options: dict[str, Any],
    profile: EncodedProfile,
    context: CrawlContext,
    assembler: ResponseAssembler,
    file: FileTarget | None,
) -> PoolRequest:
    """Build what the pool sends for a request. Takes the private keys of the last try out of its
    meta.

    Args:
        options: as `options_of` returned them.
        profile: as `profile_of` returned it.
        assembler: hears of the download.
        file: that the body goes to; None for none.

    Raises:
        ValueError: a bad value of one of Scrapy's own meta keys.
    """
    settings, meta = context.settings, request.meta
    target = None
    if profile.header_mode == "context":
        target = context.targets.get(profile)
        if target is None:
            profile = _with_fixed_headers(profile)
        elif "session" in options:
            target = _of_visitor(target, meta.get(BOUND, {}))
    origin = origin_of(request)
    key = (origin, profile.encoded)
    headers = request_headers(request, options, like_browser=profile.is_like_browser)
    if file is not None:
        headers = headers + file.range_headers()
    fail_on_dataloss = meta.get("download_fail_on_dataloss", settings.download_fail_on_dataloss)
    timeout = options.get("timeout", seconds(meta, "download_timeout", settings.download_timeout))
    fetch = Fetch(
        method=request.method,
        url=request.url,
        headers=headers if target is None else [],
        profile=profile.encoded,
        timeout_seconds=timeout,
        maxsize_bytes=most_bytes(meta, "download_maxsize", settings.download_maxsize),
        warnsize_bytes=most_bytes(meta, "download_warnsize", settings.download_warnsize),
        keep_partial=not fail_on_dataloss,
        stream=context.signals.have_receivers(),
        report_tls=settings.downloader_client_tls_verbose_logging,
        fresh_connection=meta.pop(FRESH, False),
    )
    if file is not None:
        fetch.file = file.order
        fetch.stream = True
    if target is not None:
        version = profile.profile.http_version
        context.heads.build(fetch, request, options, headers, target, key, http_version=version)
    at = context.origins.get(Route(origin, profile.profile.proxy))
    if profile.profile.proxy_user is not None:
        at.has_proxy_user = True
    return PoolRequest(
        fetch,
        request.body,
        key=key,
        listener=assembler,
        origin=at,
        needs_tls=request.url.startswith("https:"),
        avoid=meta.pop(AVOID, None),
        in_quarantine=meta.get(CRASHES, 0) >= QUARANTINE_AFTER_CRASHES,
        descriptor=None if file is None else file.descriptor,
    )


def _of_visitor(target: Target, bound: dict[str, Any]) -> Target:
    if "languages" in bound:
        target = speaking(target, tuple(bound["languages"]))
    return with_user_agent(target, bound["user_agent"]) if "user_agent" in bound else target


def _with_fixed_headers(of_context: EncodedProfile) -> EncodedProfile:
    profile = replace(of_context.profile, default_headers=True)
    return EncodedProfile(profile, encode_profile(profile), "static")

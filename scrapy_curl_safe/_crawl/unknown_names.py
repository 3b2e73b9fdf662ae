"""Guesses what an unknown setting or key of meta was meant to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from scrapy.settings import BaseSettings, default_settings

from ..settings import Settings

_PREFIX = "CURL_SAFE_"
# Scrapy's own keys of meta, which stand beside "curl_safe" and not in it.
_SCRAPYS_META = frozenset(
    {
        "bindaddress",
        "cookiejar",
        "dont_cache",
        "dont_merge_cookies",
        "dont_redirect",
        "dont_retry",
        "download_fail_on_dataloss",
        "download_maxsize",
        "download_slot",
        "download_timeout",
        "download_warnsize",
        "handle_httpstatus_all",
        "handle_httpstatus_list",
        "max_retry_times",
        "priority_adjust",
        "proxy",
        "proxy_headers",
        "referrer_policy",
    }
)
# Where Scrapy, or this package, has what curl_cffi and other handlers call by these names.
_ELSEWHERE = {
    "allow_redirects": 'meta["dont_redirect"]',
    "auth": "an Authorization header",
    "body": "the request's body",
    "browser": 'meta["curl_safe"]["impersonate"]',
    "cookies": "the request's cookies",
    "data": "the request's body, or FormRequest",
    "headers": "the request's headers",
    "interface": 'meta["bindaddress"]',
    "json": "JsonRequest",
    "max_redirects": "REDIRECT_MAX_TIMES",
    "max_retries": 'meta["max_retry_times"]',
    "method": "the request's method",
    "params": "the request's URL",
    "proxies": 'meta["proxy"]',
    "proxy_auth": 'the URL in meta["proxy"]',
    "referer": 'meta["curl_safe"]["from"]',
    "retries": 'meta["max_retry_times"]',
    "retry": 'meta["max_retry_times"]',
    "timeout": 'meta["download_timeout"]',
    "user_agent": "a User-Agent header",
}
# Likewise, as settings.
_SETTINGS_ELSEWHERE = {
    "BROWSER": "CURL_SAFE_IMPERSONATE",
    "CONCURRENCY": "CONCURRENT_REQUESTS",
    "HEADERS": "DEFAULT_REQUEST_HEADERS",
    "INTERFACE": "DOWNLOAD_BIND_ADDRESS",
    "PROXIES": 'meta["proxy"] of each request, or the environment variables of HttpProxyMiddleware',
    "PROXY": 'meta["proxy"] of each request, or the environment variables of HttpProxyMiddleware',
    "TARGET": "CURL_SAFE_IMPERSONATE",
    "TIMEOUT": "DOWNLOAD_TIMEOUT",
    "VERIFY": "DOWNLOAD_VERIFY_CERTIFICATES",
}


def meta_hint(key: object, known: Iterable[str]) -> str:
    """Return what somebody may have meant by a key of `meta["curl_safe"]`: the end of a sentence,
    empty without an idea.

    Args:
        known: the keys that there are.
    """
    if key in _SCRAPYS_META:
        return f'use meta["{key}"], beside "curl_safe"'
    return _hint(key, known, _ELSEWHERE)


def unknown_settings(settings: BaseSettings) -> Iterator[tuple[str, str]]:
    """Yield the settings that begin like this package's and are none of them, each with what it may
    have been meant for, as `meta_hint` says it."""
    fields = {field.name.upper() for field in dataclasses.fields(Settings)}
    scrapys = {name for name in fields if hasattr(default_settings, name)}
    elsewhere = {**_SETTINGS_ELSEWHERE, **{name: name for name in scrapys}}
    known = fields - scrapys
    for name in settings:
        rest = name.removeprefix(_PREFIX) if isinstance(name, str) else name
        if rest != name and rest not in known:
            yield name, _hint(rest, known, elsewhere, _PREFIX)


def _hint(name: object, known: Iterable[str], elsewhere: dict[str, str], prefix: str = "") -> str:
    if not isinstance(name, str):
        return ""
    if name in elsewhere:
        return f"use {elsewhere[name]}"
    # Nothing needs it but a mistake.
    from difflib import get_close_matches  # noqa: PLC0415

    matches = get_close_matches(name, list(known), 1)
    return f"did you mean {prefix}{matches[0]}?" if matches else ""

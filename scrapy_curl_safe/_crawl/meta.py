"""Keys of request.meta that are this package's, and the values that they may hold."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

from .._ipc.messages import HeaderPairs
from ..settings import parse_http_version, parse_impersonate
from .browser.request import KINDS, Kind
from .browser.sites import web_origin
from .unknown_names import meta_hint

# The largest number that a worker is told, and that libcurl takes.
_MOST_BYTES = 2**63 - 1
# 24 days: libcurl counts milliseconds, in 32 bits where a C long has no more (Windows).
_MOST_SECONDS = (2**31 - 1) / 1000

# Private keys. Their values are plain, since a request may be kept on disk or in another queue.
#: How often a request was retried because its handshake failed; 0 if it was only rejected.
RETRIES = "curl_safe_retries"
#: How often it was not tried, since the circuit breaker of its origin was open.
REJECTIONS = "curl_safe_rejections"
#: How many workers died with the request in flight.
CRASHES = "curl_safe_crashes"
#: The slot of the worker that failed it last.
AVOID = "curl_safe_avoid"
#: How often it found no worker, in a crawl that was about to close for that.
UNSENT = "curl_safe_unsent"
#: Whether it needs a new connection, since a reused one died on it.
FRESH = "curl_safe_fresh"
#: The origin that is spoken to by HTTP/1.1, since what it said by HTTP/2 was invalid.
HTTP1_ORIGIN = "curl_safe_http1_origin"
#: Whether `dont_retry` was set because no more retries were left.
GAVE_UP = "curl_safe_gave_up"
#: Whether RandomBrowserMiddleware picked the browser in `meta["curl_safe"]`.
PICKED = "curl_safe_picked"
#: The id of the session that sent the request last.
SESSION = "curl_safe_session"
#: What that session has set: the proxy without credentials, the cookiejar, and the browser.
BOUND = "curl_safe_bound"
#: The id of the session that was refused last.
REFUSED = "curl_safe_refused"
#: How often sessions were refused, or their proxies failed, with the request.
REFUSALS = "curl_safe_refusals"
#: Seconds that the request has waited for a session, before it went back to the scheduler.
WAITED = "curl_safe_waited"
#: Whether `dont_retry` was set because sessions were refused too often, or none could be had.
NO_SESSION = "curl_safe_no_session"
#: Whether `curl_safe_info` is to have the MD5 of a file, too.
MD5 = "curl_safe_md5"

# What counts the tries of a request.
_TRIES = (RETRIES, REJECTIONS, CRASHES, REFUSED, REFUSALS, WAITED)


def reset_if_given_up(meta: dict[str, Any]) -> None:
    """Restore all retries of a request that was given up and is sent again, by an errback for
    example."""
    _reset(meta, GAVE_UP)


def give_up_sessions(meta: dict[str, Any]) -> None:
    """Keep RetryMiddleware from starting over with a request for which there is no session, until
    it is sent again."""
    if not meta.get("dont_retry", False):
        meta["dont_retry"] = meta[NO_SESSION] = True


def reset_if_no_session(meta: dict[str, Any]) -> None:
    """Restore all retries of a request that `give_up_sessions` has given up. It is sent again, or
    the next page has its meta."""
    _reset(meta, NO_SESSION)


def _reset(meta: dict[str, Any], mark: str) -> None:
    if meta.pop(mark, False):
        meta.pop("dont_retry", None)
        for key in _TRIES:
            meta.pop(key, None)


def end_tries(meta: dict[str, Any]) -> int | None:
    """Take out what the tries of a request have left, since it has a response: a redirect copies
    the meta, and its URL has retries of its own.

    Returns:
        How often the request was retried because its handshake failed; 0 if it was only rejected,
        None if neither.
    """
    retries: int | None = meta.pop(RETRIES, None)
    if retries is not None:
        meta.pop(REJECTIONS, None)
    return retries


def most_bytes(meta: Mapping[str, Any], key: str, default: int) -> int:
    """Return the value of one of Scrapy's keys that bound a body, in bytes; 0 for no bound.

    Raises:
        ValueError: it is no such number.
    """
    value = meta.get(key, default)
    try:
        size = 0 if value is None or value == math.inf else int(value)
    except (OverflowError, TypeError, ValueError):
        size = -1
    if size < 0:
        raise ValueError(f'meta["{key}"] is {value!r}: it takes a number of bytes, 0 for no limit')
    return min(size, _MOST_BYTES)


def seconds(meta: Mapping[str, Any], key: str, default: float) -> float:
    """Return the value of one of Scrapy's keys for a time, in seconds; 0.0 for no bound.

    Raises:
        ValueError: it is no such number.
    """
    value = meta.get(key)
    try:
        number = float(default if value is None else value)
    except (TypeError, ValueError):
        number = -1.0
    if not number >= 0:
        raise ValueError(f'meta["{key}"] is {value!r}: it takes a number of seconds')
    return number if number <= _MOST_SECONDS else 0.0


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("a string or None")
    return value


def _mapping(value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError("a dict or None")
    return value


def _pairs(value: Any) -> HeaderPairs:
    try:
        return [(_bytes(name), _bytes(text)) for name, text in value]
    except (TypeError, ValueError):
        raise ValueError("a list of (name, value) pairs of strings or bytes") from None


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError


def _kind(value: Any) -> Kind:
    if value not in KINDS:
        raise ValueError(f"one of {', '.join(KINDS)}")
    kind: Kind = value
    return kind


def _initiator(value: Any) -> str | None:
    if value is None:
        return None
    try:
        if isinstance(value, str) and web_origin(value) is not None:
            return value
    except ValueError:  # of its port
        pass
    raise ValueError("the URL of a page, or None for an address that was typed")


def _file(value: Any) -> str | bool:
    if value is True:
        return True
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        if isinstance(path, str) and os.path.basename(path) and "\0" not in path:
            try:
                os.fsencode(path)
            except UnicodeEncodeError:
                raise ValueError("a path that os.fsencode() can encode") from None
            return path
    raise ValueError("the path of a file, or True for one in CURL_SAFE_FILES_DIR")


def _session(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("the name of a session")
    return value


def _texts(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    ):
        return value
    raise ValueError("a dict of strings")


#: The keys of `meta["curl_safe"]`, each with what returns its checked value or raises ValueError.
CHECKS: dict[str, Callable[[Any], Any]] = {
    "impersonate": parse_impersonate,
    "ja3": _text,
    "akamai": _text,
    "perk": _text,
    "extra_fp": _mapping,
    "http_version": parse_http_version,
    "verify": _boolean,
    "default_headers": _boolean,
    "raw_headers": _pairs,
    "as": _kind,
    "from": _initiator,
    "clicked": _boolean,
    "file": _file,
    "session": _session,
    "trace_context": _texts,
}


def request_options(meta: Mapping[str, Any]) -> dict[str, Any] | Literal[False]:
    """Return what `meta["curl_safe"]` asks for, checked; False to keep the request off the pool.

    Keys:
        impersonate: as `CURL_SAFE_IMPERSONATE`
        ja3: the ClientHello, as curl_cffi takes it
        akamai: the HTTP/2 fingerprint, as curl_cffi takes it
        perk: the HTTP/3 fingerprint, as curl_cffi takes it
        extra_fp: what else of a fingerprint, as curl_cffi's `ExtraFingerprints` names it
        http_version: as `CURL_SAFE_HTTP_VERSION`
        verify: whether the certificate must be valid
        default_headers: whether the browser's headers are sent, too; `True` unless it is there
        raw_headers: sent as given, in this order, in place of all other headers
        as: what the browser asks for; guessed where it is not there
        from: URL of the page that asks for it; where it is not there, the page whose callback
            yielded the request
        clicked: `False` if no user caused it, but a script or a meta refresh
        file: where the body goes, in place of memory; a relative path is one in
            `CURL_SAFE_FILES_DIR`
        session: the name of the session that sends the request, which is set where it is not there;
            only with `CURL_SAFE_SESSIONS`
        trace_context: the parent of the download's span, as `opentelemetry.propagate.inject` writes
            it; only with `CURL_SAFE_OPENTELEMETRY`

    Raises:
        ValueError: an unknown key or a bad value, naming it and what it takes.
    """
    options = meta.get("curl_safe")
    if options is None:
        return {}
    if options is False:
        return False
    if not isinstance(options, dict):
        raise ValueError(f'meta["curl_safe"] is {options!r}: it takes a dict or False')
    checked = {}
    for key, value in options.items():
        check = CHECKS.get(key)
        if check is None:
            meant = meta_hint(key, CHECKS)
            known = f"{meant}{' It' if meant.endswith('?') else '; it' if meant else 'it'} knows "
            raise ValueError(
                f'meta["curl_safe"] has an unknown key {key!r}: {known}{", ".join(CHECKS)}'
            )
        try:
            checked[key] = check(value)
        except ValueError as error:
            raise ValueError(f'meta["curl_safe"][{key!r}] is {value!r}: it takes {error}') from None
    return checked

"""Translates the meta keys of four other download handlers into this package's own. Pure.

Where a key says nothing, the settings apply; `meta["curl_safe"]` wins over them all.

| key | of |
| --- | --- |
| `impersonate`, `impersonate_args` | scrapy-impersonate |
| `curl` | scrapy-curl |
| `curl_cffi_options`, in the meta or on the spider | scrapy-curl-cffi |
| `curl_cffi_impersonate` | scrapy-download-handlers-incubator |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Literal

from ..settings import parse_bind_address
from .meta import CHECKS, request_options

#: Each of these says something to one of the handlers, and here with CURL_SAFE_COMPAT alone.
FOREIGN_KEYS = frozenset(
    {
        "curl",
        "curl_cffi_impersonate",
        "curl_cffi_options",
        "impersonate",
        "impersonate_args",
        "impersonate_curl_options",
    }
)

# curl_cffi takes libcurl's numbers for them, too:
# https://curl.se/libcurl/c/CURLOPT_HTTP_VERSION.html
_HTTP_VERSIONS = {2: "v1", 3: "v2", 4: "v2tls", 5: "v2_prior_knowledge", 30: "v3", 31: "v3only"}


def _plain(value: Any) -> Any:
    """Turn enumerations and curl_cffi's dataclasses into what a worker can be sent."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value


def _http_version(value: Any) -> str | None:
    if isinstance(value, int):
        value = _HTTP_VERSIONS.get(value, value)
    version: str | None = CHECKS["http_version"](value)
    return version


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError("a number of seconds above 0")
    return float(value)


def _url(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a URL")
    return value


def _no_redirects(value: Any) -> None:
    if value is not False:
        raise ValueError("False: Scrapy follows redirects")


_Checks = dict[str, Callable[[Any], Any]]

_BROWSER: _Checks = {
    key: CHECKS[key]
    for key in ("impersonate", "ja3", "akamai", "perk", "extra_fp", "verify", "default_headers")
}
_CURL: _Checks = {
    **_BROWSER,
    "http_version": _http_version,
    "raw_headers": CHECKS["raw_headers"],
}
# By the names that the options have here. Scrapy has keys of its own for the last three.
_ARGS: _Checks = {
    **_BROWSER,
    "http_version": _http_version,
    "timeout": _seconds,
    "proxy": _url,
    "interface": parse_bind_address,
    "allow_redirects": _no_redirects,
}


def all_options(meta: Mapping[str, Any], spider: Any) -> dict[str, Any] | Literal[False]:
    """Return what `request_options` does, and what the keys of others ask for beside it.

    Raises:
        ValueError: a key or a value that is not known here, named in the message.
    """
    own = request_options(meta)
    if own is False:
        return False
    foreign = foreign_options(meta, spider)
    if foreign is False:
        return own if meta.get("curl_safe") is not None else False
    return {**foreign, **own}


def foreign_options(meta: Mapping[str, Any], spider: Any) -> dict[str, Any] | Literal[False]:
    """Return what the keys of other download handlers ask for; False for Scrapy's own handler.

    Beside the keys of `meta["curl_safe"]` the result may have `timeout`, `proxy` and `interface`.

    Args:
        spider: of the crawl: it may have `curl_cffi_options` for all its requests.

    Raises:
        ValueError: a key or a value that is not known here, named in the message.
    """
    if meta.get("impersonate_curl_options"):
        value = meta["impersonate_curl_options"]
        raise ValueError(
            f'meta["impersonate_curl_options"] is {value!r}: no libcurl options can be given '
            'here; for the order of headers there is meta["curl_safe"]["raw_headers"]'
        )
    if meta.get("curl") is False:
        return False
    options: dict[str, Any] = {}
    for key in ("curl_cffi_impersonate", "impersonate"):
        if meta.get(key) is not None:
            options["impersonate"] = _checked(f'meta["{key}"]', meta[key], CHECKS["impersonate"])
    args = _dict_of(meta, "impersonate_args", _ARGS)
    args.pop("allow_redirects", None)
    everywhere = getattr(spider, "curl_cffi_options", None)
    cffi = _dict_of({"curl_cffi_options": everywhere, **meta}, "curl_cffi_options", _BROWSER)
    curl = _dict_of({**meta, "curl": {}} if meta.get("curl") is True else meta, "curl", _CURL)
    return {**cffi, **curl, **options, **args}


def _dict_of(meta: Mapping[str, Any], name: str, checks: _Checks) -> dict[str, Any]:
    given = meta.get(name)
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ValueError(f'meta["{name}"] is {given!r}: it takes a dict')
    options = {}
    for key, value in given.items():
        label = f'meta["{name}"][{key!r}]'
        if key not in checks:
            known = ", ".join(checks)
            raise ValueError(f"{label} is {value!r}: that cannot be done here, only {known}")
        # To curl_cffi, None is as good as nothing, but for the browser.
        if value is not None or key == "impersonate":
            options[key] = _checked(label, value, checks[key])
    return options


def _checked(label: str, value: Any, check: Callable[[Any], Any]) -> Any:
    try:
        return check(_plain(value))
    except ValueError as error:
        raise ValueError(f"{label} is {value!r}: it takes {error}") from None

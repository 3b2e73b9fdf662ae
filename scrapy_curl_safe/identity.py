"""What a request shows of itself: which browser, which route, which headers.

Pure: from a Scrapy request and the settings to the wire's Profile and list of headers.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS
from scrapy.http import Headers
from scrapy.settings import default_settings
from scrapy.utils.httpobj import urlparse_cached
from scrapy.utils.url import add_http_if_no_scheme

from .meta import HeaderList
from .settings import Settings, parse_bind_address
from .wire import Profile

_DEFAULT_PORTS = {"http": 80, "https": 443}

# What Scrapy itself sends for everybody. No browser sends it, so with a browser's
# handshake it gives way to what that browser sends.
_SCRAPYS_OWN = {
    name.lower().encode(): value.encode()
    for name, value in {
        **default_settings.DEFAULT_REQUEST_HEADERS,
        "User-Agent": default_settings.USER_AGENT,
    }.items()
}
_SCRAPYS_ENCODINGS = b", ".join(ACCEPTED_ENCODINGS)
# Between them, all browsers offer these.
_SCRAPY_DECODES_ALL = {b"gzip", b"deflate", b"br", b"zstd"} <= set(ACCEPTED_ENCODINGS)


# Which browser, by which route


def origin_of(request: Request) -> str:
    """Scheme, host and port (RFC 6454), without credentials."""
    url = urlparse_cached(request)
    return _origin(url.scheme, url.netloc)


@lru_cache(4096)
def _origin(scheme: str, netloc: str) -> str:
    url = SplitResult(scheme, netloc, "", "", "")
    host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    port = url.port or _DEFAULT_PORTS.get(scheme, 0)
    return f"{scheme}://{host}:{port}"


def make_profile(request: Request, options: dict[str, Any], settings: Settings) -> Profile:
    """
    Args:
        options: of this request, checked: they win over Scrapy's own meta keys.

    Raises:
        ValueError: a bad value of one of Scrapy's own meta keys.
    """
    browser = options.get("impersonate", settings.impersonate)
    bind = settings.download_bind_address
    if "interface" in options:
        bind = options["interface"]
    elif request.meta.get("bindaddress") is not None:
        try:
            bind = parse_bind_address(request.meta["bindaddress"])
        except (TypeError, ValueError) as error:
            value = request.meta["bindaddress"]
            raise ValueError(f'meta["bindaddress"] is {value!r}: it takes {error}') from None
    proxy, user, password, proxy_headers = _proxy(request, options)
    return Profile(
        impersonate=browser if isinstance(browser, str) else None,
        fingerprint=browser if isinstance(browser, dict) else None,
        ja3=options.get("ja3"),
        akamai=options.get("akamai"),
        extra_fp=options.get("extra_fp"),
        http_version=options.get("http_version", settings.http_version),
        default_headers=options.get("default_headers", True) and "raw_headers" not in options,
        verify=options.get("verify", settings.download_verify_certificates),
        tls_min=settings.download_tls_min_version,
        tls_max=settings.download_tls_max_version,
        interface=bind[0] if bind else None,
        local_port=bind[1] if bind else 0,
        proxy=proxy,
        proxy_user=user,
        proxy_password=password,
        proxy_headers=proxy_headers,
    )


def _proxy(
    request: Request, options: dict[str, Any]
) -> tuple[str | None, bytes | None, bytes | None, list[bytes]]:
    """URL without credentials, user, password, and headers for the proxy alone."""
    url = request.meta.get("proxy")
    headers = request.meta.get("proxy_headers")
    authorization = request.headers.get(b"Proxy-Authorization")
    if "proxy" in options:
        # Those are for the proxy of the meta.
        url, headers, authorization = options["proxy"], None, None
    if not url:
        return None, None, None, []
    lines = [
        name + b": " + value for name, values in Headers(headers or {}).items() for value in values
    ]
    parts = urlsplit(add_http_if_no_scheme(url))
    userinfo, at, location = parts.netloc.rpartition("@")
    credentials = None
    if at:
        name, _, secret = userinfo.partition(":")
        credentials = unquote_to_bytes(name) + b":" + unquote_to_bytes(secret)
    elif authorization is not None:
        credentials = _basic_credentials(authorization)
        if credentials is None:
            lines.append(b"Proxy-Authorization: " + authorization)
    user, password = None, None
    if credentials is not None:
        user, _, password = credentials.partition(b":")
    return parts._replace(netloc=location).geturl(), user, password, lines


def _basic_credentials(authorization: bytes) -> bytes | None:
    """ "user:password" of HTTP's Basic scheme (RFC 7617); None for another scheme."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True)
    except binascii.Error:
        return None


# Which headers


def make_headers(request: Request, options: dict[str, Any], profile: Profile) -> HeaderList:
    """What is sent, in order; None as a value keeps a header from being sent.

    With a browser's own headers behind them, those here only add and replace.
    """
    if "raw_headers" in options:
        raw: HeaderList = options["raw_headers"]
        return raw
    browser = profile.impersonate is not None or profile.fingerprint is not None
    like_browser = browser and profile.default_headers
    headers: HeaderList = []
    # As the Headers hold them. Their own items() normalizes each name once more.
    for name, values in dict.items(request.headers):
        lower = name.lower()
        if lower == b"proxy-authorization":
            continue
        if not values:
            headers.append((name, None))
        elif not (like_browser and _gives_way(lower, values)):
            headers += [(name, value) for value in values]
    if like_browser and not dict.__contains__(request.headers, b"Accept-Encoding"):
        # HttpCompressionMiddleware is off: nobody would decode what the browser offers.
        headers.append((b"Accept-Encoding", None))
    return headers


def _gives_way(name: bytes, values: list[bytes]) -> bool:
    if name == b"accept-encoding":
        return _SCRAPY_DECODES_ALL and values == [_SCRAPYS_ENCODINGS]
    return values == [_SCRAPYS_OWN.get(name)]

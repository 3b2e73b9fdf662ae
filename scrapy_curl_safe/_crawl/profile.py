"""The profiles of requests: the browser, proxy and local address that each one uses. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import SplitResult

from scrapy import Request
from scrapy.http import Headers
from scrapy.utils.httpobj import urlparse_cached

from .._ipc.messages import Profile, encode_profile
from .._pool.origins import Route
from .._proxy_url import parse_proxy, without_credentials
from ..exceptions import UnsupportedProxyError
from ..settings import Settings, parse_bind_address
from .installed_browsers import InstalledBrowsers
from .meta import SESSION

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(request: Request) -> str:
    """Return scheme, host and port of the URL (RFC 6454), without credentials."""
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


def route_of(request: Request, options: Mapping[str, Any]) -> Route:
    """Return the origin of a request and the proxy on the way there.

    Args:
        options: as `make_profile` takes them.
    """
    proxy = options.get("proxy", request.meta.get("proxy"))
    return Route(origin_of(request), without_credentials(proxy) if proxy else None)


def header_mode(options: Mapping[str, Any], settings: Settings) -> str:
    """Return the value of CURL_SAFE_BROWSER_HEADERS that applies to a request.

    Args:
        options: as `make_profile` takes them.
    """
    wanted = options.get("default_headers")
    if "raw_headers" in options or wanted is False:
        return "none"
    if options.get("impersonate", settings.impersonate) is None:
        return "static"  # Without a browser, the set is empty.
    if settings.browser_headers == "none" and wanted:
        return "static"
    return settings.browser_headers


def make_profile(
    request: Request, options: dict[str, Any], settings: Settings, installed: InstalledBrowsers
) -> Profile:
    """Make the profile of a request.

    Args:
        options: the checked options of `meta["curl_safe"]`; they win over Scrapy's own meta keys.
        installed: the fingerprints that may be asked for by name.

    Raises:
        ValueError: one of Scrapy's own meta keys has a bad value.
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
    name = browser if isinstance(browser, str) else None
    default_headers = header_mode(options, settings) == "static"
    http_version = options.get("http_version", settings.http_version)
    return Profile(
        impersonate=name,
        substitute=name is not None and (default_headers or (http_version or "").startswith("v3")),
        # Even for one of curl_cffi's own names, since only the worker knows which these are.
        fingerprint=browser if isinstance(browser, dict) else installed.get(name or ""),
        ja3=options.get("ja3"),
        akamai=options.get("akamai"),
        perk=options.get("perk"),
        extra_fp=options.get("extra_fp"),
        http_version=http_version,
        default_headers=default_headers,
        verify=options.get("verify", settings.download_verify_certificates),
        tls_min=settings.download_tls_min_version,
        tls_max=settings.download_tls_max_version,
        tls_ciphers=None if "ja3" in options else settings.downloader_client_tls_ciphers,
        interface=bind[0] if bind else None,
        local_port=bind[1] if bind else 0,
        proxy=proxy,
        proxy_user=user,
        proxy_password=password,
        proxy_headers=proxy_headers,
        visitor=request.meta.get(SESSION) if "session" in options else None,
    )


class EncodedProfile(NamedTuple):
    """A profile, with what is derived from it.

    Attributes:
        encoded: its form for the worker.
        header_mode: the value of CURL_SAFE_BROWSER_HEADERS that applies to its requests.
    """

    profile: Profile
    encoded: bytes
    header_mode: str

    @property
    def is_like_browser(self) -> bool:
        """True if its requests carry a browser's headers."""
        has_browser = self.profile.impersonate is not None or self.profile.fingerprint is not None
        return has_browser and self.header_mode != "none"


def encoded_profile(
    request: Request, options: dict[str, Any], settings: Settings, installed: InstalledBrowsers
) -> EncodedProfile:
    """Return the profile of a request; see `make_profile`.

    Raises:
        ValueError: see `make_profile`; or a fingerprint has values of a type that none has.
    """
    profile = make_profile(request, options, settings, installed)
    try:
        encoded = encode_profile(profile)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a fingerprint takes text, numbers, lists and dicts: {error}") from None
    return EncodedProfile(profile, encoded, header_mode(options, settings))


def _proxy(
    request: Request, options: dict[str, Any]
) -> tuple[str | None, bytes | None, bytes | None, list[tuple[bytes, bytes]]]:
    """Return the proxy's URL without credentials, its user, its password, and the headers for it
    alone.

    Raises:
        UnsupportedProxyError: the proxy's scheme is not known, or its URL is malformed.
    """
    url = request.meta.get("proxy")
    headers = request.meta.get("proxy_headers")
    authorization = request.headers.get(b"Proxy-Authorization")
    if "proxy" in options:
        # The meta's headers are for the meta's proxy.
        url, headers, authorization = options["proxy"], None, None
    if not url:
        return None, None, None, []
    for_proxy = [
        (name, value) for name, values in Headers(headers or {}).items() for value in values
    ]
    try:
        url, credentials = parse_proxy(url)
    except ValueError as error:
        raise UnsupportedProxyError(f"The proxy {error}") from None
    if credentials is None and authorization is not None:
        credentials = _basic_credentials(authorization)
        if credentials is None:
            for_proxy.append((b"Proxy-Authorization", authorization))
    user, password = None, None
    if credentials is not None:
        user, _, password = credentials.partition(b":")
    return url, user, password, for_proxy


def _basic_credentials(authorization: bytes) -> bytes | None:
    """Decode "user:password" of HTTP's Basic scheme (RFC 7617); None for another scheme."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return base64.b64decode(token.strip(), validate=True)
    except binascii.Error:
        return None

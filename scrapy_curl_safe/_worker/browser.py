"""Makes a curl handle into a browser, once, for all requests of a profile."""

from __future__ import annotations

import ipaddress
import warnings
from importlib.metadata import version
from typing import Any, get_args

import curl_cffi
from curl_cffi import BrowserTypeLiteral, Curl, CurlOpt, CurlSslVersion, ffi
from curl_cffi.curl import DEFAULT_CACERT
from curl_cffi.requests.utils import set_curl_options

from .._ipc.messages import Profile
from .easy import EasyHandle

TARGETS: frozenset[str] = frozenset(get_args(BrowserTypeLiteral))
# Now: a worker may not read everywhere later.
_VERSION = version("curl_cffi")
_HAS_ORDER = hasattr(CurlOpt, "HTTPHEADER_ORDER")  # since curl_cffi 0.16

_TLS_MIN = {
    None: CurlSslVersion.DEFAULT,
    "TLSv1.0": CurlSslVersion.TLSv1_0,
    "TLSv1.1": CurlSslVersion.TLSv1_1,
    "TLSv1.2": CurlSslVersion.TLSv1_2,
    "TLSv1.3": CurlSslVersion.TLSv1_3,
}


class ProfileError(Exception):
    """No handle can be made for this profile, and why."""


def make_handle(profile: Profile) -> EasyHandle:
    """A handle with everything set that requests of this profile share.

    Raises:
        ProfileError: curl_cffi does not know or take what the profile asks for.
    """
    if profile.impersonate is not None and profile.impersonate not in TARGETS:
        raise ProfileError(
            f"curl_cffi {_VERSION} cannot impersonate {profile.impersonate!r}: "
            f"it knows {', '.join(sorted(TARGETS))}"
        )
    curl = EasyHandle()
    try:
        _impersonate(curl, profile)
    except Exception as error:
        # curl_cffi answers bad fingerprints with AssertionError, KeyError and others.
        raise ProfileError(f"{type(error).__name__}: {error}") from error
    _only_http(curl)
    _tls(curl, profile)
    _route(curl, profile)
    if profile.once:
        curl.setopt(CurlOpt.SSL_SESSIONID_CACHE, 0)
    return curl


def browser_headers(profile: Profile) -> list[tuple[bytes, bytes]]:
    """The headers of a fingerprint given as a dict; libcurl itself adds a target's own."""
    if profile.fingerprint is None or not profile.default_headers:
        return []
    headers: dict[str, str] = profile.fingerprint.get("headers") or {}
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _impersonate(curl: Curl, profile: Profile) -> None:
    target: Any = profile.impersonate
    extra_fp: Any = profile.extra_fp
    http_version: Any = profile.http_version
    if profile.fingerprint is not None:
        target = curl_cffi.Fingerprint(**profile.fingerprint)
    with warnings.catch_warnings():
        # It warns that ja3 and the like alter the browser: here somebody asked for that.
        warnings.simplefilter("ignore")
        set_curl_options(
            curl,
            "GET",
            "https://localhost/",
            params_list=[None, None],
            headers_list=[None, None],
            cookies_list=[None, None],
            proxies_list=[None, None],
            verify_list=[True, None],
            allow_redirects=False,
            accept_encoding=None,
            impersonate=target,
            ja3=profile.ja3,
            akamai=profile.akamai,
            extra_fp=extra_fp,
            http_version=http_version,
            default_headers=profile.default_headers and profile.fingerprint is None,
            quote=False,
        )
    asked: Any = extra_fp or {}
    if _HAS_ORDER and not profile.default_headers and "header_order" not in asked:
        # Since curl_cffi 0.17 a browser's order is put on any headers.
        curl.setopt(CurlOpt.HTTPHEADER_ORDER, ffi.NULL)
    if profile.ja3 is not None and "tls_permute_extensions" not in asked:
        # A browser that permutes its extensions goes on to do so since curl_cffi 0.17.
        curl.setopt(CurlOpt.SSL_PERMUTE_EXTENSIONS, 0)
    # It turns the cookie engine on, whose cookies would pass from request to request.
    curl.setopt(CurlOpt.COOKIEFILE, ffi.NULL)
    curl.clean_handles_and_buffers()


def _only_http(curl: Curl) -> None:
    """libcurl is to speak HTTP and nothing more: Scrapy does the rest."""
    curl.setopt(CurlOpt.PROTOCOLS_STR, "http,https")
    curl.setopt(CurlOpt.FOLLOWLOCATION, 0)
    curl.setopt(CurlOpt.HTTP_CONTENT_DECODING, 0)
    curl.setopt(CurlOpt.PATH_AS_IS, 1)
    curl.setopt(CurlOpt.NOSIGNAL, 1)
    curl.setopt(CurlOpt.SUPPRESS_CONNECT_HEADERS, 1)


def _tls(curl: Curl, profile: Profile) -> None:
    curl.setopt(CurlOpt.CERTINFO, 1)
    verify = int(profile.verify)
    for option in (CurlOpt.SSL_VERIFYPEER, CurlOpt.PROXY_SSL_VERIFYPEER):
        curl.setopt(option, verify)
    for option in (CurlOpt.SSL_VERIFYHOST, CurlOpt.PROXY_SSL_VERIFYHOST):
        curl.setopt(option, 2 * verify)
    for option in (CurlOpt.CAINFO, CurlOpt.PROXY_CAINFO):
        # Without a need for them libcurl would read all authorities for every connection.
        curl.setopt(option, DEFAULT_CACERT if profile.verify else ffi.NULL)
    if profile.tls_min is not None or profile.tls_max is not None:
        # CURLOPT_SSLVERSION: the maximum stands in the upper 16 bits.
        limits = _TLS_MIN[profile.tls_min] | _TLS_MIN[profile.tls_max] << 16
        curl.setopt(CurlOpt.SSLVERSION, limits)


def _route(curl: Curl, profile: Profile) -> None:
    """Proxy and local address."""
    # An empty PROXY also keeps libcurl from looking for one in the environment.
    curl.setopt(CurlOpt.PROXY, (profile.proxy or "").encode())
    if profile.proxy_user is not None:
        curl.setopt(CurlOpt.PROXYUSERNAME, profile.proxy_user)
        curl.setopt(CurlOpt.PROXYPASSWORD, profile.proxy_password or b"")
    if profile.proxy_headers:
        curl.setopt(CurlOpt.PROXYHEADER, profile.proxy_headers)
    if profile.interface is not None:
        curl.setopt(CurlOpt.INTERFACE, _interface(profile.interface))
    if profile.local_port:
        curl.setopt(CurlOpt.LOCALPORT, profile.local_port)


def _interface(name: str) -> bytes:
    """CURLOPT_INTERFACE takes "host!" before an address, so that it is never a device."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.encode()
    return b"host!" + name.encode()

"""The libcurl options of a profile: browser, TLS, proxy. They are set once for each easy handle."""

from __future__ import annotations

import ipaddress
from typing import Any

import curl_cffi
import msgspec
from curl_cffi import Curl, CurlOpt, CurlSslVersion

from .._ipc.messages import Profile
from .._platform.redirects import redirecting_libraries
from .curl_api import AUTHORITIES, ffi, set_browser_options
from .easy import EasyHandle
from .easy_substitutes import new_easy_handle
from .header_lists import header_line
from .targets import CURL_CFFI_VERSION, ProfileError

# Since curl_cffi 0.16: for HTTP/1.1 and HTTP/2, and for HTTP/3.
_HEADER_ORDERS = [
    getattr(CurlOpt, name)
    for name in ("HTTPHEADER_ORDER", "HTTP3_HTTPHEADER_ORDER")
    if hasattr(CurlOpt, name)
]

# These browsers leave session_ticket out of a ClientHello that resumes a session of TLS 1.3.
# libcurl can only leave it out of every ClientHello (CURLOPT_SSL_ENABLE_TICKET): it never resumes,
# without the extension, a session that was begun with it.
_GECKO = ("firefox", "tor")

# libcurl fills this up to ten times in a turn. A transfer that has more waits for the next turn,
# for which libcurl sets its timer: with the default of 16 KiB, a page of 1 MB took six. With
# 256 KiB, pages of 1 MB came no faster, and those of 50 kB more slowly.
_READ_BUFFER_BYTES = 124 * 1024

_SSL_VERSIONS = {
    None: CurlSslVersion.DEFAULT,
    "TLSv1.0": CurlSslVersion.TLSv1_0,
    "TLSv1.1": CurlSslVersion.TLSv1_1,
    "TLSv1.2": CurlSslVersion.TLSv1_2,
    "TLSv1.3": CurlSslVersion.TLSv1_3,
}


def create_easy_handle(profile: Profile) -> EasyHandle:
    """Create an easy handle and set all options that requests of this profile share.

    Args:
        profile: as `resolve_browser` returned it.

    Raises:
        HttpSyntaxError: one of the headers for the proxy cannot be sent.
        ProfileError: curl_cffi does not know or does not accept what the profile asks for.
    """
    library = redirecting_libraries().get("connect")
    if library is not None and (profile.http_version or "").startswith("v3"):
        raise ProfileError(
            f"HTTP/3 ({profile.http_version}) runs over UDP and would bypass {library}, which "
            "redirects connections"
        )
    easy = new_easy_handle()
    try:
        _impersonate(easy, profile)
    except Exception as error:
        # curl_cffi answers bad fingerprints with AssertionError, KeyError and others.
        raise ProfileError(_misfit(profile) or f"{type(error).__name__}: {error}") from error
    _restrict_to_http(easy)
    _set_tls_options(easy, profile)
    _set_route_options(easy, profile)
    if profile.once or _is_gecko(profile):
        easy.setopt(CurlOpt.SSL_SESSIONID_CACHE, 0)
    return easy


def _is_gecko(profile: Profile) -> bool:
    browser = profile.impersonate or (profile.fingerprint or {}).get("client")
    return isinstance(browser, str) and browser.lower().startswith(_GECKO)


def _impersonate(easy: Curl, profile: Profile) -> None:
    target: Any = profile.impersonate
    if profile.fingerprint is not None:
        target = curl_cffi.Fingerprint(**profile.fingerprint)
    set_browser_options(
        easy,
        impersonate=target,
        ja3=profile.ja3,
        akamai=profile.akamai,
        perk=profile.perk,
        extra_fp=profile.extra_fp,
        http_version=profile.http_version,
        default_headers=profile.default_headers and profile.fingerprint is None,
    )
    given = profile.extra_fp or {}
    if not profile.default_headers and "header_order" not in given:
        # curl_cffi 0.17 and later would sort all headers into the browser's order.
        for order in _HEADER_ORDERS:
            easy.setopt(order, ffi.NULL)
    if profile.ja3 is not None and "tls_permute_extensions" not in given:
        # With curl_cffi 0.17 and later a browser that permutes its extensions would still do so.
        easy.setopt(CurlOpt.SSL_PERMUTE_EXTENSIONS, 0)
    # curl_cffi has enabled the cookie engine, whose cookies would pass between requests.
    easy.setopt(CurlOpt.COOKIEFILE, ffi.NULL)
    easy.clean_handles_and_buffers()


def _misfit(profile: Profile) -> str | None:
    """Return which field of a fingerprint has a value of another type than curl_cffi's."""
    for what, fields, taken in (
        ("the fingerprint", profile.fingerprint, "Fingerprint"),
        ("extra_fp", profile.extra_fp, "ExtraFingerprints"),
    ):
        try:
            if fields is not None:
                msgspec.convert(fields, getattr(curl_cffi, taken))
        except msgspec.ValidationError as error:
            return f"{what} is not one of curl_cffi {CURL_CFFI_VERSION}: {error}"
    return None


def _restrict_to_http(easy: Curl) -> None:
    """Have libcurl do HTTP and nothing more: redirects and decoding are left to Scrapy."""
    easy.setopt(CurlOpt.PROTOCOLS_STR, "http,https")
    easy.setopt(CurlOpt.FOLLOWLOCATION, 0)
    easy.setopt(CurlOpt.HTTP_CONTENT_DECODING, 0)
    easy.setopt(CurlOpt.PATH_AS_IS, 1)
    easy.setopt(CurlOpt.NOSIGNAL, 1)
    easy.setopt(CurlOpt.BUFFERSIZE, _READ_BUFFER_BYTES)
    easy.setopt(CurlOpt.SUPPRESS_CONNECT_HEADERS, 1)


def _set_tls_options(easy: Curl, profile: Profile) -> None:
    easy.setopt(CurlOpt.CERTINFO, 1)
    verify = int(profile.verify)
    for option in (CurlOpt.SSL_VERIFYPEER, CurlOpt.PROXY_SSL_VERIFYPEER):
        easy.setopt(option, verify)
    for option in (CurlOpt.SSL_VERIFYHOST, CurlOpt.PROXY_SSL_VERIFYHOST):
        easy.setopt(option, 2 * verify)
    for option in (CurlOpt.CAINFO, CurlOpt.PROXY_CAINFO):
        # libcurl reads all authorities for every connection, needed or not.
        easy.setopt(option, AUTHORITIES if profile.verify else ffi.NULL)
    if profile.tls_min is not None or profile.tls_max is not None:
        # CURLOPT_SSLVERSION has the maximum in the upper 16 bits.
        limits = _SSL_VERSIONS[profile.tls_min] | _SSL_VERSIONS[profile.tls_max] << 16
        easy.setopt(CurlOpt.SSLVERSION, limits)
    if profile.tls_ciphers is not None:
        # For TLS 1.2 and earlier; the ciphers of TLS 1.3 stay the browser's.
        easy.setopt(CurlOpt.SSL_CIPHER_LIST, profile.tls_ciphers.encode())


def _set_route_options(easy: Curl, profile: Profile) -> None:
    """Set the proxy and the local address."""
    # An empty PROXY also keeps libcurl from taking one from the environment.
    easy.setopt(CurlOpt.PROXY, (profile.proxy or "").encode())
    if profile.proxy_user is not None:
        easy.setopt(CurlOpt.PROXYUSERNAME, profile.proxy_user)
        easy.setopt(CurlOpt.PROXYPASSWORD, profile.proxy_password or b"")
    if profile.proxy_headers:
        lines = [header_line(name, value) for name, value in profile.proxy_headers]
        easy.setopt(CurlOpt.PROXYHEADER, lines)
    if profile.interface is not None:
        easy.setopt(CurlOpt.INTERFACE, _interface(profile.interface))
    if profile.local_port:
        easy.setopt(CurlOpt.LOCALPORT, profile.local_port)


def _interface(name: str) -> bytes:
    """Return the value of CURLOPT_INTERFACE, in which "host!" marks an address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name.encode()
    return b"host!" + name.encode()

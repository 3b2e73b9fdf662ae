"""The libcurl options of one request. `browser` has those that requests of a profile share."""

from __future__ import annotations

from curl_cffi import CurlOpt

from .._ipc.framing import MAX_BODY_BYTES
from .._ipc.http_syntax import HeadPart, check_head_part
from .._ipc.messages import Fetch
from .easy import LARGE_UPLOAD_BYTES, EasyHandle
from .request_target import request_target, with_host
from .session import Session

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_URL = int(CurlOpt.URL)
_REQUEST_TARGET = int(CurlOpt.REQUEST_TARGET)
_TIMEOUT_MS = int(CurlOpt.TIMEOUT_MS)
_CONNECTTIMEOUT_MS = int(CurlOpt.CONNECTTIMEOUT_MS)
_FRESH_CONNECT = int(CurlOpt.FRESH_CONNECT)
_FORBID_REUSE = int(CurlOpt.FORBID_REUSE)
_VERBOSE = int(CurlOpt.VERBOSE)
_MAXFILESIZE = int(CurlOpt.MAXFILESIZE_LARGE)
_UPLOAD_BUFFERSIZE = int(CurlOpt.UPLOAD_BUFFERSIZE)

_MIN_UPLOAD_BUFFER_BYTES = 16 * 1024  # libcurl takes no less
_DEFAULT_UPLOAD_BUFFER_BYTES = 64 * 1024

# RFC 9110, section 9.2.2.
_IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_COMMON_METHODS = _IDEMPOTENT_METHODS | {"POST", "PATCH"}


def set_request_options(easy: EasyHandle, fetch: Fetch, body: bytes, session: Session) -> None:
    """Set what a request asks for on a handle of its session.

    Raises:
        CurlError: libcurl does not take an option.
        HttpSyntaxError: method, URL or a header cannot be sent.
        ValueError: the URL cannot be encoded or split.
    """
    easy.url = fetch.url
    http_proxy = (session.profile.proxy or "").startswith("http")
    server, target, authority, is_absolute = request_target(fetch.url, http_proxy=http_proxy)
    host = None
    if is_absolute and authority.startswith(b"["):
        # libcurl 8.21 loses the brackets of an IPv6 address and fails with code 27. The proxy is
        # given the URL as it is, and libcurl a host that it never looks up.
        server = server.replace(authority, b"ipv6-literal.invalid")
        host = authority
    if fetch.method not in _COMMON_METHODS:
        check_head_part(HeadPart.METHOD, fetch.method.encode())
    easy.set_text(_URL, server)
    easy.set_text(_REQUEST_TARGET, target)
    easy.set_method(fetch.method, body)
    # What may reach the origin twice is for Scrapy's retry policy to say.
    easy.limit_sends(2 if fetch.method in _IDEMPOTENT_METHODS else 1)
    if body:
        is_large = len(body) >= LARGE_UPLOAD_BYTES
        buffer_size = _MIN_UPLOAD_BUFFER_BYTES if is_large else _DEFAULT_UPLOAD_BUFFER_BYTES
        easy.set_number(_UPLOAD_BUFFERSIZE, buffer_size)
    if fetch.browser_head is None:
        headers = with_host(fetch.headers, host)
        easy.set_header_list(session.header_lists.get(headers))
        if session.http3_header_lists is not None:
            easy.set_http3_header_list(session.http3_header_lists.get(headers))
    else:
        session.browser_heads.set(easy, fetch, body, host)
    is_alone = fetch.fresh_connection or fetch.echo
    # A streamed download watches its size itself. The length in a response to HEAD is never sent.
    is_limited = not fetch.stream and fetch.method != "HEAD"
    maxsize = most_in_memory(fetch) if is_limited else 0
    limits = (fetch.timeout_seconds, maxsize, is_alone, fetch.report_tls)
    if easy.limits != limits:
        timeout_ms = _to_milliseconds(fetch.timeout_seconds)
        easy.set_number(_TIMEOUT_MS, timeout_ms)
        easy.set_number(_CONNECTTIMEOUT_MS, timeout_ms)
        easy.set_number(_FRESH_CONNECT, int(is_alone))
        easy.set_number(_FORBID_REUSE, int(is_alone or session.profile.once))
        easy.set_number(_VERBOSE, int(fetch.report_tls))
        easy.set_number(_MAXFILESIZE, maxsize)
        easy.limits = limits


def most_in_memory(fetch: Fetch) -> int:
    """Return how many bytes a body may have that is not streamed: no more than fit into a frame."""
    return min(fetch.maxsize_bytes or MAX_BODY_BYTES, MAX_BODY_BYTES)


def _to_milliseconds(seconds: float) -> int:
    """Return at least 1 for any bound: to libcurl, 0 means none."""
    return max(1, round(seconds * 1000)) if seconds else 0

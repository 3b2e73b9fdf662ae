"""The heads of a browser's requests in libcurl's terms: lines, their order, HTTP/2 priority."""

from __future__ import annotations

from typing import Any, NamedTuple

from curl_cffi import CurlOpt

from .._ipc.http_syntax import HeadPart, check_head_part
from .._ipc.messages import BrowserHead, Fetch, Profile, decode_browser_head
from .easy import EasyHandle
from .header_lists import HeaderLists
from .request_target import with_host

# As plain numbers: members of curl_cffi's enumerations take longer to look up.
_COOKIE = int(CurlOpt.COOKIE)
_REFERER = int(CurlOpt.REFERER)
_HTTP_VERSION = int(CurlOpt.HTTP_VERSION)
_STREAM_WEIGHT = int(CurlOpt.STREAM_WEIGHT)
_STREAM_EXCLUSIVE = int(CurlOpt.STREAM_EXCLUSIVE)
_SPLIT_COOKIES = int(CurlOpt.SPLIT_COOKIES)
_HEADER_ORDER: int | None = getattr(CurlOpt, "HTTPHEADER_ORDER", None)  # since curl_cffi 0.16

# https://curl.se/libcurl/c/CURLOPT_HTTP_VERSION.html: HTTP/2 only over TLS. With "v2", libcurl also
# offers an upgrade over plain http, which no browser does.
_HTTP_2_OVER_TLS = 4
_OFFERS_UPGRADE = (None, "v2")
# libcurl writes these before the lines that it is given, unless they are among those.
_OWN_OF_LIBCURL = frozenset({b"accept", b"accept-encoding", b"user-agent"})
# All that it may write without being given a line.
_ADDED_BY_LIBCURL = _OWN_OF_LIBCURL | {
    b"authorization",
    b"connection",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"http2-settings",
    b"proxy-authorization",
    b"proxy-connection",
    b"referer",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}
# libcurl writes this one behind all others, even if a line of it is among the headers.
_WRITTEN_LAST = b"connection"

# The pages of one origin share a head; each other origin that links to them adds one.
_MAX_HEADS = 64


class _PreparedHead(NamedTuple):
    """A head in libcurl's terms; None for what the profile itself sets.

    Attributes:
        needs_order: whether the lines must be ordered even if libcurl adds none to them.
    """

    header_list: Any
    order: bytes | None
    needs_order: bool
    weight: int | None
    exclusive: bool


class BrowserHeads:
    """The heads of one session's requests.

    Args:
        profile: the profile of all its requests.
        header_lists: the session's header lists.
    """

    def __init__(self, profile: Profile, header_lists: HeaderLists) -> None:
        self._header_lists = header_lists
        self._is_direct = profile.proxy is None
        self._offers_upgrade = profile.http_version in _OFFERS_UPGRADE
        self._settled = frozenset(profile.extra_fp or ())
        # Over plain http a proxy gets its headers with the request's.
        self._added = _ADDED_BY_LIBCURL.union(name.lower() for name, _ in profile.proxy_headers)
        self._heads: dict[tuple[bytes, bytes | None], _PreparedHead] = {}
        self._latest: tuple[bytes, bytes | None, _PreparedHead] | None = None

    def set(self, easy: EasyHandle, fetch: Fetch, body: bytes, host: bytes | None) -> None:
        """Set the options that make libcurl send a request's head.

        Args:
            body: of the request.
            host: value of Host, unless the request has one; None for libcurl's own.

        Raises:
            CurlError: libcurl does not take an option.
            HttpSyntaxError: a header cannot be sent.
            MemoryError: no memory is left.
            ProtocolError: the head cannot be decoded.
        """
        assert fetch.browser_head is not None
        head = self._get(fetch.browser_head, host)
        if easy.browser_head is not head:
            self._set_head(easy, head)
            easy.browser_head = head
        for name, option, value in (
            (b"Cookie", _COOKIE, fetch.cookie),
            (b"Referer", _REFERER, fetch.referer),
        ):
            if value is not None:
                check_head_part(HeadPart.FIELD_VALUE, value, of=f"header {name!r}")
            easy.set_text(option, value)
        if head.order is not None and _HEADER_ORDER is not None:
            # To order the lines takes libcurl longer than to write them.
            is_ordered = (
                not head.needs_order
                and fetch.method == "GET"
                and not body
                and fetch.cookie is None
                and fetch.referer is None
                and self._is_direct
                and "@" not in fetch.url  # or libcurl may add Authorization
            )
            easy.set_text(_HEADER_ORDER, None if is_ordered else head.order or None)

    def _get(self, encoded: bytes, host: bytes | None) -> _PreparedHead:
        # A head is quicker to compare than to hash, and most requests have the one before's.
        if self._latest is not None and self._latest[:2] == (encoded, host):
            return self._latest[2]
        head = self._heads.get((encoded, host))
        if head is None:
            if len(self._heads) == _MAX_HEADS:
                self._heads.clear()
            head = self._prepare(decode_browser_head(encoded), host)
            self._heads[encoded, host] = head
        self._latest = encoded, host, head
        return head

    def _set_head(self, easy: EasyHandle, head: _PreparedHead) -> None:
        easy.set_header_list(head.header_list)
        if head.weight is not None:
            easy.set_number(_STREAM_WEIGHT, head.weight)
            easy.set_number(_STREAM_EXCLUSIVE, head.exclusive)
        if "split_cookies" not in self._settled:
            easy.set_number(_SPLIT_COOKIES, 1)
        if self._offers_upgrade:
            easy.set_number(_HTTP_VERSION, _HTTP_2_OVER_TLS)

    def _prepare(self, head: BrowserHead, host: bytes | None) -> _PreparedHead:
        for name in head.order:
            check_head_part(HeadPart.FIELD_NAME, name, of=f"header {name!r}")
        # libcurl keeps a copy for each request, and looks for each name among the lines.
        possible = self._added.union(name.lower() for name, _ in head.fields)
        order = [name for name in head.order if name in possible]
        return _PreparedHead(
            self._header_lists.make(with_host(head.fields, host), head.riders),
            None if "header_order" in self._settled else b",".join(order),
            host is not None or not _is_ordered(head),
            None if "http2_stream_weight" in self._settled else head.weight,
            head.exclusive,
        )


def _is_ordered(head: BrowserHead) -> bool:
    """Tell whether libcurl writes the lines of a head in order by itself."""
    names = [name.lower() for name, _ in head.fields]
    if head.is_http2:
        names = [name for name in names if name != _WRITTEN_LAST]
    ranks = [head.order.index(name) for name in names if name in head.order]
    return (
        not head.riders
        and _WRITTEN_LAST not in names
        and len(ranks) == len(names)
        and ranks == sorted(ranks)
        and head.order[:1] == [b"host"]
        and _OWN_OF_LIBCURL.issubset(names)
    )

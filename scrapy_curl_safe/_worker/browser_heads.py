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

# The pages of one origin share a head; each other origin that links to them adds one.
_MAX_HEADS = 64


class _PreparedHead(NamedTuple):
    """A head in libcurl's terms; None for what the profile itself sets."""

    header_list: Any
    order: bytes | None
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
        self._offers_upgrade = profile.http_version in _OFFERS_UPGRADE
        self._settled = frozenset(profile.extra_fp or ())
        self._heads: dict[tuple[bytes, bytes | None], _PreparedHead] = {}

    def set(self, easy: EasyHandle, fetch: Fetch, host: bytes | None) -> None:
        """Set the options that make libcurl send a request's head.

        Args:
            host: value of Host, unless the request has one; None for libcurl's own.

        Raises:
            CurlError: libcurl does not take an option.
            HttpSyntaxError: a header cannot be sent.
            MemoryError: no memory is left.
            ProtocolError: the head cannot be decoded.
        """
        assert fetch.browser_head is not None
        key = (fetch.browser_head, host)
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) == _MAX_HEADS:
                self._heads.clear()
            head = self._heads[key] = self._prepare(decode_browser_head(fetch.browser_head), host)
        easy.set_header_list(head.header_list)
        if head.order is not None and _HEADER_ORDER is not None:
            easy.set_text(_HEADER_ORDER, head.order)
        for name, option, value in (
            (b"Cookie", _COOKIE, fetch.cookie),
            (b"Referer", _REFERER, fetch.referer),
        ):
            if value is not None:
                check_head_part(HeadPart.FIELD_VALUE, value, of=f"header {name!r}")
            easy.set_text(option, value)
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
        return _PreparedHead(
            self._header_lists.make(with_host(head.fields, host), head.riders),
            None if "header_order" in self._settled else b",".join(head.order),
            None if "http2_stream_weight" in self._settled else head.weight,
            head.exclusive,
        )

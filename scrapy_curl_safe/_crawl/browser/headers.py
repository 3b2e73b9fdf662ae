"""Computes the headers of a request as the browser would send them.

Two steps leave little to do for each request. A plan is cached by target, origins and the names of
what the user set. It is then filled in with what differs from one request to the next: a Referer
with a path, and the user's values. Host, Content-Length and Cookie have a place in the order but no
value here: libcurl adds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from .chromium import chromium_layout
from .client_hints import NAVIGATION_ORDER
from .cookies import crumbs
from .gecko import gecko_layout
from .layout import Shape
from .referrer import Trim, referer
from .request import SCRIPTED, BrowserRequest, RequestFacts, at_origins, facts_of
from .sites import web_origin
from .target import Family, Target
from .webkit import webkit_layout

Pairs = tuple[tuple[bytes, bytes], ...]

_LAYOUTS = {"chromium": chromium_layout, "gecko": gecko_layout, "webkit": webkit_layout}

# The schemes of Authorization with which a browser answers a 401 (RFC 9110, section 11.6.1).
_CHALLENGED = (b"basic ", b"digest ", b"ntlm ", b"negotiate ")

# Names that the browser writes its own way even if a script has set them.
_WRITTEN_BY_BROWSER = frozenset(
    {
        "accept-encoding",
        "accept-language",
        "connection",
        "content-length",
        "cookie",
        "host",
        "if-modified-since",
        "if-none-match",
        "origin",
        "priority",
        "referer",
        "user-agent",
    }
)
_ALSO_BY: dict[Family, frozenset[str]] = {
    "chromium": frozenset({"range"}),
    "gecko": frozenset({"accept"}),
    "webkit": frozenset(),
}
_ODD_CASE = {"te": b"TE", "dnt": b"DNT", "sec-gpc": b"Sec-GPC"}
_LOWER_CASE = frozenset(NAVIGATION_ORDER)

# RFC 9113, section 8.2.2; and what the browsers send over HTTP/2 and HTTP/3 only.
_HTTP1_ONLY = frozenset({b"connection", b"host"})
_HTTP2_ONLY: dict[Family, frozenset[bytes]] = {
    "chromium": frozenset({b"priority"}),
    "gecko": frozenset({b"te"}),
    "webkit": frozenset({b"priority"}),
}


class BrowserHeaders(NamedTuple):
    """The headers that a browser sends.

    Attributes:
        fields: names and values in order, without Host, Content-Length and Cookie unless the user
            set them. Names are in the case of HTTP/1.1. Some belong to one version of HTTP only,
            see `http1_fields` and `http2_fields`.
        order: all names that may be there, in lower case and in order: those of `fields`, and
            `host`, `content-length` and `cookie`.
        weight: of the HTTP/2 stream, 1 to 256; None where the browser sends no priority.
        exclusive: the HTTP/2 priority's exclusive flag.
    """

    family: Family
    fields: Pairs
    order: tuple[bytes, ...]
    weight: int | None
    exclusive: bool


class _Plan(NamedTuple):
    """The headers that all requests from one origin to another share.

    Attributes:
        slots: lower-case name and field of each header; the field is None if it depends on the URL
            of the initiator or on the user.
        written: the names as the browser writes them, without those that stay as the user set them.
    """

    slots: tuple[tuple[bytes, tuple[bytes, bytes] | None], ...]
    written: dict[bytes, bytes]
    order: tuple[bytes, ...]
    weight: int | None
    exclusive: bool


def browser_headers(
    request: BrowserRequest,
    target: Target,
    own: Sequence[tuple[bytes, bytes | None]] = (),
) -> BrowserHeaders:
    """Return the headers with which a browser would send a request.

    Args:
        own: names and values that the user set, in order; None as a value keeps a header from being
            sent. They keep their values and take the places that the browser gives them. A request
            that has a Referer but no initiator counts as made by that page.

    Raises:
        ValueError: a URL has no host, or an invalid port.
    """
    mine: dict[bytes, tuple[bytes, list[bytes]]] = {}
    for name, value in own:
        values = mine.setdefault(name.lower(), (name, []))[1]
        if value is not None:
            values.append(value)
    if request.initiator is None and mine.get(b"referer", (b"", []))[1]:
        request = _asked_for_by(request, mine[b"referer"][1][0].decode("latin-1"))
    authorization = mine.get(b"authorization", (b"", []))[1]
    is_challenged = bool(authorization) and authorization[0].lower().startswith(_CHALLENGED)
    plan = _plan(target, at_origins(request), tuple(mine), is_challenged)
    fields: list[tuple[bytes, bytes]] = []
    for lower, field in plan.slots:
        if field is not None:
            fields.append(field)
        elif lower in mine:
            case, values = mine[lower]
            as_set = case.lower() if request.kind == "fetch" else case
            written = plan.written.get(lower, as_set)
            fields += [(written, value) for value in values]
        else:
            page = referer(request.initiator or "", Trim.FULL) or ""
            fields.append((b"Referer", page.encode()))
    return BrowserHeaders(target.family, tuple(fields), plan.order, plan.weight, plan.exclusive)


def http1_fields(headers: BrowserHeaders) -> Pairs:
    """Return the fields for HTTP/1.1."""
    absent = _HTTP2_ONLY[headers.family]
    return tuple(field for field in headers.fields if field[0].lower() not in absent)


def http2_fields(headers: BrowserHeaders) -> Pairs:
    """Return the fields for HTTP/2 and HTTP/3: names in lower case, a field for each cookie."""
    fields: list[tuple[bytes, bytes]] = []
    for name, value in headers.fields:
        lower = name.lower()
        if lower == b"cookie":
            text = value.decode("latin-1")
            fields += [(lower, crumb.encode("latin-1")) for crumb in crumbs(text)]
        elif lower not in _HTTP1_ONLY:
            fields.append((lower, value))
    return tuple(fields)


def _asked_for_by(request: BrowserRequest, page: str) -> BrowserRequest:
    """Make a page the initiator: no browser sends Sec-Fetch-Site: none with a Referer."""
    return request if web_origin(page) is None else request._replace(initiator=page)


@lru_cache(2048)
def _plan(
    target: Target, request: BrowserRequest, own: tuple[bytes, ...], is_challenged: bool
) -> _Plan:
    facts = facts_of(request)
    names = tuple(name.decode("latin-1") for name in own)
    shape = _shape(request, facts, names, is_challenged)
    layout = _LAYOUTS[target.family](target, shape)
    values = {**layout.values}
    if values.get("origin", "") is None:
        values["origin"] = str(facts.initiator)
    if facts.referer is Trim.ORIGIN:
        values["referer"] = f"{facts.initiator}/"
    slots, written = [], {}
    for name in layout.order:
        if name not in names and name not in values:
            continue
        lower = name.encode("latin-1")
        as_written = _written(target.family, shape, name)
        if as_written is not None:
            written[lower] = as_written
        value = values.get(name)
        is_fixed = name not in names and value is not None
        field = (as_written or lower, (value or "").encode("latin-1")) if is_fixed else None
        slots.append((lower, field))
    order = tuple(name.encode("latin-1") for name in layout.order)
    return _Plan(tuple(slots), written, order, layout.weight, layout.exclusive)


def _shape(
    request: BrowserRequest, facts: RequestFacts, own: tuple[str, ...], is_challenged: bool
) -> Shape:
    return Shape(
        kind=request.kind,
        method=request.method,
        mode=facts.mode,
        site=facts.site,
        is_trustworthy=facts.is_trustworthy,
        is_foreign=facts.is_foreign,
        is_third_party=facts.is_third_party,
        has_credentials=facts.has_credentials,
        same_domain=facts.same_domain,
        is_redirected=facts.is_redirected,
        began_at_home=facts.began_at_home,
        crossed=facts.crossed,
        origin_header=facts.origin_header,
        is_typed=facts.initiator is None,
        has_referer=facts.referer is not Trim.NOTHING,
        clicked=request.clicked,
        reload=request.reload,
        was_post=request.was_post,
        hints=request.hints,
        own=own,
        is_challenged=is_challenged,
    )


def _written(family: Family, shape: Shape, name: str) -> bytes | None:
    """Return a name as the browser writes it; None if it stays as it was set."""
    is_scripts = shape.kind in SCRIPTED and name not in _WRITTEN_BY_BROWSER | _ALSO_BY[family]
    if name in shape.own and (is_scripts or name not in _KNOWN):
        return None
    if name in _LOWER_CASE:
        return name.encode()
    return _ODD_CASE.get(name, "-".join(map(str.capitalize, name.split("-"))).encode())


# Names that the browsers write themselves; all others stay as the user wrote them.
_KNOWN = _WRITTEN_BY_BROWSER | {
    "accept",
    "authorization",
    "cache-control",
    "content-type",
    "pragma",
    "range",
    "upgrade-insecure-requests",
    *NAVIGATION_ORDER,
}

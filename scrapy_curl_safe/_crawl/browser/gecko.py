"""Firefox's headers.

Order: `nsHttpHandler` writes User-Agent, Accept, Accept-Language and Accept-Encoding. The others
follow in the order in which they were set on the channel: before it is opened (by a form, a script,
`fetch()`), as it is opened (Origin, Authorization, Connection, Referer, Cookie) and after that
(Upgrade-Insecure-Requests, Sec-Fetch-*, the cache's conditions, Priority). A redirect sets the same
headers on a new channel, where Referer comes earlier. The recording of Firefox 153 shows all of
this.
"""

from __future__ import annotations

from .layout import (
    ANYTHING,
    OTHERS,
    STYLE,
    Layout,
    Priority,
    Shape,
    asks_for_storage,
    encodings,
    fetch_metadata,
    of_request,
    place_others,
)
from .request import SCRIPTED, Kind, OriginHeader
from .target import Target

_HEAD = ("host", "user-agent", "accept", "accept-language", "accept-encoding")
_BODY = ("content-type", "content-length")
_ACCESS = "sec-fetch-storage-access"
_OPENED = ("origin", "authorization", _ACCESS, "connection")
_METADATA = ("sec-fetch-dest", "sec-fetch-mode", "sec-fetch-site", "sec-fetch-user")
_END = ("if-modified-since", "if-none-match", "priority")
_CACHE = ("pragma", "cache-control")

# Both follow from nsISupportsPriority and nsIClassOfService. Without a header the urgency is 3.
_PRIORITIES: dict[Kind, Priority] = {
    "page": Priority("u=0, i", 42),
    "frame": Priority("u=4", 22),
    "fetch": Priority("u=4", 22),
    "xhr": Priority(None, 22),
    "image": Priority("u=5, i", 12),
    "script": Priority(None, 22),
    "style": Priority("u=2", 22),
}

_FIRST_WITH_SVG = 128
_IMAGE = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
_IMAGE_BEFORE = "image/avif,image/webp,*/*"


def gecko_layout(target: Target, shape: Shape) -> Layout:
    """Lay out the headers of a request of that shape."""
    values = {**dict(target.values), **of_request(shape)}
    values["connection"] = "keep-alive"
    values["te"] = "trailers"
    values["accept-encoding"] = encodings(shape, target.value("accept-encoding") or "")
    if not shape.is_document:
        values["accept"] = _accept(target, shape)
    if shape.is_trustworthy:
        values.update(fetch_metadata(shape))
        if target.has_storage_access and asks_for_storage(shape):
            # A host of the page's own domain is not a third party, whatever the scheme.
            values[_ACCESS] = "active" if shape.same_domain else "none"
        if shape.kind == "page" and shape.clicked and shape.reload is None:
            values["sec-fetch-user"] = "?1"
    if shape.is_document:
        values["upgrade-insecure-requests"] = "1"
    if shape.reload == "hard":
        values.update({"pragma": "no-cache", "cache-control": "no-cache"})
    priority = _PRIORITIES[shape.kind]
    if target.has_priority and priority.header is not None:
        values["priority"] = priority.header
    return Layout(_order(shape), values, priority.weight, exclusive=False)


def _accept(target: Target, shape: Shape) -> str:
    if shape.kind == "style":
        return STYLE
    if shape.kind != "image":
        return ANYTHING
    return _IMAGE if target.major >= _FIRST_WITH_SVG else _IMAGE_BEFORE


def _order(shape: Shape) -> tuple[str, ...]:
    front = _redirected(shape) if shape.is_redirected else _first(shape)
    back = ("cookie", "upgrade-insecure-requests", *_METADATA, *_END)
    authorization: tuple[str, ...] = ()
    if shape.is_typed and shape.is_challenged:
        # Credentials that answer a 401 cannot be sent ahead: the channel is opened a second time.
        front = tuple(name for name in front if name != "authorization")
        authorization = ("authorization",)
    cache = tuple(name for name in _CACHE if not _is_scripts(shape, name))
    table = (*_HEAD, *front, *back, *authorization, *cache, "content-length", "te")
    table = tuple(dict.fromkeys(table))
    return place_others(table, shape.own)


def _is_scripts(shape: Shape, name: str) -> bool:
    """Tell whether a script has set the header, which then stands with the others that it set."""
    return shape.kind in SCRIPTED and name in shape.own


def _first(shape: Shape) -> tuple[str, ...]:
    """Return what stands between Accept-Encoding and Cookie in a request without redirects."""
    if shape.kind in SCRIPTED:
        body = () if _is_bodiless(shape) else ("content-length",)
        is_ahead = shape.is_challenged
        opened = tuple(name for name in _OPENED if is_ahead or name != "authorization")
        if shape.kind == "fetch":
            return ("referer", OTHERS, *body, *opened)
        return (OTHERS, *body, *opened, "referer")
    if shape.reload is not None:
        # The session history knows the Referer before the channel is opened.
        return (OTHERS, *_BODY, "referer", *_OPENED)
    if shape.is_document:
        return (OTHERS, *_BODY, *_OPENED, "referer")
    return (OTHERS, "origin", _ACCESS, "authorization", "connection", "referer")


def _redirected(shape: Shape) -> tuple[str, ...]:
    """Return what stands there after a redirect. The new channel gets the body first, then the
    headers that were set, then the Referer."""
    opened = (_ACCESS, "authorization", "connection")
    if shape.mode == "cors" and "origin" in of_request(shape) and _is_listened(shape):
        return (*_BODY, "origin", OTHERS, "referer", *opened)
    return (*_BODY, OTHERS, "referer", "origin", *opened)


def _is_listened(shape: Shape) -> bool:
    """Tell whether CORS sets the Origin (`nsCORSListenerProxy`), before the channel is opened.
    Otherwise it is the one that every POST gets as its channel is opened."""
    return shape.is_foreign or shape.origin_header is OriginHeader.OPAQUE


def _is_bodiless(shape: Shape) -> bool:
    """Tell whether a script has sent no body: any body has a Content-Type."""
    return "content-type" not in shape.own

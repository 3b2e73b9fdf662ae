"""Chromium's headers.

Order: `net::HttpNetworkTransaction` writes Host, Connection, Content-Length, Pragma, Cache-Control
and Authorization. The headers that the request brings follow. `net::URLRequest` then adds
Accept-Encoding, Accept-Language and Cookie, the HTTP cache adds Range and its conditions, and the
HTTP/2 stream adds Priority. The network service sets Sec-Fetch-*, Origin and Referer. The recording
of Chromium 156 shows all of this.
"""

from __future__ import annotations

from .blink_order import blink_order
from .client_hints import LOW_ENTROPY, NAVIGATION_ORDER, RENDERER_ORDER, hint_values
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
from .request import SCRIPTED, Kind
from .target import Target

_HEAD = ("host", "connection", "content-length", "pragma", "cache-control", "authorization")
_DOCUMENT = (
    "upgrade-insecure-requests",
    OTHERS,
    "content-type",
    "user-agent",
    "origin",
    "accept",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-user",
    "sec-fetch-dest",
    "sec-fetch-storage-access",
)
_METADATA = ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-storage-access")
_CONDITIONS = ("if-none-match", "if-modified-since")
_TAIL = ("referer", "accept-encoding", "accept-language", "cookie", "range")
_END = (*_CONDITIONS, "priority")

# Both follow from net::RequestPriority. Chromium requests an image of the page's own origin before
# it knows the layout. While an image waits for a redirect or for a connection to another origin,
# the layout shows that it is visible.
_PRIORITIES: dict[Kind, Priority] = {
    "page": Priority("u=0, i", 256),
    "frame": Priority("u=0, i", 256),
    "fetch": Priority("u=1, i", 220),
    "xhr": Priority("u=1, i", 220),
    "image": Priority("u=2, i", 220),
    "script": Priority("u=2", 220),
    "style": Priority("u=0", 256),
}
_LATER_IMAGE = Priority("u=1, i", 220)

_PAST_THE_CACHE = {"pragma": "no-cache", "cache-control": "no-cache"}

# The headers of _HEAD that a script may have set.
_ALSO_SCRIPTED = {"cache-control", "pragma", "authorization"}


def chromium_layout(target: Target, shape: Shape) -> Layout:
    """Lay out the headers of a request of that shape."""
    values = {**dict(target.values), **of_request(shape)}
    values["connection"] = "keep-alive"
    values["accept-encoding"] = encodings(shape, target.value("accept-encoding") or "")
    if not shape.is_document:
        values["accept"] = _accept(target, shape)
    values.update(_cache(shape))
    hints = _hints(target, shape)
    for name in LOW_ENTROPY:
        values.pop(name, None)
    values.update(hints)
    if shape.is_trustworthy:
        values.update(fetch_metadata(shape))
        if target.has_storage_access and asks_for_storage(shape):
            values["sec-fetch-storage-access"] = "none"
    if shape.is_document:
        values["upgrade-insecure-requests"] = "1"
        if shape.is_trustworthy and shape.clicked and shape.kind == "page":
            values["sec-fetch-user"] = "?1"
    priority = _LATER_IMAGE if _waited(shape) else _PRIORITIES[shape.kind]
    if target.has_priority:
        values["priority"] = priority.header
    if shape.is_document and shape.crossed and "origin" in values:
        # A form's POST that a redirect takes to another origin (`NavigationRequest`).
        values["origin"] = "null"
    order = (
        _document_order(shape) if shape.is_document else _subresource_order(target, shape, hints)
    )
    return Layout(order, values, priority.weight, exclusive=True)


def _waited(shape: Shape) -> bool:
    return shape.kind == "image" and (shape.is_foreign or shape.is_redirected)


def _accept(target: Target, shape: Shape) -> str | None:
    if shape.kind == "style":
        return STYLE
    if shape.kind != "image":
        return ANYTHING
    page = target.value("accept") or ""
    formats = [f"image/{name}" for name in ("jxl", "avif", "webp", "apng") if f"/{name}" in page]
    return ",".join([*formats, "image/svg+xml", "image/*", "*/*;q=0.8"])


def _cache(shape: Shape) -> dict[str, str]:
    """Return the headers for caches. A reload revalidates, and so do a form's POST and the request
    that a redirect makes of it (`LOAD_VALIDATE_CACHE`)."""
    if shape.reload == "hard":
        return _PAST_THE_CACHE
    return {"cache-control": "max-age=0"} if shape.reload or shape.is_posted else {}


def _hints(target: Target, shape: Shape) -> dict[str, str]:
    """Return the client hints. Only trustworthy targets get any. An origin that asked for more gets
    these with its pages and with what they load from it (the hints' permissions policy: `self`)."""
    if not shape.is_trustworthy:
        return {}
    known = {name: value for name in LOW_ENTROPY if (value := target.value(name)) is not None}
    if known and (shape.kind == "page" or not shape.is_foreign):
        values = hint_values(target)
        known.update({name: values[name] for name in shape.hints if name in values})
    return known


def _document_order(shape: Shape) -> tuple[str, ...]:
    """Return the order of a document's headers. A redirect sets the hints anew, and they come after
    Sec-Fetch-*."""
    if shape.is_redirected:
        table = (*_HEAD, *_DOCUMENT, *NAVIGATION_ORDER, *_TAIL, *_END)
    else:
        table = (*_HEAD, *NAVIGATION_ORDER, *_DOCUMENT, *_TAIL, *_END)
    return place_others(table, shape.own)


def _subresource_order(target: Target, shape: Shape, hints: dict[str, str]) -> tuple[str, ...]:
    fixed = _fixed_order(shape)
    in_table = [name for name in shape.own if name not in fixed]
    if shape.kind in SCRIPTED and "accept" in shape.own:
        in_table.append("accept")
    if shape.kind not in SCRIPTED and shape.mode == "cors":
        # Blink itself sets Origin for elements with `crossorigin`.
        in_table.append("origin")
    if shape.kind == "fetch":
        # Headers objects are sorted (Fetch Standard, "sort and combine").
        in_table.sort()
    elif shape.kind == "xhr":
        in_table = blink_order(in_table, target.major)
    in_table += [name for name in RENDERER_ORDER if name in hints]
    block = blink_order(dict.fromkeys((*in_table, "user-agent")), target.major)
    head = tuple(name for name in _HEAD if name in fixed)
    return tuple(dict.fromkeys((*head, *block, *fixed)))


def _fixed_order(shape: Shape) -> tuple[str, ...]:
    """Return the order of all headers that are not in Blink's table."""
    head: tuple[str, ...] = _HEAD
    conditions: tuple[str, ...] = ()
    end: tuple[str, ...] = _END
    if shape.kind in SCRIPTED:
        # What a script sets goes into that table.
        mine = {"cache-control", "pragma"} if shape.is_challenged else _ALSO_SCRIPTED
        head = tuple(name for name in head if name not in mine or name not in shape.own)
    elif shape.kind in ("script", "style"):
        # Blink's own cache validates these, not the network stack's.
        conditions, end = _CONDITIONS, ("priority",)
    if _gets_origin_late(shape):
        return (*head, "accept", *conditions, *_METADATA, "origin", *_TAIL, *end)
    return (*head, "accept", "origin", *conditions, *_METADATA, *_TAIL, *end)


def _gets_origin_late(shape: Shape) -> bool:
    """Tell whether Origin comes after Sec-Fetch-*. If the first request had none, or a redirect to
    GET removed it, a later redirect to another origin adds it there."""
    is_safe = shape.method in ("GET", "HEAD")
    return shape.is_redirected and is_safe and (shape.began_at_home or shape.was_post)

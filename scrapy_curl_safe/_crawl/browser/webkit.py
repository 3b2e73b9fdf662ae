"""Safari's headers, in the order of the target's own request for a page.

No recording of Safari was at hand. The values come from WebKit's sources and from Fetch Metadata.
Headers that the request for a page does not have come last.
"""

from __future__ import annotations

from .layout import (
    ANYTHING,
    STYLE,
    Layout,
    Shape,
    encodings,
    fetch_metadata,
    of_request,
)
from .request import Kind
from .target import Target

_PRIORITIES: dict[Kind, str] = {
    "page": "u=0, i",
    "frame": "u=0, i",
    "fetch": "u=3, i",
    "xhr": "u=3, i",
    "image": "u=5, i",
    "script": "u=1, i",
    "style": "u=1, i",
}
_IMAGE = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
)
_ACCEPT: dict[Kind, str] = {"image": _IMAGE, "style": STYLE}
_LAST = ("content-type", "origin", "content-length", "referer", "cookie")


def webkit_layout(target: Target, shape: Shape) -> Layout:
    """Lay out the headers of a request of that shape."""
    values = {**dict(target.values), **of_request(shape)}
    values["connection"] = "keep-alive"
    values["accept-encoding"] = encodings(shape, target.value("accept-encoding") or "")
    if not shape.is_document:
        values["accept"] = _ACCEPT.get(shape.kind, ANYTHING)
    if shape.is_trustworthy and target.has_fetch_metadata:
        values.update(fetch_metadata(shape))
    if shape.is_document and "upgrade-insecure-requests" in target.order:
        values["upgrade-insecure-requests"] = "1"
    if shape.reload is not None:
        values["cache-control"] = "no-cache" if shape.reload == "hard" else "max-age=0"
    if target.has_priority:
        values["priority"] = _PRIORITIES[shape.kind]
    names = ("host", *target.order, *shape.own, *values, *_LAST)
    return Layout(tuple(dict.fromkeys(names)), values, None, exclusive=False)

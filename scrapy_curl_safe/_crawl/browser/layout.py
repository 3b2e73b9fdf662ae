"""The building blocks of the browser families' tables."""

from __future__ import annotations

from typing import NamedTuple

from .request import Kind, Mode, OriginHeader, Reload

#: The place in a table of the headers that it does not name, in the order in which they were set.
OTHERS = "*"


class Shape(NamedTuple):
    """Everything that determines the names, values and order of a request's headers, except the
    values of Origin and Referer and those that the user set.

    Attributes:
        own: lower-case names of the headers that the user set, in order, each once.
        has_referer: whether the browser sends Referer.
        is_challenged: whether Authorization comes from the browser, which answers a 401 or expects
            one, rather than from a script.
    """

    kind: Kind
    method: str
    mode: Mode
    site: str
    is_trustworthy: bool
    is_foreign: bool
    is_third_party: bool
    has_credentials: bool
    same_domain: bool
    is_redirected: bool
    began_at_home: bool
    crossed: bool
    origin_header: OriginHeader
    is_typed: bool
    has_referer: bool
    clicked: bool
    reload: Reload | None
    was_post: bool
    hints: tuple[str, ...]
    own: tuple[str, ...]
    is_challenged: bool

    @property
    def is_document(self) -> bool:
        """True if the response becomes a document."""
        return self.mode == "navigate"

    @property
    def is_posted(self) -> bool:
        """True for a form's POST, and for the request that a redirect has made of one."""
        return self.is_document and (self.method == "POST" or self.was_post)


class Layout(NamedTuple):
    """The headers of a shape.

    Attributes:
        order: the lower-case names of all headers that may be there, in order.
        values: the values of the headers that the browser adds, by lower-case name; None where they
            depend on the request (Origin, Referer).
        weight: of the HTTP/2 stream, 1 to 256; None where the browser sends no priority.
        exclusive: the HTTP/2 priority's exclusive flag.
    """

    order: tuple[str, ...]
    values: dict[str, str | None]
    weight: int | None
    exclusive: bool


class Priority(NamedTuple):
    """The urgency of a kind of request (RFC 9218; RFC 7540, section 5.3).

    Attributes:
        header: value of Priority; None for no header, which means urgency 3.
        weight: of the HTTP/2 stream.
    """

    header: str | None
    weight: int


def place_others(table: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """Put the headers that the table does not name in their place."""
    others = [name for name in own if name not in table]
    at = table.index(OTHERS)
    return (*table[:at], *others, *table[at + 1 :])


#: Value of Sec-Fetch-Dest by kind (Fetch Standard, "destination").
DESTINATIONS: dict[Kind, str] = {
    "page": "document",
    "fetch": "empty",
    "xhr": "empty",
    "image": "image",
    "script": "script",
    "style": "style",
    "frame": "iframe",
}

#: The values of Accept on which all browsers agree (Fetch Standard, "fetch", step 13).
ANYTHING = "*/*"
STYLE = "text/css,*/*;q=0.1"

ENCODINGS_IN_THE_CLEAR = "gzip, deflate"


def fetch_metadata(shape: Shape) -> dict[str, str | None]:
    """Return the Sec-Fetch-* headers that all browsers send to a trustworthy target."""
    return {
        "sec-fetch-site": shape.site,
        "sec-fetch-mode": shape.mode,
        "sec-fetch-dest": DESTINATIONS[shape.kind],
    }


def of_request(shape: Shape) -> dict[str, str | None]:
    """Return the headers whose values depend on the request: Origin and Referer."""
    values: dict[str, str | None] = {}
    if shape.has_referer:
        values["referer"] = None
    if shape.origin_header is OriginHeader.OPAQUE:
        values["origin"] = "null"
    elif shape.origin_header is OriginHeader.INITIATOR:
        values["origin"] = None
    return values


def encodings(shape: Shape, known: str) -> str:
    """Return Accept-Encoding: br and zstd only over HTTPS or to this machine, and no coding at all
    for a part of a body (Fetch Standard, "HTTP-network-or-cache fetch", step 15)."""
    if "range" in shape.own:
        return "identity"
    return known if shape.is_trustworthy else ENCODINGS_IN_THE_CLEAR


def asks_for_storage(shape: Shape) -> bool:
    """Tell whether a request carries Sec-Fetch-Storage-Access: it goes to a third party, with
    credentials, and not for a top-level page
    (https://privacycg.github.io/storage-access-headers/)."""
    return shape.is_third_party and shape.has_credentials and shape.kind != "page"

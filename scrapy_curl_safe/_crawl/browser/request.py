"""A request as a browser sees it, and the facts that its headers follow from.

Sources: Fetch Standard (https://fetch.spec.whatwg.org), Fetch Metadata
(https://w3c.github.io/webappsec-fetch-metadata/), and the recordings of Chromium 156 and Firefox
153 where the standards leave a choice.
"""

from __future__ import annotations

from enum import Enum
from itertools import pairwise
from typing import Literal, NamedTuple

from .referrer import DEFAULT_POLICY, Trim, trim_over_redirects
from .sites import Relation, WebOrigin, relation, same_domain, web_origin

Kind = Literal["page", "fetch", "xhr", "image", "script", "style", "frame"]
Mode = Literal["navigate", "cors", "no-cors"]
Credentials = Literal["omit", "same-origin", "include"]
Reload = Literal["soft", "hard"]

KINDS: tuple[Kind, ...] = ("page", "fetch", "xhr", "image", "script", "style", "frame")

#: Requests whose response becomes a document.
NAVIGATIONS: frozenset[Kind] = frozenset({"page", "frame"})
#: Requests that a script makes, which can set headers of its own.
SCRIPTED: frozenset[Kind] = frozenset({"fetch", "xhr"})

_DEFAULT_MODE: dict[Kind, Mode] = {
    "page": "navigate",
    "frame": "navigate",
    "fetch": "cors",
    "xhr": "cors",
    "image": "no-cors",
    "script": "no-cors",
    "style": "no-cors",
}
_WITHOUT_ORIGIN = frozenset({"GET", "HEAD"})


class Hop(NamedTuple):
    """A URL that redirected the request.

    Attributes:
        policy: the redirect's own Referrer-Policy, which applies from there on; None without one.
    """

    url: str
    policy: str | None = None


class BrowserRequest(NamedTuple):
    """Everything that one has to know about a request to send it as a browser would. Hashable.

    Attributes:
        initiator: URL of the page that asks; None for an address that somebody typed.
        policy: the referrer policy of that page, one of `referrer.POLICIES`.
        redirects: where the request has been, in order; the initiator stays the same.
        clicked: whether the user caused a navigation, rather than a script or a meta refresh.
        reload: whether a page is loaded again; "hard" bypasses the cache.
        was_post: whether a redirect turned a POST into this request (Fetch Standard, "HTTP-redirect
            fetch", step 12).
        hints: client hints that the origin asked for, as `client_hints.parse_accept_ch` returns
            them.
        mode: of a request that is not a navigation; None for the default of its kind, such as
            "no-cors" for an image without `crossorigin`.
        credentials: None for the default of the kind: "same-origin" for a script's requests,
            "include" for all others.
    """

    kind: Kind
    url: str
    method: str = "GET"
    initiator: str | None = None
    policy: str = DEFAULT_POLICY
    redirects: tuple[Hop, ...] = ()
    clicked: bool = True
    reload: Reload | None = None
    was_post: bool = False
    hints: tuple[str, ...] = ()
    mode: Mode | None = None
    credentials: Credentials | None = None


class OriginHeader(Enum):
    """The content of the Origin header."""

    NONE = "no header"
    OPAQUE = "null"
    INITIATOR = "origin of the initiator"


class RequestFacts(NamedTuple):
    """The facts that a request's headers follow from.

    Attributes:
        site: value of Sec-Fetch-Site.
        is_trustworthy: whether the target may get Sec-Fetch-* headers, client hints, br and zstd.
        is_foreign: whether the target's origin is not the page's.
        is_third_party: whether the target's site is not the page's, schemes included.
        has_credentials: whether the request may carry cookies.
        same_domain: whether target and page share a registrable domain, whatever their schemes.
        began_at_home: whether the first of the redirected requests went to the page's own origin.
        crossed: whether a redirect led from one origin to another.
        origin: of the target.
        referer: how much of the initiator's URL the Referer shows.
    """

    kind: Kind
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
    origin: WebOrigin
    initiator: WebOrigin | None
    referer: Trim


def at_origins(request: BrowserRequest) -> BrowserRequest:
    """Return the request without the paths of its URLs, on which its facts do not depend, as a key
    for caches."""
    redirects = request.redirects
    return BrowserRequest(
        request.kind,
        root_of(request.url),
        request.method,
        None if request.initiator is None else root_of(request.initiator),
        request.policy,
        tuple(Hop(root_of(hop.url), hop.policy) for hop in redirects) if redirects else redirects,
        *request[6:],
    )


def root_of(url: str) -> str:
    """Return a URL up to its path."""
    end = url.find("/", 8)
    return url if end < 0 else url[:end]


def facts_of(request: BrowserRequest) -> RequestFacts:
    """Work out the facts that the headers of a request follow from.

    A request that has no initiator and is not a page counts as made by the home page of its origin:
    no browser loads, say, an image without a page.

    Raises:
        ValueError: a URL has no host, or no valid port.
    """
    chain = [_required_origin(hop.url) for hop in request.redirects]
    origin = _required_origin(request.url)
    chain.append(origin)
    initiator = web_origin(request.initiator) if request.initiator else None
    trimmed = Trim.NOTHING if initiator is None else Trim.FULL
    if initiator is None and request.kind != "page":
        initiator, trimmed = chain[0], Trim.ORIGIN
    if initiator is not None:
        policies = [None, *(hop.policy for hop in request.redirects)]
        hops = zip(chain, policies, strict=True)
        trimmed = max(trimmed, trim_over_redirects(request.policy, initiator, hops))
    mode = request.mode or _DEFAULT_MODE[request.kind]
    if request.kind in NAVIGATIONS:
        mode = "navigate"
    now = Relation.SAME_ORIGIN if initiator is None else relation(initiator, origin)
    is_foreign = now is not Relation.SAME_ORIGIN
    return RequestFacts(
        kind=request.kind,
        mode=mode,
        site=_site(initiator, chain),
        is_trustworthy=origin.is_trustworthy,
        is_foreign=is_foreign,
        is_third_party=now is Relation.CROSS_SITE,
        has_credentials=_has_credentials(request, is_foreign),
        same_domain=initiator is not None and same_domain(initiator.host, origin.host),
        is_redirected=bool(request.redirects),
        began_at_home=chain[0] == initiator,
        crossed=any(one != other for one, other in pairwise(chain)),
        origin_header=_origin_header(request, mode, initiator, chain),
        origin=origin,
        initiator=initiator,
        referer=trimmed,
    )


def _required_origin(url: str) -> WebOrigin:
    origin = web_origin(url)
    if origin is None:
        raise ValueError(f"{url!r} has no host")
    return origin


_SITE_VALUES = ("same-origin", "same-site", "cross-site")


def _site(initiator: WebOrigin | None, chain: list[WebOrigin]) -> str:
    """Return Sec-Fetch-Site, which the target farthest from the initiator determines (Fetch
    Metadata, section 2.4)."""
    if initiator is None:
        return "none"
    return _SITE_VALUES[max(relation(initiator, passed) for passed in chain)]


def _has_credentials(request: BrowserRequest, is_foreign: bool) -> bool:
    if request.kind in NAVIGATIONS:
        return True
    default: Credentials = "same-origin" if request.kind in SCRIPTED else "include"
    credentials = request.credentials or default
    return credentials == "include" or (credentials == "same-origin" and not is_foreign)


def _origin_header(
    request: BrowserRequest, mode: Mode, initiator: WebOrigin | None, chain: list[WebOrigin]
) -> OriginHeader:
    """Fetch Standard, "append a request `Origin` header"."""
    is_safe = request.method in _WITHOUT_ORIGIN
    if mode == "cors":
        if initiator is None or (is_safe and all(passed == initiator for passed in chain)):
            return OriginHeader.NONE
        tainted = _is_tainted(initiator, chain)
        return OriginHeader.OPAQUE if tainted else OriginHeader.INITIATOR
    if is_safe:
        return OriginHeader.NONE
    if initiator is None or _is_hidden(request, initiator, chain):
        return OriginHeader.OPAQUE
    return OriginHeader.INITIATOR


def _is_tainted(initiator: WebOrigin, chain: list[WebOrigin]) -> bool:
    """Fetch Standard, "redirect-tainted origin"."""
    return any(one not in (other, initiator) for one, other in pairwise(chain))


def _is_hidden(request: BrowserRequest, initiator: WebOrigin, chain: list[WebOrigin]) -> bool:
    """Tell whether policy or redirects keep the initiator's origin from the target."""
    policy = next((hop.policy for hop in reversed(request.redirects) if hop.policy), request.policy)
    if policy == "no-referrer" or _is_tainted(initiator, chain):
        return True
    if policy == "same-origin":
        return chain[-1] != initiator
    if policy in ("origin", "origin-when-cross-origin", "unsafe-url"):
        return False
    return initiator.scheme == "https" and chain[-1].scheme != "https"

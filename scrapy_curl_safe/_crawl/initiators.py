"""Keeps in a request's meta which page asked for it, and what redirects have changed.

All values are plain, since a request may be stored on disk or in another queue.

    _INITIATOR   URL of the page whose callback yielded the request; missing if it was typed
    _POLICY      referrer policy of that page, if it is not the crawl's
    _REFERER     whether the user has set the Referer
    _RELOAD      whether the page has asked for itself
    _BEFORE      number of redirects in the request's meta when the callback yielded it
    _POLICIES    [URL, referrer policy] of each redirect that set one
    _WAS_POST    whether a redirect has turned a POST into a GET
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from scrapy import Request
from scrapy.http import Response

from .browser.referrer import parse_policy
from .browser.request import Hop, root_of
from .scrapy_api import has_header

_INITIATOR = "curl_safe_initiator"
_POLICY = "curl_safe_referrer_policy"
_REFERER = "curl_safe_own_referer"
_RELOAD = "curl_safe_reload"
_BEFORE = "curl_safe_redirects_before"
_POLICIES = "curl_safe_redirect_policies"
_WAS_POST = "curl_safe_was_post"
_RARE = (_POLICY, _REFERER, _RELOAD, _BEFORE, _POLICIES, _WAS_POST)
_UNCOMMON = frozenset({_POLICY, _REFERER, _RELOAD, "redirect_urls"})

# Scrapy's own values, in the browsers' terms.
_ALIASES = {"scrapy-default": "no-referrer-when-downgrade", "": "no-referrer-when-downgrade"}
_BECOMES_GET = (301, 302, 303)
_REDIRECTS = range(300, 400)
_REFRESH = "meta refresh"


def browser_policy(scrapys: str) -> str | None:
    """Return the browsers' equivalent of a value of Scrapy's REFERRER_POLICY; None for a policy of
    the user's own."""
    return _ALIASES.get(scrapys) or parse_policy(scrapys)


def note_initiator(request: Request, response: Response, policy: str | None) -> None:
    """Note which page asks for a request that a callback has yielded.

    Replace what the page's own request had in its meta, which many spiders copy.

    Args:
        response: the one that the callback got.
        policy: as `policy_of` returned it.
    """
    meta = request.meta
    if len(meta) > 1 or "depth" not in meta:
        for key in _RARE:
            meta.pop(key, None)
        if "redirect_urls" in meta:
            meta[_BEFORE] = len(meta["redirect_urls"])
    if has_header(request.headers, b"Referer") and not _has_scrapys_referer(request, response):
        meta[_REFERER] = True
    if request.url == response.url and _is_get(request) and _is_get(response.request):
        _note_reload(meta, response.meta)
        return
    meta[_INITIATOR] = response.url
    policy = meta.get("referrer_policy") or policy
    if policy is not None:
        meta[_POLICY] = policy


def _has_scrapys_referer(request: Request, response: Response) -> bool:
    """Tell whether a request has the Referer that Scrapy set on the page's own request, and so is a
    copy of that."""
    before = response.request
    if before is None or _REFERER in before.meta:
        return False
    return request.headers.get(b"Referer") == before.headers.get(b"Referer")


def _is_get(request: Request | None) -> bool:
    return request is not None and request.method == "GET"


def policy_of(response: Response) -> str | None:
    """Return the policy that a response sets for the requests of its page; None if it sets none."""
    if not has_header(response.headers, b"Referrer-Policy"):
        return None
    return parse_policy(b",".join(response.headers.getlist(b"Referrer-Policy")).decode("latin-1"))


def _note_reload(meta: dict[str, Any], before: dict[str, Any]) -> None:
    """Note that a page is loaded again, which keeps its initiator."""
    meta[_RELOAD] = True
    for key in (_INITIATOR, _POLICY):
        if key in before:
            meta[key] = before[key]
        else:
            meta.pop(key, None)


def note_page(request: Request, page: str) -> None:
    """Note the page that a request without an initiator belongs to."""
    request.meta[_INITIATOR] = page


def note_own_referer(request: Request, referer: str) -> None:
    """Note that the user has set the Referer of a request that has no initiator."""
    request.meta[_INITIATOR] = referer
    request.meta[_REFERER] = True


def note_response(request: Request, response: Response) -> None:
    """Note what a redirect changes for the request that follows it."""
    if response.status not in _REDIRECTS:
        return
    if request.method == "POST" and response.status in _BECOMES_GET:
        request.meta[_WAS_POST] = True
    policy = policy_of(response)
    if policy is not None:
        before = request.meta.get(_POLICIES, [])
        request.meta[_POLICIES] = [*before, [request.url, policy]]


class Asked(NamedTuple):
    """The circumstances of a request.

    Attributes:
        initiator: URL of the page that asks; None for an address that was typed.
        policy: referrer policy of that page; None for one that only Scrapy knows.
        redirects: where the request has been, without the paths.
        clicked: whether a user caused it.
        is_reload: whether a page is loaded again.
        was_post: whether a redirect has turned a POST into this GET.
        has_own_referer: whether the Referer is the user's.
    """

    initiator: str | None
    policy: str | None
    redirects: tuple[Hop, ...]
    clicked: bool
    is_reload: bool
    was_post: bool
    has_own_referer: bool


def asked(meta: dict[str, Any], options: dict[str, Any], default_policy: str | None) -> Asked:
    """Return the circumstances of a request.

    Args:
        meta: of the request.
        options: the checked options of `meta["curl_safe"]`.
        default_policy: of the crawl; None for one that only Scrapy knows.
    """
    initiator = meta.get(_INITIATOR)
    if not options and meta.keys().isdisjoint(_UNCOMMON):
        return _asked_as_most(initiator, default_policy)
    # Scrapy sets the Referer of requests that a callback yields or a redirect makes.
    is_own = _REFERER in meta or (initiator is None and _RELOAD not in meta)
    policy = browser_policy(meta[_POLICY]) if _POLICY in meta else default_policy
    typed_or_clicked = Asked(
        options.get("from", initiator),
        policy,
        (),
        options.get("clicked", True),
        _RELOAD in meta,
        False,
        is_own,
    )
    if "redirect_urls" not in meta:
        return typed_or_clicked
    return _after_redirects(typed_or_clicked, meta, default_policy)


@lru_cache(1024)
def _asked_as_most(initiator: str | None, policy: str | None) -> Asked:
    """Return the circumstances that all plain links of a page share."""
    return Asked(initiator, policy, (), True, False, False, initiator is None)


def _after_redirects(before: Asked, meta: dict[str, Any], default_policy: str | None) -> Asked:
    """Return the circumstances after redirects. A redirect keeps the initiator; after a meta
    refresh, the page that contains it is the initiator."""
    first = meta.get(_BEFORE, 0)
    urls, reasons = meta["redirect_urls"][first:], meta.get("redirect_reasons", [])[first:]
    if not urls:
        return before
    policies = dict(meta.get(_POLICIES, ()))
    last_refresh = len(reasons) - 1 - reasons[::-1].index(_REFRESH) if _REFRESH in reasons else -1
    redirects = tuple(Hop(root_of(url), policies.get(url)) for url in urls[last_refresh + 1 :])
    after = before._replace(
        redirects=redirects, has_own_referer=False, was_post=_WAS_POST in meta and bool(redirects)
    )
    if last_refresh < 0:
        return after
    return after._replace(
        initiator=urls[last_refresh], policy=default_policy, clicked=False, is_reload=False
    )

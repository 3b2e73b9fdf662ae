"""The page that asked for a request, and what redirects change: pure, without a process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from itemadapter import ItemAdapter
from scrapy import Request
from scrapy.http import Response

from scrapy_curl_safe._crawl.browser.request import Hop
from scrapy_curl_safe._crawl.file_pages import FilePages
from scrapy_curl_safe._crawl.initiators import (
    Asked,
    asked,
    browser_policy,
    note_initiator,
    note_own_referer,
    note_page,
    note_response,
    policy_of,
)
from scrapy_curl_safe._crawl.visited_origins import VisitedOrigins

PAGE = "https://a.test/page"
STRICT = "strict-origin-when-cross-origin"


def page(
    url: str = PAGE, meta: dict[str, Any] | None = None, method: str = "GET", **headers: str
) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(url, headers=named, request=Request(url, method=method, meta=meta or {}))


def yielded(response: Response, url: str = "https://a.test/next", **arguments: Any) -> Request:
    request = Request(url, **arguments)
    note_initiator(request, response, policy_of(response))
    assert json.loads(json.dumps(request.meta)) == request.meta
    return request


def how(request: Request, **options: Any) -> Asked:
    return asked(request.meta, options, STRICT)


def redirected(request: Request, url: str, reason: Any = 302, method: str = "GET") -> Request:
    """Do what RedirectMiddleware does."""
    meta = request.meta
    more = {
        "redirect_urls": [*meta.get("redirect_urls", []), request.url],
        "redirect_reasons": [*meta.get("redirect_reasons", []), reason],
    }
    return request.replace(url=url, method=method, meta={**meta, **more})


def test_what_nobody_noted_was_typed() -> None:
    assert how(Request(PAGE)) == Asked(None, STRICT, (), True, False, False, True)


def test_what_a_callback_yields_its_page_has_asked_for() -> None:
    assert how(yielded(page())) == Asked(PAGE, STRICT, (), True, False, False, False)


def test_options_win() -> None:
    request = yielded(page())
    assert how(request, **{"from": "https://b.test/", "clicked": False}) == Asked(
        "https://b.test/", STRICT, (), False, False, False, False
    )
    assert how(request, **{"from": None}).initiator is None


def test_a_referer_of_the_users() -> None:
    assert how(yielded(page(), headers={"Referer": "https://c.test/"})).has_own_referer
    typed = Request(PAGE)
    note_own_referer(typed, "https://c.test/")
    assert how(typed) == Asked("https://c.test/", STRICT, (), True, False, False, True)
    # From a redirect on it is Scrapy's.
    assert not how(redirected(typed, "https://a.test/2")).has_own_referer


def test_a_referer_that_is_copied_from_the_pages_own_request_is_whose_it_was() -> None:
    asked_for = {"Referer": "https://c.test/"}
    link = yielded(page())
    link.headers.update(asked_for)  # as Scrapy does
    response = Response(link.url, request=link)
    copy = link.replace(url="https://a.test/3")
    note_initiator(copy, response, None)
    assert not how(copy).has_own_referer
    assert how(copy).initiator == link.url
    mine = yielded(page(), headers=asked_for)
    copy = mine.replace(url="https://a.test/3")
    note_initiator(copy, Response(mine.url, request=mine), None)
    assert how(copy).has_own_referer


@pytest.mark.parametrize(
    ("meta", "headers", "policy"),
    [
        ({}, {}, STRICT),
        ({}, {"Referrer_Policy": "origin, no-referrer"}, "no-referrer"),
        ({}, {"Referrer_Policy": "what"}, STRICT),
        ({"referrer_policy": "same-origin"}, {"Referrer_Policy": "origin"}, "same-origin"),
        ({"referrer_policy": "scrapy-default"}, {}, "no-referrer-when-downgrade"),
        ({"referrer_policy": "mine.Policy"}, {}, None),
    ],
)
def test_policies(meta: dict[str, Any], headers: dict[str, str], policy: str | None) -> None:
    assert how(yielded(page(PAGE, {}, "GET", **headers), meta=meta)).policy == policy


def test_policies_of_the_crawl() -> None:
    assert browser_policy("") == browser_policy("scrapy-default") == "no-referrer-when-downgrade"
    assert browser_policy("origin") == "origin"
    assert browser_policy("mine.Policy") is None


def test_redirects_keep_who_asked() -> None:
    request = yielded(page(), "https://a.test/1")
    note_response(request, Response(request.url, 302, headers={"Referrer-Policy": "origin"}))
    request = redirected(request, "https://b.test/2")
    note_response(request, Response(request.url, 302))
    request = redirected(request, "https://a.test/3")
    hops = (Hop("https://a.test", "origin"), Hop("https://b.test", None))
    assert how(request) == Asked(PAGE, STRICT, hops, True, False, False, False)
    assert json.loads(json.dumps(request.meta)) == request.meta


def test_a_typed_address_stays_typed_over_redirects() -> None:
    assert how(redirected(Request(PAGE), "https://b.test/")) == Asked(
        None, STRICT, (Hop("https://a.test"),), True, False, False, False
    )


@pytest.mark.parametrize(("status", "was_post"), [(302, True), (303, True), (307, False)])
def test_a_post_that_has_become_a_get(status: int, was_post: bool) -> None:
    form = yielded(page(), "https://a.test/form", method="POST")
    note_response(form, Response(form.url, status))
    assert not how(form).was_post
    assert how(redirected(form, "https://a.test/done", status)).was_post is was_post


def test_a_meta_refresh_is_asked_for_by_its_page() -> None:
    request = redirected(redirected(Request(PAGE), "https://a.test/r"), "https://b.test/", REFRESH)
    assert how(request) == Asked("https://a.test/r", STRICT, (), False, False, False, False)
    after = how(redirected(request, "https://c.test/", 301))
    assert (after.initiator, after.redirects) == ("https://a.test/r", (Hop("https://b.test"),))


REFRESH = "meta refresh"


def test_what_a_spider_copies_from_its_page_does_not_count() -> None:
    first = redirected(yielded(page(meta={"depth": 0}), "https://b.test/1"), "https://b.test/2")
    note_response(first, Response(first.url, 302, headers={"Referrer-Policy": "no-referrer"}))
    copied = yielded(page("https://b.test/2", first.meta), "https://b.test/3", meta=first.meta)
    assert how(copied) == Asked("https://b.test/2", STRICT, (), True, False, False, False)
    again = redirected(copied, "https://b.test/4")
    assert how(again).redirects == (Hop("https://b.test"),)


def test_a_page_that_asks_for_itself_is_loaded_again() -> None:
    link = yielded(page())
    again = yielded(page(link.url, link.meta), link.url)
    assert how(again) == Asked(PAGE, STRICT, (), True, True, False, False)
    typed = yielded(page(), PAGE, headers={})
    assert how(typed) == Asked(None, STRICT, (), True, True, False, False)
    # What it asks for is not.
    assert not how(yielded(page(again.url, again.meta), PAGE, meta=dict(again.meta))).is_reload


def test_a_form_that_goes_to_its_own_page_is_no_reload() -> None:
    form = yielded(page(method="POST"), PAGE, method="POST")
    assert (how(form).initiator, how(form).is_reload) == (PAGE, False)


def test_the_page_of_a_file() -> None:
    pages = FilePages(("file_urls", "image_urls"))
    pages.note({"file_urls": ["https://b.test/ü", 3, "no URL"], "image_urls": None}, PAGE)
    pages.note("no item", PAGE)
    assert pages.page_of("https://b.test/%C3%BC") == PAGE
    assert pages.page_of("https://b.test/other") is None
    assert ItemAdapter.is_item({})
    request = Request("https://b.test/%C3%BC")
    note_page(request, PAGE)
    assert how(request).initiator == PAGE


def test_the_pages_of_very_many_files_are_forgotten() -> None:
    pages = FilePages(("file_urls",))
    pages.note({"file_urls": [f"https://b.test/{n}" for n in range(16_385)]}, PAGE)
    assert pages.page_of("https://b.test/0") is None
    assert pages.page_of("https://b.test/1") == PAGE


def test_what_origins_have_told() -> None:
    visited = VisitedOrigins()
    visited.answered("a", "HTTP/1.1")
    visited.answered("b", "HTTP/2")
    visited.answered("c", None)
    assert [visited.version(key) for key in "abc"] == [1, 2, None]
    visited.answered("a", "HTTP/2")
    assert visited.version("a") == 2
    visited.asked_for_hints("a", "Sec-CH-UA-Model, Sec-CH-UA, what")
    assert visited.hints("a") == ("sec-ch-ua-model",)
    assert visited.hints("b") == ()


def test_of_very_many_origins_all_are_forgotten() -> None:
    visited = VisitedOrigins()
    for number in range(16_385):
        visited.answered(number, "HTTP/1.1")
    assert visited.version(0) is None
    assert visited.version(16_384) == 1

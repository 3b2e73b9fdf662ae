"""The situations in which a browser is recorded, in the order in which they take place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

A, API, B = "https://www.site-a.test", "https://api.site-a.test", "https://www.site-b.test"
#: The first site over HTTP/1.1, over plain http, and where it redirects to https.
A_HTTP1, A_PLAIN, A_OLD = f"{A}:9443", "http://www.site-a.test:9080", "http://www.site-a.test"

HUB, GALLERY = "/hub?q=1", "/g-page?q=1"
AWAY = f"{B}/away"
CREDENTIALS = ("user", "pass")
COOKIES = (
    b"sid=0123456789abcdef0123456789abcdef",
    b"theme=dark",
    b"_track=GA1.2.1234567890.1700000000",
)

JSON = "application/json"

Way = Literal["typed", "link", "form", "script", "embedded", "reload", "again", "credentials"]


@dataclass(frozen=True)
class Situation:
    """One request, and how a person or a page comes to make it.

    Attributes:
        key: names it in the recordings.
        what: describes it.
        url: of the request.
        way: how it comes about. `script` and `embedded` are requests that a page makes by itself;
            `again` is a link to a page that was typed before; `credentials` come with a typed
            address, and go out only after the origin has asked for them.
        page: the page on which it happens; unused for typed addresses.
        asked: the URL to ask for, if a redirect leads from there to `url`.
        body: of a form (`encoding`) or a script (JSON).
        is_xhr: whether a script uses XMLHttpRequest, as jQuery does.
        tag: the HTML element that embeds it.
    """

    key: str
    what: str
    url: str
    way: Way = "link"
    page: str = A + HUB
    asked: str = ""
    body: str = ""
    encoding: str = ""
    is_xhr: bool = False
    tag: Literal["", "img", "script", "link", "iframe"] = ""

    @property
    def first_url(self) -> str:
        return self.asked or self.url

    @property
    def method(self) -> str:
        """The method of the first request."""
        return "POST" if self.body else "GET"


URLENCODED, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"
LOGIN = "user=me&pass=x"


def _form(key: str, what: str, url: str, body: str, encoding: str = URLENCODED) -> Situation:
    return Situation(key, what, url, "form", body=body, encoding=encoding)


def _embedded(key: str, what: str, tag: Literal["img", "script", "link", "iframe"]) -> Situation:
    return Situation(key, what, f"{A}/{key}", "embedded", A + GALLERY, tag=tag)


FIRST = Situation("a-first", "first navigation, address typed", f"{A}/a-first", "typed")
SAME = Situation("b-same", "link followed, same origin", f"{A}/b-same?x=1")
WITH_COOKIES = Situation("d-cookies", "link followed with three cookies", f"{A}/d-cookies")
FORM = _form("e-form", "form POST, urlencoded, same origin", f"{A}/e-form?f=1", LOGIN)
GET = Situation("f-get.json", "fetch() GET, same origin", f"{A}/f-get.json", "script")
POST = Situation(
    "f-post.json",
    "fetch() POST of JSON, same origin",
    f"{A}/f-post.json",
    "script",
    body='{"a":1}',
    encoding=JSON,
)
IMAGE = _embedded("g-img.png", "<img>, same origin", "img")


def _elsewhere(situation: Situation, prefix: str, suffix: str, root: str) -> Situation:
    """Return the same situation at another origin."""
    return replace(
        situation,
        key=prefix + situation.key,
        what=f"{situation.what}; {suffix}",
        url=situation.url.replace(A, root),
        page=situation.page.replace(A, root),
    )


_ELSEWHERE = (FIRST, SAME, WITH_COOKIES, FORM, GET, POST, IMAGE)

SITUATIONS = (
    FIRST,
    SAME,
    Situation("c-samesite", "link followed, other host of the same site", f"{API}/c-samesite"),
    Situation("c-cross", "link followed, other site", f"{B}/c-cross"),
    WITH_COOKIES,
    FORM,
    _form("e-form-cross", "form POST, urlencoded, other site", f"{B}/e-form-cross", "a=1"),
    Situation("e-get", "form GET", f"{A}/e-get?q=x", "form"),
    _form(
        "e-multipart",
        "form POST, multipart (browsers only)",
        f"{A}/e-multipart",
        "a=1",
        MULTIPART,
    ),
    GET,
    replace(
        GET,
        key="f-xhr.json",
        what="XMLHttpRequest GET as jQuery sends it",
        url=f"{A}/f-xhr.json",
        is_xhr=True,
    ),
    POST,
    replace(
        GET,
        key="f-samesite.json",
        what="fetch() GET, other host of the same site",
        url=f"{API}/f-samesite.json",
    ),
    replace(
        POST,
        key="f-cross.json",
        what="fetch() POST of JSON, other site (after its preflight)",
        url=f"{B}/f-cross.json",
    ),
    IMAGE,
    replace(IMAGE, key="g-img-cross.png", what="<img>, other site", url=f"{B}/g-img-cross.png"),
    _embedded("g-script.js", "<script>, same origin", "script"),
    _embedded("g-style.css", "<link rel=stylesheet>, same origin", "link"),
    _embedded("g-frame", "<iframe>, same origin", "iframe"),
    Situation("h-landing", "302 after a link, same origin", f"{A}/h-landing", asked=f"{A}/h-start"),
    Situation(
        "h-typed-landing",
        "302 after a typed address",
        f"{A}/h-typed-landing",
        "typed",
        asked=f"{A}/h-typed",
    ),
    Situation(
        "h-landing-cross",
        "302 after a link, to another site",
        f"{B}/h-landing-cross",
        asked=f"{A}/h-cross",
    ),
    Situation("h-chain2", "302 to another site ...", f"{B}/h-chain2", asked=f"{A}/h-chain1"),
    Situation("h-chain3", "... and 302 back to the first", f"{A}/h-chain3", asked=f"{A}/h-chain1"),
    replace(
        FORM,
        key="h-post-landing",
        what="302 after a form POST",
        url=f"{A}/h-post-landing",
        asked=f"{A}/h-post",
    ),
    Situation("i-page", "the page that a cache keeps, first time", f"{A}/i-page"),
    Situation("i-page?reload", "reload of it, with its ETag", f"{A}/i-page?reload", "reload"),
    Situation("i-page?again", "a link to it again, with its ETag", f"{A}/i-page?again", "again"),
    Situation(
        "i-auth", "HTTP Basic credentials, second request", f"{A}/auth/i-auth", "credentials"
    ),
    Situation("l-close", "the last request of a connection", f"{A}/l-close", "typed"),
    Situation("l-second", "the first request of the next connection", f"{A}/l-second", "typed"),
    *(_elsewhere(situation, "j-", "HTTP/1.1", A_HTTP1) for situation in _ELSEWHERE),
    *(_elsewhere(situation, "k-", "plain http", A_PLAIN) for situation in _ELSEWHERE),
    Situation(
        "h-up-landing",
        "http:// redirected to https://",
        f"{A}/h-up-landing",
        "typed",
        asked=f"{A_OLD}/h-up",
    ),
)

#: Where each redirect leads, from path to URL.
REDIRECTS = {
    "/h-start": f"{A}/h-landing",
    "/h-typed": f"{A}/h-typed-landing",
    "/h-cross": f"{B}/h-landing-cross",
    "/h-chain1": f"{B}/h-chain2",
    "/h-chain2": f"{A}/h-chain3",
    "/h-post": f"{A}/h-post-landing",
    "/h-up": f"{A}/h-up-landing",
}

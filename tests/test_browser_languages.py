"""A user's languages, as each family of browsers writes them, where it writes them."""

from __future__ import annotations

from typing import get_args

import pytest

from scrapy_curl_safe._crawl.browser.contradictions import Sent, contradictions
from scrapy_curl_safe._crawl.browser.headers import browser_headers, http2_fields
from scrapy_curl_safe._crawl.browser.languages import accept_language, speaking
from scrapy_curl_safe._crawl.browser.request import BrowserRequest, Kind
from scrapy_curl_safe._crawl.browser.target import Family

from .test_browser_headers_rules import TARGETS

TENTHS, SHARES = "en-US,en;q=0.9", "en-US,en;q=0.5"
PAGE, API = "https://a.test/", "https://a.test/api"


@pytest.mark.parametrize(
    ("family", "own", "languages", "value"),
    [
        ("chromium", TENTHS, ["en-US"], TENTHS),
        ("chromium", TENTHS, ["en-US", "en"], TENTHS),
        ("chromium", TENTHS, ["de"], "de"),
        ("chromium", TENTHS, ["de-AT", "de-DE", "en"], "de-AT,de-DE;q=0.9,de;q=0.8,en;q=0.7"),
        ("chromium", TENTHS, ["de-AT", "en", "de"], "de-AT,de;q=0.9,en;q=0.8"),
        (
            "chromium",
            TENTHS,
            [f"{two}-XX" for two in ("aa", "bb", "cc", "dd", "ee", "ff")],
            "aa-XX,aa;q=0.9,bb-XX;q=0.8,bb;q=0.7,cc-XX;q=0.6,cc;q=0.5,dd-XX;q=0.4,dd;q=0.3,"
            "ee-XX;q=0.2,ee;q=0.1,ff-XX;q=0.1,ff;q=0.1",
        ),
        ("webkit", TENTHS, ["pt-BR"], "pt-BR,pt;q=0.9"),
        ("gecko", TENTHS, ["de", "en-US", "en"], "de,en-US;q=0.9,en;q=0.8"),
        ("gecko", SHARES, ["en-US", "en"], SHARES),
        ("gecko", SHARES, ["de", "en-US", "en"], "de,en-US;q=0.7,en;q=0.3"),
        ("gecko", SHARES, ["de-AT", "de", "en-US", "en"], "de-AT,de;q=0.8,en-US;q=0.5,en;q=0.3"),
        ("gecko", SHARES, ["de-AT"], "de-AT"),
    ],
)
def test_accept_language(family: Family, own: str, languages: list[str], value: str) -> None:
    assert accept_language(family, own, languages) == value


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("browser", TARGETS)
def test_only_the_value_changes(browser: str, kind: Kind) -> None:
    target = TARGETS[browser]
    other = speaking(target, ("de-AT", "de"))
    assert speaking(target, ("de-AT", "de")) is other
    request = BrowserRequest(kind, API, initiator=None if kind == "page" else PAGE)
    own = browser_headers(request, target, [])
    headers = browser_headers(request, other, [])
    assert headers.order == own.order
    changed = [pair for pair in zip(own.fields, headers.fields, strict=True) if len({*pair}) > 1]
    (((name, _), (_, value)),) = changed
    assert name.lower() == b"accept-language"
    assert value == b"de-AT,de;q=0.9"
    fields = tuple((name.decode(), value.decode()) for name, value in http2_fields(headers))
    sent = Sent("h2", "GET", API, fields, headers.weight, headers.exclusive)
    assert contradictions(sent) == []

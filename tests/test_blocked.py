"""The policy that tells blocks, on the pages that it is for, and on those that look like them."""

from __future__ import annotations

import pytest
from scrapy.exceptions import DownloadTimeoutError
from scrapy.http import HtmlResponse, Response

from scrapy_curl_safe import BlockedPolicy, HandshakeError, ProxyAuthenticationError

#: What a challenge of each kind consists of, as its vendor documents or shows it.
CHALLENGES = {
    "cloudflare": b"<title>Just a moment...</title><script>window._cf_chl_opt = {cType: 'managed'};"
    b"a.src = '/cdn-cgi/challenge-platform/h/b/orchestrate/chl_page/v1?ray=1';</script>",
    "incapsula": b'<iframe src="/_Incapsula_Resource?SWUDNSAI=31&incident_id=1"></iframe>',
    "datadome": b'<script>var dd={}</script><script src="https://ct.captcha-delivery.com/c.js">',
    "perimeterx": b'<div id="px-captcha"></div>',
    "akamai": b'<script src="/_sec/cp_challenge/verify"></script>',
    "aws": b"<script>window.awsWafCookieDomainList = []; window.gokuProps = {};</script>",
    "amazon": b'<form method="get" action="/errors/validateCaptcha" name="">',
    "sucuri": b"<script>sucuri_cloudproxy_js='';</script>",
    "ddos-guard": b"<html><head><title>DDoS-Guard</title></head></html>",
}
#: A page as sites have them, with scripts that watch visitors.
CONTENT = (
    b"<html><head><title>Shoes</title>"
    b'<script src="https://js.datadome.co/tags.js"></script>'
    b'<script src="/cdn-cgi/challenge-platform/scripts/jsd/main.js"></script>'
    b'<script src="https://client.px-cloud.net/PX1/main.min.js"></script>'
    b'<script src="https://www.google.com/recaptcha/api.js"></script>'
    b"</head><body>" + b"<p>A shoe</p>" * 3000 + b"</body></html>"
)


def page(body: bytes, status: int = 200, **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HtmlResponse("https://a.test/", status=status, headers=named, body=body)


def reason(outcome: Response | Exception) -> str | None:
    return BlockedPolicy().reason(outcome)


@pytest.mark.parametrize("status", [401, 403, 407, 429])
def test_statuses_that_refuse(status: int) -> None:
    assert reason(page(b"", status)) == str(status)


@pytest.mark.parametrize("status", [200, 204, 301, 404, 410, 418, 451, 500, 502, 503])
def test_statuses_that_do_not(status: int) -> None:
    assert reason(page(b"<p>A page</p>", status)) is None


@pytest.mark.parametrize("kind", CHALLENGES)
@pytest.mark.parametrize("status", [200, 202, 503])
def test_small_pages_of_a_challenge(kind: str, status: int) -> None:
    body = b"<html><body>" + CHALLENGES[kind] + b"</body></html>"
    assert reason(page(body, status)) == "challenge"


@pytest.mark.parametrize("kind", CHALLENGES)
def test_large_pages_that_embed_a_challenge_are_content(kind: str) -> None:
    assert reason(page(CONTENT.replace(b"</head>", CHALLENGES[kind] + b"</head>"))) is None


def test_small_pages_that_embed_the_scripts_of_a_guard_are_content() -> None:
    assert reason(page(CONTENT[:1500])) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"cf_mitigated": "challenge"},
        {"cf_chl_bypass": "1"},
        {"server_timing": 'chlray;desc="8f"'},
        {"x_amzn_waf_action": "captcha"},
    ],
)
def test_headers_of_a_challenge(headers: dict[str, str]) -> None:
    assert reason(page(CONTENT, 503, **headers)) == "challenge"


def test_an_outage_behind_a_guard_is_none() -> None:
    assert (
        reason(page(b"<h1>503</h1>", 503, server="cloudflare", cf_ray="8f", retry_after="5"))
        is None
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (HandshakeError("alert", 35, "handshake failure", "https://a.test:443"), "handshake"),
        (HandshakeError("syscall", 35, "closed", "https://a.test:443"), None),
        (HandshakeError("local", 35, "no port", "https://a.test:443"), None),
        (ProxyAuthenticationError("no"), "407"),
        (DownloadTimeoutError("slow"), None),
        (ValueError("a bug"), None),
    ],
)
def test_failures(error: Exception, expected: str | None) -> None:
    assert reason(error) == expected


def test_images_and_the_like_have_no_markers() -> None:
    assert reason(Response("https://a.test/a.png", body=bytes(range(256)) * 40)) is None

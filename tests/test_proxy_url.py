"""URLs of proxies, and what of them is shown."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._proxy_url import ProxyUrl, parse_proxy, without_credentials


@pytest.mark.parametrize(
    ("text", "url", "credentials"),
    [
        ("proxy.test", "http://proxy.test", None),
        ("//proxy.test:8080", "http://proxy.test:8080", None),
        ("proxy_1.test:8080", "http://proxy_1.test:8080", None),
        ("SOCKS5H://127.0.0.1:9050/", "socks5h://127.0.0.1:9050/", None),
        ("https://user:p%40ss@[::1]:65535", "https://[::1]:65535", b"user:p@ss"),
        ("http://[fe80::1%25eth0]:1", "http://[fe80::1%25eth0]:1", None),
        ("http://user:p@ss@proxy.test", "http://proxy.test", b"user:p@ss"),
        ("http://user@proxy.test:1", "http://proxy.test:1", b"user:"),
        ("http://u%C3%B6:a:b@proxy.test:1", "http://proxy.test:1", "uö:a:b".encode()),
        ("http://@proxy.test:1", "http://proxy.test:1", b":"),
    ],
)
def test_the_parts(text: str, url: str, credentials: bytes | None) -> None:
    assert parse_proxy(text) == ProxyUrl(url, credentials)
    assert without_credentials(text) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "[]",
        "http://[secret]:1",
        "http://[::1",
        "http://:8080",
        "proxy.test:8080:user:secret",
        "http://proxy.test:8080:user:secret",
        "user:secret:proxy.test:8080",
        "http://user:secret@proxy.test:port",
        "http://user:secret@proxy.test:0",
        "http://user:secret@proxy.test:65536",
        "http://user:12/secret@proxy.test:1",
        "http://user:12?secret@proxy.test:1",
        "http://user:12#secret@proxy.test:1",
        "http://user:secret@proxy test:1",
        "ftp://proxy.test:1:user:secret",
        'http://user:secret@proxy.test:1"',
    ],
)
def test_what_is_malformed_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="has a URL that is malformed, and not shown") as raised:
        parse_proxy(text)
    assert raised.value.__cause__ is None
    assert "secret" not in str(raised.value)
    assert without_credentials(text) == "a malformed proxy URL"


def test_another_scheme_is_named() -> None:
    with pytest.raises(ValueError, match=r"^ftp://proxy\.test:1 has the scheme ftp: it takes one"):
        parse_proxy("ftp://user:secret@proxy.test:1")

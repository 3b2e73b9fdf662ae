"""The head of a request: nothing in it begins another line, wherever it comes from."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.http_syntax import HeadPart, HttpSyntaxError, check_head_part
from testkit.fixtures import RunCrawl
from testkit.origins.raw import RawOrigin

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: As RFC 9110 and 9112 define what each part may be.
ALLOWED = {
    HeadPart.METHOD: TOKEN,
    HeadPart.FIELD_NAME: TOKEN,
    HeadPart.FIELD_VALUE: re.compile(rb"[\t\x20-\x7e\x80-\xff]*"),
    HeadPart.TARGET: re.compile(rb"[\x21-\x7e\x80-\xff]+"),
}


@given(st.sampled_from(HeadPart), st.binary(max_size=6))
def test_what_the_grammar_has_is_taken_and_all_else_is_refused(
    part: HeadPart, octets: bytes
) -> None:
    if ALLOWED[part].fullmatch(octets):
        check_head_part(part, octets)
    else:
        with pytest.raises(HttpSyntaxError):
            check_head_part(part, octets)


@pytest.mark.parametrize(
    ("part", "octets", "of", "message"),
    [
        (HeadPart.METHOD, b"GET /\r\n", "request", r"the method of the request has b' ' at 3"),
        (HeadPart.METHOD, b"", "request", r"the method of the request is empty"),
        (
            HeadPart.FIELD_VALUE,
            b"secret\n",
            "header X",
            r"the value of the header X has b'\n' at 6",
        ),
        (HeadPart.FIELD_NAME, "é".encode(), "header", r"the name of the header has b'\xc3' at 0"),
    ],
)
def test_the_message_names_what_is_wrong(
    part: HeadPart, octets: bytes, of: str, message: str
) -> None:
    with pytest.raises(HttpSyntaxError) as caught:
        check_head_part(part, octets, of=of)
    assert str(caught.value) == message


INJECTED = "X-Injected"
BREAKS = ("\r\n", "\n", "\r", "\0")


def with_break(part: str, bad: str) -> dict[str, Any]:
    """Return the arguments of a request which has a line break in this part of its head."""
    text = f"a{bad}{INJECTED}: 1"
    by_proxy: dict[str, Any] = {}
    arguments: dict[str, Any] = {"meta": by_proxy}
    if part == "method":
        arguments["method"] = f"GET / HTTP/1.1{bad}{INJECTED}: 1"
    elif part == "header name":
        arguments["headers"] = {text: "x"}
    elif part == "header value":
        arguments["headers"] = {"X": text}
    elif part == "user agent":
        arguments["headers"] = {"User-Agent": text}
    elif part == "cookie":
        arguments["headers"] = {"Cookie": f"a={text}"}
    elif part == "raw header name":
        by_proxy["curl_safe"] = {"raw_headers": [[text, "x"]]}
    elif part == "raw header value":
        by_proxy["curl_safe"] = {"raw_headers": [["X", text]]}
    elif part == "name for the proxy":
        by_proxy["proxy_headers"] = {text: "x"}
    elif part == "value for the proxy":
        by_proxy["proxy_headers"] = {"X": text}
    elif part == "authorization for the proxy":
        arguments["headers"] = {"Proxy-Authorization": f"Bearer {text}"}
    elif part == "fingerprint's name":
        by_proxy["curl_safe"] = {"impersonate": {"headers": {text: "x"}}}
    else:
        assert part == "fingerprint's value"
        by_proxy["curl_safe"] = {"impersonate": {"headers": {"X": text}}}
    return arguments


PARTS = (
    "method",
    "header name",
    "header value",
    "user agent",
    "cookie",
    "raw header name",
    "raw header value",
    "name for the proxy",
    "value for the proxy",
    "authorization for the proxy",
    "fingerprint's name",
    "fingerprint's value",
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("bad", BREAKS, ids=repr)
@pytest.mark.parametrize("url", ["http://origin.test/", "https://origin.test/"])
def test_no_line_is_added_to_what_a_proxy_or_an_origin_gets(
    crawl: RunCrawl, bad: str, url: str
) -> None:
    """The proxy is the origin as well: it sees each byte that leaves, of a CONNECT, too."""
    with RawOrigin(ANSWER, tls=False) as proxy:
        requests = []
        for part in PARTS:
            request = with_break(part, bad)
            request["meta"] = {"proxy": proxy.url, "dont_retry": True, **request["meta"]}
            requests.append({"url": url, **request})
        good = {"url": "http://origin.test/good", "meta": {"proxy": proxy.url}}
        crawled = crawl(*requests, good, CONCURRENT_REQUESTS=1, COOKIES_ENABLED=False)
    refused = {PARTS[error["number"]]: error["type"] for error in crawled.errors}
    assert refused == dict.fromkeys(PARTS, "ValueError")
    for error in crawled.errors:
        assert re.search(r"the (method|name|value) of the .* has b'.+' at \d+", error["text"])
    # Each fails alone.
    assert [response["body"] for response in crawled.responses] == ["ok"]
    assert [head.partition(b"\r\n")[0] for head in proxy.heads] == [
        b"GET http://origin.test/good HTTP/1.1"
    ]


@pytest.mark.parametrize("url", ["http://origin.test/", "https://origin.test/"])
def test_an_empty_value_for_the_proxy_is_sent(crawl: RunCrawl, url: str) -> None:
    with RawOrigin(ANSWER, tls=False) as proxy:
        headers = {"X-Empty": "", "X-Blank": " ", "X-Full": "1"}
        meta = {"proxy": proxy.url, "proxy_headers": headers, "dont_retry": True}
        crawl({"url": url, "meta": meta})
        lines = proxy.heads[0].split(b"\r\n")
    sent = {line.rstrip() for line in lines if line.startswith(b"X-")}
    assert sent == {b"X-Empty:", b"X-Blank:", b"X-Full: 1"}


@pytest.mark.parametrize("proxied", [False, True])
def test_bad_headers_of_a_fingerprint_in_the_settings_close_the_crawl(
    crawl: RunCrawl, proxied: bool
) -> None:
    with RawOrigin(ANSWER, tls=False) as origin:
        crawled = crawl(
            {"url": origin.url, "meta": {"proxy": origin.url} if proxied else {}},
            CURL_SAFE_IMPERSONATE={"headers": {"X": f"a\r\n{INJECTED}: 1"}},
        )
    assert crawled.responses == []
    assert origin.heads == []
    assert "the value of the header b'X' has b'\\r' at 1" in crawled.log

"""The header lines that libcurl is given, and what it makes of them."""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import Any

import pytest
from curl_cffi import CurlOpt, ffi
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.http_syntax import HttpSyntaxError
from scrapy_curl_safe._ipc.messages import HeaderPairs, Profile
from scrapy_curl_safe._worker.easy import EasyHandle
from scrapy_curl_safe._worker.header_lists import HeaderLists
from testkit.origins.raw import RawOrigin

SUPPRESSED = (b"Expect", b"Content-Type", b"Accept")

TOKEN = b"!#$%&'*+-.^_`|~" + string.digits.encode() + string.ascii_letters.encode()
IN_VALUES = bytes({9, *range(0x20, 0x100)} - {0x7F})

names = st.lists(st.sampled_from(TOKEN), min_size=1, max_size=8).map(bytes)
names |= st.sampled_from([b"Expect", b"accept", b"Content-Type", b"X-A", b"x-a"])
values = st.none() | st.sampled_from([b"", b" ", b"\t"])
values |= st.lists(st.sampled_from(IN_VALUES), max_size=8).map(bytes)
header_pairs = st.lists(st.tuples(names, values), max_size=6)


def lines_of(header_list: Any) -> list[bytes]:
    # The list ends with the last reference to what owns it.
    lines, entry = [], header_list
    while entry != ffi.NULL:
        lines.append(ffi.string(entry.data))
        entry = entry.next
    return lines


def expected_line(name: bytes, value: bytes | None) -> bytes:
    if value is None:
        return name + b":"
    return name + b": " + value if value.strip() else name + b";"


@given(header_pairs)
def test_each_header_is_a_line_and_those_that_libcurl_would_add_are_suppressed(
    headers: HeaderPairs,
) -> None:
    lines = lines_of(HeaderLists(Profile()).get(headers))
    given_names = {name.lower() for name, _ in headers}
    suppressed = [name + b":" for name in SUPPRESSED if name.lower() not in given_names]
    assert lines == [expected_line(name, value) for name, value in headers] + suppressed


@given(header_pairs)
def test_the_headers_of_a_fingerprint_follow_unless_the_request_has_them(
    headers: HeaderPairs,
) -> None:
    profile = Profile(fingerprint={"headers": {"X-A": "1", "X-B": ""}})
    lines = lines_of(HeaderLists(profile).get(headers))
    given_names = {name.lower() for name, _ in headers}
    added = [(b"X-A", b"1"), (b"X-B", b""), *((name, None) for name in SUPPRESSED)]
    assert lines == [
        expected_line(name, value)
        for name, value in [*headers, *(h for h in added if h[0].lower() not in given_names)]
    ]


def test_an_empty_host_of_a_fingerprint_is_the_requests_own() -> None:
    fields = {"headers": {"Host": "", "X-A": "1"}, "http3_headers": {"host": "", "X-B": "2"}}
    profile = Profile(fingerprint=fields)
    suppressed = [name + b":" for name in SUPPRESSED]
    assert lines_of(HeaderLists(profile).get([])) == [b"X-A: 1", *suppressed]
    assert lines_of(HeaderLists(profile, for_http3=True).get([])) == [b"X-B: 2", *suppressed]
    given_host = HeaderLists(Profile(fingerprint={"headers": {"Host": "other.test"}}))
    assert lines_of(given_host.get([]))[0] == b"Host: other.test"


def test_a_browser_brings_its_own_accept() -> None:
    plain, browser, bare = (
        lines_of(HeaderLists(profile).get([]))
        for profile in (
            Profile(),
            Profile(impersonate="chrome"),
            Profile(impersonate="chrome", default_headers=False),
        )
    )
    assert plain == bare == [b"Expect:", b"Content-Type:", b"Accept:"]
    assert browser == [b"Expect:", b"Content-Type:"]


@given(header_pairs, st.data())
def test_what_http_forbids_is_refused(headers: HeaderPairs, data: st.DataObject) -> None:
    name, value = data.draw(names), data.draw(values)
    in_name = data.draw(st.booleans())
    allowed = TOKEN if in_name else IN_VALUES
    bad = data.draw(st.sampled_from([b"\r\n", *(b"%c" % c for c in {*range(256)} - {*allowed})]))
    if in_name:
        at = data.draw(st.integers(0, len(name)))
        name = name[:at] + bad + name[at:]
    else:
        at = data.draw(st.integers(0, len(value or b"")))
        value = (value or b"")[:at] + bad + (value or b"")[at:]
    position = data.draw(st.integers(0, len(headers)))
    with pytest.raises(HttpSyntaxError):
        HeaderLists(Profile()).get([*headers[:position], (name, value), *headers[position:]])


@pytest.mark.parametrize(
    "header",
    [
        (b"", b"x"),
        (b"", None),
        (b"a:b", b"x"),
        (b"a:b", None),
        (b":path", b"/"),
        (b"a;b", b""),
        (b";", b" "),
        (b"a b", b"x"),
        (b" a", None),
    ],
)
def test_what_libcurl_would_drop_or_misread_is_refused(header: tuple[bytes, bytes | None]) -> None:
    with pytest.raises(HttpSyntaxError):
        HeaderLists(Profile()).get([header])


@pytest.mark.parametrize("headers", [{"X": "a\r\nb"}, {"X\0": "a"}, {"": "a"}, {"X": 1}, {1: "a"}])
def test_a_fingerprint_with_a_bad_header_is_refused(headers: HeaderPairs) -> None:
    with pytest.raises(HttpSyntaxError):
        HeaderLists(Profile(fingerprint={"headers": headers}))


def test_requests_with_the_same_headers_share_a_list() -> None:
    lists = HeaderLists(Profile())
    headers: HeaderPairs = [(b"A", b"1"), (b"B", None)]
    first = lists.get(headers)
    assert lists.get(list(headers)) is first
    assert lists.get([(b"A", b"2")]) is not first
    for n in range(100):
        lists.get([(b"N", b"%d" % n)])
    # Forgotten meanwhile, and as good as before for who still has it.
    assert lists.get(headers) is not first
    assert lines_of(lists.get(headers)) == lines_of(first)


def test_a_rider_shares_the_line_of_another_header() -> None:
    headers: HeaderPairs = [(b"User-Agent", b"u"), (b"Accept", b"a"), (b"TE", b"t")]
    riders = [(b"te", b"accept"), (b"priority", b"accept"), (b"accept", b"x-none")]
    lines = lines_of(HeaderLists(Profile()).make(headers, riders))
    assert lines == [b"User-Agent: u", b"Accept: a\r\nTE: t", b"Expect:", b"Content-Type:"]


@pytest.mark.parametrize("value", [None, b"", b" "])
def test_a_line_that_libcurl_rewrites_is_not_shared(value: bytes | None) -> None:
    headers: HeaderPairs = [(b"User-Agent", value), (b"Accept", b"a"), (b"TE", value)]
    riders = [(b"accept", b"user-agent"), (b"te", b"accept")]
    lists = HeaderLists(Profile())
    assert lines_of(lists.make(headers, riders)) == lines_of(lists.make(headers))


def test_a_rider_with_a_line_break_is_refused() -> None:
    headers: HeaderPairs = [(b"Accept", b"a"), (b"TE", b"t\r\nX: 1")]
    with pytest.raises(HttpSyntaxError):
        HeaderLists(Profile()).make(headers, [(b"te", b"accept")])


tokens = st.text("abcXYZ019-_!~", min_size=1, max_size=8).map(lambda text: b"X-" + text.encode())
words = st.text("aZ0:;,=\"'/.é", min_size=1, max_size=5).map(lambda text: text.encode("latin-1"))
blanks = st.sampled_from([b"", b" ", b"\t", b"  \t"])
sent_values = blanks | st.lists(words, min_size=1, max_size=3).map(b" ".join)


@pytest.fixture(scope="module")
def origin() -> Iterator[RawOrigin]:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", tls=False) as origin:
        yield origin


@settings(max_examples=50)
@given(st.lists(st.tuples(tokens, sent_values), max_size=6))
def test_the_origin_gets_what_the_request_has(
    origin: RawOrigin, headers: list[tuple[bytes, bytes]]
) -> None:
    headers = [(n, v) for n, v in headers if v.strip() or b";" not in n]
    easy = EasyHandle()
    easy.setopt(CurlOpt.URL, origin.url)
    easy.write_to_memory()
    easy.set_header_list(HeaderLists(Profile()).get([(b"Host", b"h"), *headers]))
    easy.perform()
    easy.close()
    request_line, *lines = origin.heads[-1].removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert request_line == b"GET / HTTP/1.1"
    sent = [tuple(part.strip() for part in line.split(b":", 1)) for line in lines]
    assert sent == [(b"Host", b"h"), *((name, value.strip()) for name, value in headers)]

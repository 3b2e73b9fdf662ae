"""The parser of response heads: its properties, and its results on what libcurl passes on."""

from __future__ import annotations

import contextlib

import pytest
from curl_cffi import CurlOpt
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._worker.easy import EasyHandle
from scrapy_curl_safe._worker.response_head import InvalidHeadError, parse_head
from testkit.origins.raw import RawOrigin

# Of a token, as names are (RFC 9110, section 5.6.2), and of a value's ends and middle.
names = st.text("abcXYZ019-_!~", min_size=1, max_size=12).map(str.encode)
visible = st.text("aZ0:;,=\"'/.é", max_size=8).map(lambda text: text.encode("latin-1"))
values = st.lists(visible.filter(len), max_size=3).map(b" ".join)
line_ends = st.sampled_from([b"\r\n", b"\n"])
folds = st.sampled_from([b"\r\n ", b"\n\t", b"\r\n \t "])
protocols = st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"])
bodies = st.sampled_from([b"", b"x", b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"<p>\n  a: b\n\n"])


Head = tuple[bytes, str, int, list[tuple[bytes, bytes]]]


@st.composite
def heads(draw: st.DrawFn, statuses: st.SearchStrategy[int]) -> Head:
    """A head, and the protocol, status and headers in it."""
    protocol, status = draw(protocols), draw(statuses)
    end = draw(line_ends)
    data = b"%s %d %s" % (protocol.encode(), status, draw(visible)) + end
    headers = []
    for name in draw(st.lists(names, max_size=5)):
        if draw(st.integers(0, 9)) == 0:
            data += name + end  # a line without a colon
        words = draw(st.lists(visible.filter(len), min_size=1, max_size=3))
        around = draw(st.sampled_from([b"", b" ", b"\t "]))
        data += name + b":" + around + draw(folds | st.just(b" ")).join(words) + around + end
        headers.append((name, b" ".join(words)))
    return data + end, protocol, status, headers


final_statuses = st.integers(200, 599) | st.just(101)
interim_statuses = st.integers(100, 199).filter(lambda status: status != 101)


@given(st.lists(heads(interim_statuses), max_size=2), heads(final_statuses), bodies)
def test_the_final_head_is_parsed_however_it_is_written(
    interim: list[Head], final: Head, body: bytes
) -> None:
    head, protocol, status, headers = final
    before = b"".join(data for data, *_ in interim)
    for response in (before + head + body, bytearray(before + head + body)):
        parsed = parse_head(memoryview(response))
        assert parsed == parse_head(response)
        assert parsed is not None
        assert (parsed.protocol, parsed.status) == (protocol, status)
        assert parsed.headers == headers
        assert parsed.end == len(before + head)


@given(st.lists(heads(interim_statuses), max_size=2), heads(final_statuses), bodies, st.data())
def test_a_head_is_parsed_once_it_is_complete(
    interim: list[Head], final: Head, body: bytes, data: st.DataObject
) -> None:
    """However the response was split."""
    whole = b"".join(each for each, *_ in [*interim, final])
    response = whole + body
    split = data.draw(st.integers(0, len(response)))
    parsed = parse_head(response[:split])
    assert parsed == (parse_head(response) if split >= len(whole) else None)


@given(st.binary(max_size=200) | st.text("HTP/1. 20\r\n :\t", max_size=60).map(str.encode))
def test_any_bytes_are_a_head_or_none_or_invalid(data: bytes) -> None:
    parsed = None
    with contextlib.suppress(InvalidHeadError):
        parsed = parse_head(data)
    if parsed is not None:
        assert 0 < parsed.end <= len(data)
        assert parsed.content_length is None or parsed.content_length >= 0


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (b"0", 0),
        (b"12", 12),
        (b"9" * 18, 10**18 - 1),
        (b"9" * 19, 2**63 - 1),
        (b"9" * 10_000, 2**63 - 1),
        (b"2, 2", 2),
        (b"2 ,2,2", 2),
        (b"-1", None),
        (b"1e3", None),
        (b"", None),
        ("٣".encode(), None),
    ],
)
def test_content_length(value: bytes, length: int | None) -> None:
    parsed = parse_head(b"HTTP/1.1 200 OK\r\nCONTENT-length: " + value + b"\r\n\r\n")
    assert parsed is not None
    assert parsed.content_length == length


def test_whitespace_before_the_first_header_is_no_header() -> None:
    """RFC 9112, section 2.2."""
    parsed = parse_head(b"HTTP/1.1 200 OK\r\n a: b\r\nc: d\r\n\r\n")
    assert parsed is not None
    assert parsed.headers == [(b"c", b"d")]


@pytest.mark.parametrize("status", [b"", b"99", b"abc", b"2x0", b"2" * 5000, b"+200", b"-200"])
def test_a_head_without_a_status_is_invalid(status: bytes) -> None:
    with pytest.raises(InvalidHeadError, match="no status in"):
        parse_head(b"HTTP/1.1 " + status + b" OK\r\na: b\r\n\r\n")


def test_a_complete_head_whose_status_is_not_final_is_none() -> None:
    assert parse_head(b"HTTP/1.1 099 OK\r\na: b\r\n\r\n") is None


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"HTTP/1.1 200", 200),
        (b"HTTP/1.1 200 ", 200),
        (b"HTTP/1.1  200 OK", 200),
        (b"HTTP/1.1\t200\tOK", 200),
        (b"HTTP/1.1 200OK", 200),
        (b"HTTP/1.1 2000 OK", 2000),
    ],
)
def test_how_a_status_may_be_written(line: bytes, status: int) -> None:
    """RFC 9112, section 4: "any form of whitespace"."""
    parsed = parse_head(line + b"\r\na: b\r\n\r\n")
    assert parsed is not None
    assert (parsed.protocol, parsed.status, parsed.headers) == ("HTTP/1.1", status, [(b"a", b"b")])


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        (b"Location : /x", [(b"Location", b"/x")]),
        (b"Location \t: /x", [(b"Location", b"/x")]),
        (b"Content-Length : 2", [(b"Content-Length", b"2")]),
        (b"HTTP/1.1: x", []),
        (b"HTTP/1.1 404 Not: Found", []),
        (b"HTTP: x", [(b"HTTP", b"x")]),
        (b"two words: x", []),
        (b"\xc3\xb6: x", []),
        (b"a\x01: x", []),
        (b"a\0: x", []),
        (b": x", []),
        (b":", []),
        (b"no colon", []),
        (b"!#$%&'*+-.^_`|~: x", [(b"!#$%&'*+-.^_`|~", b"x")]),
        (b"a:", [(b"a", b"")]),
        (b"a::b", [(b"a", b":b")]),
        (b"a: \x0c\xa0b", [(b"a", b"\xa0b")]),
    ],
)
def test_lines_that_are_decided_as_browsers_do(
    line: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """A line before such a line and one after it are not lost."""
    parsed = parse_head(b"HTTP/1.1 200 OK\r\nX: 1\r\n" + line + b"\r\nY: 2\r\n\r\n")
    assert parsed is not None
    assert parsed.headers == [(b"X", b"1"), *headers, (b"Y", b"2")]


def test_a_coding_that_libcurl_has_not_seen_makes_the_head_invalid() -> None:
    """Its body would be passed on with the chunks' sizes in it."""
    with pytest.raises(InvalidHeadError, match="Transfer-Encoding"):
        parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n")


@pytest.mark.parametrize(
    ("value", "chunked"),
    [(b"chunked", True), (b"Chunked", True), (b"gzip, chunked", True), (b"identity", False)],
)
def test_the_chunked_coding(value: bytes, chunked: bool) -> None:
    parsed = parse_head(b"HTTP/1.1 200 OK\r\nTRANSFER-encoding: " + value + b"\r\n\r\n")
    assert parsed is not None
    assert parsed.is_chunked == chunked


def test_what_libcurl_passes_on_is_what_the_origin_sent() -> None:
    """Folded lines, too, which some versions join and others do not."""
    head = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n"
    head += b"A: one\r\n two: three\r\n\tfour\r\nContent-Length: 2\r\nA: \r\n\r\n"
    with RawOrigin(head + b"ok", tls=False) as origin:
        easy = EasyHandle()
        easy.setopt(CurlOpt.URL, origin.url)
        easy.write_to_memory()
        easy.perform()
        response = bytes(easy.response())
        easy.close()
    parsed = parse_head(response)
    assert parsed is not None
    assert parsed.headers == [
        (b"A", b"one two: three four"),
        (b"Content-Length", b"2"),
        (b"A", b""),
    ]
    assert response[parsed.end :] == b"ok"

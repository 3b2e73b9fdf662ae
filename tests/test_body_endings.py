"""Each way in which a body can end: the table, and crawls that meet it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from conformance.responses import bodies, http2
from conformance.responses.case import Case
from conformance.responses.compare import OURS, Outcome, download
from scrapy_curl_safe._ipc.failures import CurlCode
from scrapy_curl_safe._worker.body_ending import Ending, Framing, ending_of, framing_of
from scrapy_curl_safe._worker.response_head import parse_head

HTTP1 = (Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE)
LOSSES = (CurlCode.PARTIAL_FILE, CurlCode.SEND_ERROR, CurlCode.RECV_ERROR)
OTHERS = (
    CurlCode.WRITE_ERROR,
    CurlCode.OPERATION_TIMEDOUT,
    CurlCode.OUT_OF_MEMORY,
    CurlCode.FILESIZE_EXCEEDED,
)


@pytest.mark.parametrize("framing", Framing)
def test_what_libcurl_calls_a_success(framing: Framing) -> None:
    expected = Ending.PARTIAL if framing is Framing.CLOSE else Ending.COMPLETE
    assert ending_of(0, framing, 4, 4) is expected


@pytest.mark.parametrize(
    ("framing", "ending"),
    [
        (Framing.NONE, Ending.COMPLETE),
        (Framing.LENGTH, Ending.DATALOSS),
        (Framing.CHUNKED, Ending.COMPLETE),
        (Framing.CLOSE, Ending.PARTIAL),
        (Framing.STREAM, Ending.DATALOSS),
    ],
)
def test_a_success_with_fewer_bytes_than_were_announced(framing: Framing, ending: Ending) -> None:
    assert ending_of(0, framing, 4, 5) is ending


@pytest.mark.parametrize("code", LOSSES)
@pytest.mark.parametrize(
    ("framing", "ending"),
    [
        (Framing.NONE, Ending.COMPLETE),
        (Framing.LENGTH, Ending.DATALOSS),
        (Framing.CHUNKED, Ending.DATALOSS),
        (Framing.CLOSE, Ending.PARTIAL),
        (Framing.STREAM, Ending.DATALOSS),
    ],
)
def test_a_loss(code: CurlCode, framing: Framing, ending: Ending) -> None:
    assert ending_of(code, framing, 4, 0) is ending


@pytest.mark.parametrize("framing", Framing)
@pytest.mark.parametrize("code", OTHERS)
def test_all_else_is_a_failure(code: CurlCode, framing: Framing) -> None:
    assert ending_of(code, framing, 4, 4) is Ending.FAILED


@pytest.mark.parametrize(
    ("code", "framing"),
    [
        (CurlCode.HTTP2, Framing.STREAM),
        (CurlCode.HTTP2_STREAM, Framing.STREAM),
        (CurlCode.HTTP3, Framing.STREAM),
        (CurlCode.QUIC_CONNECT_ERROR, Framing.STREAM),
        (CurlCode.WEIRD_SERVER_REPLY, Framing.CHUNKED),
    ],
)
def test_codes_that_are_losses_of_some_framings(code: CurlCode, framing: Framing) -> None:
    assert ending_of(code, framing, 4, 0) is Ending.DATALOSS
    others = {*Framing} - {framing, Framing.NONE}
    assert {ending_of(code, other, 4, 0) for other in others} == {Ending.FAILED}


@pytest.mark.parametrize(
    ("lines", "method", "framing"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "GET", Framing.LENGTH),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "GET", Framing.LENGTH),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", "HEAD", Framing.NONE),
        (b"HTTP/1.1 204 x\r\nContent-Length: 2\r\n", "GET", Framing.NONE),
        (b"HTTP/1.1 304 x\r\nContent-Length: 2\r\n", "GET", Framing.NONE),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", "GET", Framing.CHUNKED),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "GET",
            Framing.CHUNKED,
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n", "GET", Framing.CLOSE),
        (b"HTTP/1.1 200 OK\r\n", "GET", Framing.CLOSE),
        (b"HTTP/1.0 200 OK\r\n", "GET", Framing.CLOSE),
        (b"HTTP/2 200 \r\n", "GET", Framing.STREAM),
        (b"HTTP/2 200 \r\ncontent-length: 2\r\n", "GET", Framing.STREAM),
        (b"HTTP/3 200 \r\n", "GET", Framing.STREAM),
    ],
)
def test_what_tells_the_end_of_a_body(lines: bytes, method: str, framing: Framing) -> None:
    head = parse_head(lines + b"\r\n")
    assert head is not None
    assert framing_of(head, method) is framing


def assert_as_expected(cases: Sequence[Case], outcomes: Sequence[Outcome]) -> None:
    for case, outcome in zip(cases, outcomes, strict=True):
        seen = (outcome.error, outcome.flags)
        if "body without a length" in case.name and case.transport != "HTTP/2":
            expected: tuple[str | None, tuple[str, ...]] = (None, ("partial",))
        elif "without an error in a body without a length" in case.name and "reset" in case.name:
            expected = None, ()  # libcurl takes it for the end of the stream
        elif case.keep:
            expected = None, ("dataloss",)
        else:
            expected = "ResponseDataLossError", ()
        assert seen == expected, case.title
        if outcome.error is None:
            # nghttp2 drops the frame that is too long.
            is_empty = "not begun" in case.name or "longer than" in case.name
            assert outcome.body == ("" if is_empty else "some"), case.title


ENDINGS = [
    *(case for case in bodies.cases() if case.name.startswith(("closed", "reset"))),
    *(case for case in http2.cases() if " in a body " in case.name or " than its " in case.name),
]


@pytest.mark.processes
@pytest.mark.parametrize("listen", [False, True], ids=["whole", "streamed"])
def test_every_ending_in_a_crawl(listen: bool) -> None:
    assert len(ENDINGS) > 90
    assert_as_expected(ENDINGS, download(ENDINGS, OURS, listen=listen))

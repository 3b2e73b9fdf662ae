"""A worker decodes what Scrapy would decode, in steps and within bounds."""

from __future__ import annotations

import contextlib
import zlib
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest
import scrapy
from hypothesis import example, given
from hypothesis import strategies as st
from scrapy.downloadermiddlewares.httpcompression import ACCEPTED_ENCODINGS
from scrapy.utils._compression import (
    _DecompressionMaxSizeExceeded,
    _inflate,
    _unbrotli,
    _unzstd,
)
from scrapy.utils.gz import gunzip

from scrapy_curl_safe._worker import decoding
from scrapy_curl_safe._worker.decoding import Decoding, TooLargeError, encodings_of
from scrapy_curl_safe._worker.loop import Loop
from testkit.compressed import ENCODERS, LARGE, SMALL, bodies, deflate_raw, gzip_bomb

IS_OLD = scrapy.version_info < (2, 18)
ALL = frozenset({*ACCEPTED_ENCODINGS, b"x-gzip"})
SCRAPYS: dict[bytes, Callable[..., bytes]] = {
    b"gzip": gunzip,
    b"x-gzip": gunzip,
    b"deflate": _inflate,
    b"br": _unbrotli,
    b"zstd": _unzstd,
}


class Turns:
    """A loop of which the turns are counted."""

    def __init__(self) -> None:
        self.count = 0
        self._soon: deque[Callable[[], None]] = deque()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def run(self) -> None:
        while self._soon:
            self.count += 1
            self._soon.popleft()()


def decode(
    data: bytes, encodings: list[bytes], limit: int = 0
) -> tuple[bytes | TooLargeError | None, int]:
    """Return the result, and how many turns it took."""
    results: list[Any] = []
    turns = Turns()
    Decoding(cast("Loop", turns), data, encodings, limit, results.append)
    turns.run()
    (result,) = results
    return result, turns.count


def by_scrapy(data: bytes, encodings: list[bytes], limit: int = 0) -> bytes | int | None:
    """Return what Scrapy decodes, or how much that was when it passed the limit; None for an
    error."""
    try:
        for encoding in encodings:
            if encoding == b"deflate" and IS_OLD:
                data = without_rest(data)
            data = SCRAPYS[encoding](data, max_size=limit)
    except _DecompressionMaxSizeExceeded as error:
        return error.decompressed_size
    except Exception:
        return None
    return data


def without_rest(data: bytes) -> bytes:
    """Cut off what is behind a deflate stream: older versions of Scrapy would never end."""
    for bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(bits)
        with contextlib.suppress(zlib.error):
            stream.decompress(data)
            return data[: len(data) - len(stream.unused_data)]
    return data


def test_scrapys_encodings_are_known() -> None:
    assert encodings_of([b",".join(ALL)], ALL) != []


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("data", [b"", b"x", SMALL, LARGE, LARGE * 9])
def test_whole_streams_are_decoded(name: str, data: bytes) -> None:
    result, turns = decode(ENCODERS[name](data), [name.encode()])
    assert result == data
    assert (turns > 0) == (len(data) > decoding._MOST_AT_ONCE_BYTES)


@pytest.mark.parametrize("body", bodies(), ids=lambda body: body.path)
def test_each_body_is_decoded_as_by_scrapy_or_left_to_it(body: Any) -> None:
    values = [value for name, value in body.headers if name == b"Content-Encoding"]
    encodings = encodings_of(values, ALL)
    if body.path.endswith("zstd-window"):
        # No browser would take that much memory for it.
        assert decode(body.encoded, encodings)[0] is None
    elif encodings:
        assert_right(body.encoded, encodings, limit=1_100_000)


def assert_right(data: bytes, encodings: list[bytes], limit: int) -> None:
    result, _ = decode(data, encodings, limit)
    scrapys = by_scrapy(data, encodings, limit)
    if isinstance(result, TooLargeError):
        assert isinstance(scrapys, int)
        # Older versions of Scrapy read zstd in other steps.
        assert scrapys > limit if IS_OLD else scrapys == result.size
    elif result is not None:
        assert result == scrapys
    elif isinstance(scrapys, int):
        # Only Scrapy reads on in a broken stream, which may exceed the limit first.
        assert decode(data, encodings)[0] is None


# Its outer stream lacks a byte, and its inner one exceeds the limit all the same.
@example(data=bytes(101), names=["br", "br"], cut=1, behind=b"", flips=[], raw=False, limit=100)
# Scrapy counts no more of a broken stream than zlib returns while input is left.
@example(
    data=bytes(4 * 17_408),
    names=["deflate"],
    cut=4,
    behind=b"",
    flips=[(15, 1)],
    raw=True,
    limit=65_536,
)
# Garbage behind a stream breaks it if the stream is empty.
@example(data=b"", names=["gzip"], cut=0, behind=b"\1", flips=[], raw=False, limit=0)
# Of a frame that ends early Scrapy drops what is less than a piece.
@example(data=b"an" * 40_000, names=["zstd"], cut=1, behind=b"", flips=[], raw=False, limit=70_000)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 90_000)).map(
            lambda pair: pair[0] * pair[1]
        ),
    ),
    names=st.lists(st.sampled_from(sorted(ENCODERS)), min_size=1, max_size=3),
    cut=st.one_of(st.just(0), st.integers(0, 30)),
    behind=st.one_of(st.just(b""), st.binary(max_size=20)),
    flips=st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), max_size=2),
    raw=st.booleans(),
    limit=st.sampled_from([0, 1, 100, 65_536, 70_000, 200_000]),
)
def test_any_stream_is_decoded_as_by_scrapy_or_left_to_it(
    data: bytes,
    names: list[str],
    cut: int,
    behind: bytes,
    flips: list[tuple[int, int]],
    raw: bool,
    limit: int,
) -> None:
    for name in names:
        data = deflate_raw(data) if raw and name == "deflate" else ENCODERS[name](data)
    broken = bytearray(data[: len(data) - cut] + behind)
    for at, mask in flips:
        if broken:
            broken[at % len(broken)] ^= mask
    assert_right(bytes(broken), [name.encode() for name in reversed(names)], limit)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"gzip"], [b"gzip"]),
        ([b"GZip , br", b"zstd"], [b"zstd", b"br", b"gzip"]),
        ([b"compress, gzip"], []),
        ([b"gzip,"], []),
        ([b""], []),
    ],
)
def test_the_last_encoding_comes_first_if_all_are_known(
    values: list[bytes], expected: list[bytes]
) -> None:
    assert encodings_of(values, ALL) == expected


def test_what_scrapy_cannot_decode_is_not_decoded() -> None:
    assert encodings_of([b"br"], frozenset({b"gzip"})) == []


def test_a_large_body_without_a_limit_is_left_to_scrapy() -> None:
    result, turns = decode(gzip_bomb(50), [b"gzip"])
    assert result is None
    assert turns < 100  # not to its end


def test_a_large_body_below_the_limit_is_measured_and_left_to_scrapy() -> None:
    data = ENCODERS["zstd"](bytes(decoding._MOST_KEPT_BYTES + 1))
    assert decode(data, [b"zstd"], limit=10**9)[0] is None
    data = ENCODERS["zstd"](bytes(decoding._MOST_KEPT_BYTES))
    assert decode(data, [b"zstd"], limit=10**9)[0] == bytes(decoding._MOST_KEPT_BYTES)


def test_after_a_cancel_nothing_comes() -> None:
    results: list[Any] = []
    turns = Turns()
    bomb = gzip_bomb(100)
    cancelled = Decoding(cast("Loop", turns), bomb, [b"gzip"], 10**9, results.append)
    cancelled.cancel()
    turns.run()
    assert turns.count == 1
    assert results == []

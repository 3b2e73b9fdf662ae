"""Content-Encodings that are undone in pieces."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._worker import decoders
from scrapy_curl_safe._worker.file_decoding import DecodingError, FileDecoder

TEXT = b"".join(b"line %d\n" % n for n in range(3000))


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def zstd(data: bytes) -> bytes:
    module = decoders._zstd
    if module is None:
        pytest.skip("there is no module for it")
    compressed: bytes = module.compress(data)
    return compressed


FORMS: list[tuple[bytes, Callable[[bytes], bytes]]] = [
    (b"gzip", gzip.compress),
    (b"X-GZIP", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"br", brotli.compress),
    (b"zstd", zstd),
    (b"gzip, br", lambda data: brotli.compress(gzip.compress(data))),
    (b"zstd,deflate", lambda data: zlib.compress(zstd(data))),
]
each_form = pytest.mark.parametrize(("encoding", "encode"), FORMS)


def decoded(encoding: bytes, data: bytes, piece: int = 1000) -> bytes:
    decoder, found = FileDecoder([encoding]), b""
    for at in range(0, len(data), piece):
        found += b"".join(decoder.decode(data[at : at + piece]))
    decoder.finish()
    return found


@each_form
@pytest.mark.parametrize("piece", [1, 100, 10**7])
def test_the_pieces_do_not_matter(
    encoding: bytes, encode: Callable[[bytes], bytes], piece: int
) -> None:
    assert decoded(encoding, encode(TEXT), piece) == TEXT
    assert decoded(encoding, encode(b""), piece) == b""


@each_form
def test_a_little_can_be_a_lot(encoding: bytes, encode: Callable[[bytes], bytes]) -> None:
    size, largest = 0, 0
    for piece in FileDecoder([encoding]).decode(encode(bytes(20_000_000))):
        size += len(piece)
        largest = max(largest, len(piece))
    assert size == 20_000_000
    assert largest <= 256 * 1024


@each_form
@pytest.mark.parametrize("missing", [1, 10])
def test_what_ends_early_is_an_error(
    encoding: bytes, encode: Callable[[bytes], bytes], missing: int
) -> None:
    with pytest.raises(DecodingError):
        decoded(encoding, encode(TEXT)[:-missing])


@given(st.binary(min_size=2, max_size=200), st.sampled_from([b"gzip", b"deflate", b"br", b"zstd"]))
def test_nonsense_is_an_error_or_nothing_else(data: bytes, encoding: bytes) -> None:
    try:
        decoded(encoding, data)
    except DecodingError as error:
        assert str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (b"gzip", gzip.compress(TEXT[:50]) + gzip.compress(TEXT[50:])),
        (b"gzip", gzip.compress(TEXT) + b"\0\0\0"),
        (b"gzip", gzip.compress(TEXT) + b"\0 and more"),
        (b"gzip", gzip.compress(TEXT) + b"x"),
        (b"deflate", zlib.compress(TEXT) + b" and more"),
    ],
)
@pytest.mark.parametrize("piece", [1, 10**7])
def test_what_follows_is_another_member_or_ignored(
    encoding: bytes, data: bytes, piece: int
) -> None:
    assert decoded(encoding, data, piece) == TEXT


def test_frames_of_zstd_follow_each_other() -> None:
    assert decoded(b"zstd", zstd(TEXT) * 2, 7) == TEXT * 2


def test_only_the_last_ones_are_undone() -> None:
    decoder = FileDecoder([b"gzip, compress", b"br"])
    assert b"".join(decoder.decode(brotli.compress(TEXT))) == TEXT
    assert decoder.remaining == b"gzip,compress"
    decoder.finish()


def test_a_body_that_is_empty_is_complete() -> None:
    FileDecoder([b"gzip"]).finish()


class Zstandard:
    """The interface of zstandard, which knows no bound, on top of what is installed."""

    ZstdError = ValueError

    class ZstdDecompressor:
        def decompressobj(self) -> object:
            return decoders._zstd.ZstdDecompressor()


def test_either_module_for_zstd_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    data = zstd(TEXT) * 2
    monkeypatch.setattr(decoders, "_zstandard", Zstandard)
    monkeypatch.setitem(decoders.DECODERS, b"zstd", decoders.Zstandard)
    assert decoded(b"zstd", data, 7) == TEXT * 2
    with pytest.raises(DecodingError):
        decoded(b"zstd", data[:-1], 7)


def test_an_older_brotli_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        error = brotli.error

        class Decompressor:
            def __init__(self) -> None:
                self._new = brotli.Decompressor()
                self.process = self._new.process
                self.is_finished = self._new.is_finished

    monkeypatch.setattr(decoders, "_brotli", Old)
    monkeypatch.setitem(decoders.DECODERS, b"br", decoders.OldBrotli)
    assert decoded(b"br", brotli.compress(TEXT), 7) == TEXT

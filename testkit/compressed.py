"""Compressed bodies: good ones, and all kinds of broken ones."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import brotli

from testkit.origins.messages import Reply, SeenRequest

zstd: Any
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Headers = list[tuple[bytes, bytes]]


def deflate_raw(data: bytes) -> bytes:
    encoder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return encoder.compress(data) + encoder.flush()


#: How to encode, by the names of Content-Encoding.
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "br": lambda data: bytes(brotli.compress(data, quality=5)),
    "zstd": lambda data: bytes(zstd.compress(data)),
}

SMALL = (
    b"<html><head><title>th\xc3\xa9</title></head><body>" + b"<p>tea</p>" * 20 + b"</body></html>"
)
LARGE = b"<html>" + b"".join(b"<p>%d and %d</p>" % (i, i * i) for i in range(14_000)) + b"</html>"


@dataclass(frozen=True)
class Body:
    """An answer to a request for `path`."""

    path: str
    encoded: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    status: int = 200
    method: str = "GET"


def bodies() -> list[Body]:
    """Return all of them."""
    made: list[Body] = []

    def add(name: str, data: bytes, *encodings: str, **options: Any) -> None:
        kind = options.pop("kind", "text/html; charset=utf-8")
        more = options.pop("more", ())
        suffix = options.pop("suffix", "")
        headers = [(b"Content-Encoding", encoding.encode()) for encoding in encodings]
        if kind:
            headers.insert(0, (b"Content-Type", kind.encode()))
        path = f"/{len(made)}-{name}{suffix}"
        made.append(Body(path, data, (*headers, *more), **options))

    for name, encode in ENCODERS.items():
        for variant, data in _variants(encode):
            add(f"{name}-{variant}", data, name)
        add(f"{name}-loud", encode(SMALL), name.upper())
        add(f"{name}-comma", encode(SMALL), f"{name},")
        add(f"{name}-identity", encode(SMALL), f"identity, {name}")
        add(f"{name}-unknown-below", encode(SMALL), f"compress, {name}")
        add(f"{name}-unknown-above", encode(SMALL), f"{name}, compress")
        add(f"{name}-head", b"", name, method="HEAD")
        for status in (204, 206, 304, 404, 500):
            data = b"" if status in (204, 304) else encode(SMALL)
            add(f"{name}-{status}", data, name, status=status)
        for kind in ("text/html", "application/json", "image/png", "text/plain", ""):
            add(f"{name}-kind", encode(SMALL), name, kind=kind)
        add(f"{name}-suffix", encode(SMALL), name, kind="", suffix=".html")
        add(f"{name}-suffix", encode(SMALL), name, kind="image/png", suffix=".png")
        add(f"{name}-suffix", encode(b"\x89PNG\0\1"), name, kind="", suffix=".bin")
        attached = ((b"Content-Disposition", b'attachment; filename="a.json"'),)
        add(f"{name}-attached", encode(b"{}"), name, kind="", more=attached)
        for other, encode_again in ENCODERS.items():
            add(f"{name}-{other}", encode_again(encode(LARGE)), f"{name} ,\t{other}")
            add(f"{name}-and-{other}", encode_again(encode(SMALL)), name, other)
            add(f"{name}-not-{other}", encode(SMALL), other)
            add(f"{name}-{other}-cut", encode_again(encode(SMALL)[:-3]), f"{name},{other}")
    add("x-gzip", ENCODERS["gzip"](LARGE), "x-gzip")
    add("deflate-raw", deflate_raw(LARGE), "deflate")
    add("deflate-raw-small", deflate_raw(SMALL), "deflate")
    add("deflate-raw-cut", deflate_raw(LARGE)[:500], "deflate")
    add("gzip-name", _gzip_with_name(SMALL), "gzip")
    add("gzip-header-checksum", _gzip_with_checksum(SMALL), "gzip")
    add("zstd-skippable", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + ENCODERS["zstd"](SMALL), "zstd")
    add("zstd-checksum", _zstd(SMALL, checksum_flag=1), "zstd")
    add("zstd-window", _zstd(LARGE * 50, window_log=25, enable_long_distance_matching=1), "zstd")
    add("none", SMALL)
    add("identity", SMALL, "identity")
    add("nothing", SMALL, "")
    add("unknown", SMALL, "compress")
    return made


def _variants(encode: Callable[[bytes], bytes]) -> Iterator[tuple[str, bytes]]:
    small, large = encode(SMALL), encode(LARGE)
    yield "small", small
    yield "large", large
    yield "of-nothing", encode(b"")
    yield "of-one", encode(b"x")
    yield "of-64k", encode(b"a" * 65536)
    yield "empty", b""
    yield "plain", SMALL
    yield "zeros", bytes(100)
    for length in (1, 2, 5, 11, len(large) // 2, len(large) - 9, len(large) - 4, len(large) - 1):
        yield f"cut-{length}", large[:length]
    yield "cut-small", small[:-1]
    for rest in (b"\0", bytes(600), b"garbage", b"garbage" * 9999, small[:12]):
        yield f"behind-{len(rest)}", small + rest
        yield f"behind-large-{len(rest)}", large + rest
    yield "twice", small + small
    yield "twice-large", large + small
    yield "before", b"x" + small
    for at in (0, 3, 8, 20, len(large) // 3, len(large) - 6, len(large) - 2):
        yield f"flipped-{at}", large[:at] + bytes([large[at] ^ 0x55]) + large[at + 1 :]
    # Limits of the test's crawls.
    yield "warned", encode(bytes(700_000))
    yield "bomb", encode(bytes(3_000_000))
    yield "bomb-cut", encode(bytes(3_000_000))[:-8]
    yield "bomb-behind", encode(bytes(1_200_000)) + b"garbage"
    yield "bomb-of-bombs", encode(bytes(1_000_000)) * 3


def _gzip_with_name(data: bytes) -> bytes:
    packed = ENCODERS["gzip"](data)
    return packed[:3] + b"\x08" + packed[4:10] + b"name\0" + packed[10:]


def _gzip_with_checksum(data: bytes) -> bytes:
    """Return a gzip stream with a wrong checksum of its header, which not all decoders read."""
    packed = ENCODERS["gzip"](data)
    return packed[:3] + b"\x02" + packed[4:10] + b"\1\2" + packed[10:]


def _zstd(data: bytes, **options: int) -> bytes:
    parameters = {zstd.CompressionParameter[name]: value for name, value in options.items()}
    return bytes(zstd.compress(data, options=parameters))


def gzip_bomb(megabytes: int) -> bytes:
    """Return a gzip stream of zeros that has no end, a thousandth of their size."""
    encoder = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    block = encoder.compress(bytes(1_000_000)) + encoder.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * megabytes


def app_of(served: list[Body]) -> Callable[[SeenRequest], Reply]:
    """Return an origin's app that answers with these."""
    by_path = {body.path: body for body in served}

    def app(seen: SeenRequest) -> Reply:
        body = by_path[seen.path]
        return Reply(status=body.status, headers=list(body.headers), body=body.encoded)

    return app

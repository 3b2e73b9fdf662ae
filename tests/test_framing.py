"""Frames, without a process: any message, any split, any garbage."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import (
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    FrameDecoder,
    encode_frame,
    from_worker_decoder,
    to_worker_decoder,
)
from scrapy_curl_safe._ipc.messages import (
    BodyFlag,
    Cancel,
    Cancelled,
    Chunk,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    Heartbeat,
    Hello,
    InvalidRequest,
    ProtocolError,
    Ready,
    ResponseHead,
    SharedSlice,
    SizeWarning,
    SliceReleased,
    TooLarge,
    ToWorker,
    TransferStats,
)
from tests.fuzz_framing import corpus, feed

PREFIX = struct.Struct(">II")

Frames = list[tuple[Any, bytes]]

ids = st.integers(0, 2**40)
whole = st.integers(0, 2**40)
seconds = st.none() | st.floats(0, 1e6)
text = st.text(max_size=40)
raw = st.binary(max_size=60)
header_list = st.lists(st.tuples(raw, raw), max_size=5)
transfers = st.builds(
    TransferStats,
    connects=st.integers(0, 9),
    connected_at=seconds,
    handshake_at=seconds,
    first_byte_at=seconds,
    ended_at=st.floats(0, 1e6),
    bytes_sent=whole,
    bytes_received=whole,
    resumed=st.booleans(),
)
heads = st.builds(
    ResponseHead,
    id=ids,
    status=st.integers(100, 999),
    protocol=text,
    headers=header_list,
    ip=text,
    certificate=st.none() | raw,
    tls=st.none() | text,
    stats=st.none() | transfers,
)
TO_WORKER: dict[type, st.SearchStrategy[Any]] = {
    Hello: st.builds(
        Hello,
        profiles=st.lists(st.tuples(text, raw), max_size=5),
        heartbeat_interval_seconds=st.floats(0, 100),
        max_sessions=whole,
        max_in_flight=whole,
        max_idle=whole,
        max_memory_mb=whole,
    ),
    Fetch: st.builds(
        Fetch,
        id=ids,
        method=text,
        url=text,
        headers=st.lists(st.tuples(raw, st.none() | raw), max_size=5),
        profile=raw,
        timeout_seconds=st.floats(0, 1e6),
        maxsize_bytes=whole,
        warnsize_bytes=whole,
        keep_partial=st.booleans(),
        stream=st.booleans(),
        report_tls=st.booleans(),
        fresh_connection=st.booleans(),
    ),
    Cancel: st.builds(Cancel, id=ids),
    SliceReleased: st.builds(SliceReleased),
}
to_worker = st.one_of(*TO_WORKER.values())
FROM_WORKER: dict[type, st.SearchStrategy[Any]] = {
    Ready: st.builds(Ready, curl=text, max_descriptors=whole, problem=st.none() | text),
    Heartbeat: st.builds(
        Heartbeat, memory_mb=whole, descriptors=whole, resolver_changed=st.booleans()
    ),
    ResponseHead: heads,
    Chunk: st.builds(Chunk, id=ids),
    Completed: st.builds(
        Completed,
        id=ids,
        stats=transfers,
        head=st.none() | heads,
        flag=st.none() | st.sampled_from(BodyFlag),
        shared=st.none() | st.builds(SharedSlice, offset=whole, size=whole),
    ),
    Failed: st.builds(
        Failed,
        id=ids,
        stats=transfers,
        kind=st.sampled_from(FailureKind),
        code=st.integers(0, 200),
        detail=text,
    ),
    InvalidRequest: st.builds(InvalidRequest, id=ids, detail=text),
    Cancelled: st.builds(Cancelled, id=ids),
    SizeWarning: st.builds(SizeWarning, id=ids, size=whole, limit=whole, expected=st.booleans()),
    TooLarge: st.builds(
        TooLarge, id=ids, stats=transfers, size=whole, limit=whole, expected=st.booleans()
    ),
}
from_worker = st.one_of(*FROM_WORKER.values())
DIRECTIONS: dict[str, tuple[st.SearchStrategy[Any], Callable[[], FrameDecoder[Any]]]] = {
    "to the worker": (to_worker, to_worker_decoder),
    "from the worker": (from_worker, from_worker_decoder),
}


def frames_of(messages: st.SearchStrategy[Any]) -> st.SearchStrategy[Frames]:
    return st.lists(st.tuples(messages, st.binary(max_size=300)), max_size=8)


def encoded(frames: Frames) -> bytes:
    return b"".join(encode_frame(message, len(body)) + body for message, body in frames)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(at)]


def test_each_message_of_either_direction_is_tried() -> None:
    """A message that is not tried here is not known to come through."""
    assert TO_WORKER.keys() == set(ToWorker.__args__)
    assert FROM_WORKER.keys() == set(FromWorker.__args__)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_any_split_of_any_messages_gives_the_same_messages(direction: str) -> None:
    messages, make_decoder = DIRECTIONS[direction]

    @settings(max_examples=300)
    @given(frames_of(messages), st.lists(st.integers(0, 10_000), max_size=30))
    def check(frames: Frames, cuts: list[int]) -> None:
        decoder = make_decoder()
        got = [f for piece in split(encoded(frames), cuts) for f in decoder.feed(piece)]
        assert got == frames

    check()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_byte_by_byte(direction: str) -> None:
    messages, make_decoder = DIRECTIONS[direction]

    @settings(max_examples=50)
    @given(frames_of(messages))
    def check(frames: Frames) -> None:
        decoder = make_decoder()
        data = encoded(frames)
        got = [f for n in range(len(data)) for f in decoder.feed(data[n : n + 1])]
        assert got == frames

    check()


def feed_garbage(decoder: FrameDecoder[FromWorker], pieces: Iterable[bytes]) -> None:
    """Feed a decoder until it refuses; whatever else it raises is a failure of the test."""
    for piece in pieces:
        try:
            for message, body in decoder.feed(piece):
                assert isinstance(message, FromWorker)
                assert isinstance(body, bytes)
        except ProtocolError:
            return


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_gives_frames_or_a_protocol_error(pieces: list[bytes]) -> None:
    feed_garbage(from_worker_decoder(), pieces)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_garbage_inside_a_well_framed_header_gives_a_protocol_error(header: bytes) -> None:
    feed_garbage(from_worker_decoder(), [PREFIX.pack(len(header), 0) + header])


@settings(max_examples=500)
@given(
    frames_of(from_worker),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_frames_give_frames_or_a_protocol_error(
    frames: Frames, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(encoded(frames))
    for at, value in damage:
        if data:
            data[at % len(data)] = value
    feed_garbage(from_worker_decoder(), split(bytes(data), [at for at, _ in damage]))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\xc1"])
def test_deep_nesting_and_false_lengths_give_a_protocol_error(opening: bytes) -> None:
    header = opening * 100_000
    with pytest.raises(ProtocolError):
        from_worker_decoder().feed(PREFIX.pack(len(header), 0) + header)


def test_a_message_of_the_other_direction_is_an_error() -> None:
    fetch = Fetch(id=1, url="http://a", profile=b"", timeout_seconds=1.0)
    with pytest.raises(ProtocolError):
        from_worker_decoder().feed(encode_frame(fetch))


@pytest.mark.parametrize(
    "prefix",
    [PREFIX.pack(MAX_HEADER_BYTES + 1, 0), PREFIX.pack(1, 1001)],
    ids=["header", "body"],
)
def test_a_frame_that_promises_too_much_is_an_error_at_once(prefix: bytes) -> None:
    with pytest.raises(ProtocolError):
        from_worker_decoder(max_body_bytes=1000).feed(prefix)


def test_it_grows_with_what_arrives_and_not_with_what_is_promised() -> None:
    chunk = encode_frame(Chunk(1), MAX_BODY_BYTES)
    decoder = from_worker_decoder()
    tracemalloc.start()
    try:
        assert decoder.feed(chunk) == []
        assert decoder.feed(b"x" * 1000) == []
        assert decoder.feed(PREFIX.pack(MAX_HEADER_BYTES, 0)) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_tiny_pieces_of_a_large_header_are_not_copied_over_and_over() -> None:
    """Each byte is copied a bounded number of times, or this would not end."""
    message = InvalidRequest(id=1, detail="x" * 4_000_000)
    data = encode_frame(message)
    decoder = from_worker_decoder()
    got = [f for n in range(0, len(data), 7) for f in decoder.feed(data[n : n + 7])]
    assert got == [(message, b"")]


def test_what_is_too_large_is_not_encoded() -> None:
    with pytest.raises(ProtocolError):
        encode_frame(Chunk(1), MAX_BODY_BYTES + 1)
    with pytest.raises(ProtocolError):
        encode_frame(InvalidRequest(id=1, detail="x" * MAX_HEADER_BYTES))


def test_what_fuzzing_found_gives_frames_or_a_protocol_error() -> None:
    """However it is cut. What else could come of it would be raised here."""
    found = corpus()
    assert len(found) > 100
    for direction, data in found:
        whole = feed(direction, data, [])
        assert feed(direction, data, list(range(len(data)))) == whole, data.hex()

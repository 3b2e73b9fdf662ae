"""The wire, without a process: any message, any split, any garbage."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe import wire
from tests.fuzz_wire import corpus, feed

PREFIX = struct.Struct(">II")

ids = st.integers(0, 2**40)
whole = st.integers(0, 2**40)
seconds = st.none() | st.floats(0, 1e6)
text = st.text(max_size=40)
raw = st.binary(max_size=60)
header_list = st.lists(st.tuples(raw, raw), max_size=5)
transfers = st.builds(
    wire.Transfer,
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
    wire.Head,
    id=ids,
    status=st.integers(100, 999),
    protocol=text,
    headers=header_list,
    ip=text,
    certificate=st.none() | raw,
    tls=st.none() | text,
    transfer=st.none() | transfers,
)
to_worker = st.one_of(
    st.builds(
        wire.Hello,
        pulse_interval=st.floats(0, 100),
        max_sessions=whole,
        max_connections=whole,
        max_memory=whole,
        profiles=st.lists(st.tuples(text, raw), max_size=5),
    ),
    st.builds(
        wire.Fetch,
        id=ids,
        method=text,
        url=text,
        headers=st.lists(st.tuples(raw, st.none() | raw), max_size=5),
        profile=raw,
        timeout=st.floats(0, 1e6),
        maxsize=whole,
        warnsize=whole,
        keep_partial=st.booleans(),
        stream=st.booleans(),
        tell_tls=st.booleans(),
        fresh=st.booleans(),
    ),
    st.builds(wire.Cancel, id=ids),
    st.builds(wire.Taken),
)
from_worker = st.one_of(
    st.builds(wire.Ready, pid=whole, curl=text, max_descriptors=whole, problem=st.none() | text),
    st.builds(wire.Pulse, memory=whole, descriptors=whole, in_flight=whole, is_stale=st.booleans()),
    heads,
    st.builds(wire.Chunk, id=ids),
    st.builds(
        wire.Done, id=ids, transfer=transfers, head=st.none() | heads, dataloss=st.booleans()
    ),
    st.builds(
        wire.Failed,
        id=ids,
        transfer=transfers,
        code=st.integers(0, 200),
        detail=text,
        in_handshake=st.booleans(),
    ),
    st.builds(wire.Refused, id=ids, detail=text),
    st.builds(wire.Cancelled, id=ids),
    st.builds(wire.Warned, id=ids, size=whole, expected=st.booleans()),
    st.builds(wire.TooLarge, id=ids, transfer=transfers, size=whole, expected=st.booleans()),
)
DIRECTIONS = {
    "to the worker": (to_worker, wire.to_worker_decoder),
    "from the worker": (from_worker, wire.from_worker_decoder),
}


def frames_of(messages):
    return st.lists(st.tuples(messages, st.binary(max_size=300)), max_size=8)


def encoded(frames):
    return b"".join(wire.encode(message, len(body)) + body for message, body in frames)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(at)]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_any_split_of_any_messages_gives_the_same_messages(direction):
    messages, make_decoder = DIRECTIONS[direction]

    @settings(max_examples=300, deadline=None)
    @given(frames_of(messages), st.lists(st.integers(0, 10_000), max_size=30))
    def check(frames, cuts):
        decoder = make_decoder()
        got = [f for piece in split(encoded(frames), cuts) for f in decoder.feed(piece)]
        assert got == frames

    check()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_byte_by_byte(direction):
    messages, make_decoder = DIRECTIONS[direction]

    @settings(max_examples=50, deadline=None)
    @given(frames_of(messages))
    def check(frames):
        decoder = make_decoder()
        data = encoded(frames)
        got = [f for n in range(len(data)) for f in decoder.feed(data[n : n + 1])]
        assert got == frames

    check()


def feed_garbage(decoder, pieces):
    """Feed it until it says no; whatever else it raises is a failure of the test."""
    for piece in pieces:
        try:
            for message, body in decoder.feed(piece):
                assert isinstance(message, wire.FromWorker)
                assert isinstance(body, bytes)
        except wire.WireError:
            return


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=10))
def test_garbage_gives_frames_or_its_own_error(pieces):
    feed_garbage(wire.from_worker_decoder(), pieces)


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_inside_a_well_framed_header_gives_its_own_error(header):
    feed_garbage(wire.from_worker_decoder(), [PREFIX.pack(len(header), 0) + header])


@settings(max_examples=500, deadline=None)
@given(
    frames_of(from_worker),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_frames_give_frames_or_its_own_error(frames, damage):
    data = bytearray(encoded(frames))
    for at, value in damage:
        if data:
            data[at % len(data)] = value
    feed_garbage(wire.from_worker_decoder(), split(bytes(data), [at for at, _ in damage]))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\xc1"])
def test_deep_nesting_and_false_lengths_give_its_own_error(opening):
    header = opening * 100_000
    with pytest.raises(wire.WireError):
        wire.from_worker_decoder().feed(PREFIX.pack(len(header), 0) + header)


def test_a_message_of_the_other_direction_is_an_error():
    fetch = wire.Fetch(1, "GET", "http://a", [], b"", 1.0, 0, 0, False, False, False, False)
    with pytest.raises(wire.WireError):
        wire.from_worker_decoder().feed(wire.encode(fetch))


@pytest.mark.parametrize(
    "prefix",
    [PREFIX.pack(wire.MAX_HEADER + 1, 0), PREFIX.pack(1, 1001)],
    ids=["header", "body"],
)
def test_a_frame_that_promises_too_much_is_an_error_at_once(prefix):
    with pytest.raises(wire.WireError):
        wire.from_worker_decoder(max_body=1000).feed(prefix)


def test_it_grows_with_what_arrives_and_not_with_what_is_promised():
    chunk = wire.encode(wire.Chunk(1), wire.MAX_BODY)
    decoder = wire.from_worker_decoder()
    tracemalloc.start()
    try:
        assert decoder.feed(chunk) == []
        assert decoder.feed(b"x" * 1000) == []
        assert decoder.feed(PREFIX.pack(wire.MAX_HEADER, 0)) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_tiny_pieces_of_a_large_header_are_not_copied_over_and_over():
    """Each byte is copied a bounded number of times, or this would not end."""
    message = wire.Refused(1, "x" * 4_000_000)
    data = wire.encode(message)
    decoder = wire.from_worker_decoder()
    got = [f for n in range(0, len(data), 7) for f in decoder.feed(data[n : n + 7])]
    assert got == [(message, b"")]


def test_what_is_too_large_is_not_encoded():
    with pytest.raises(wire.WireError):
        wire.encode(wire.Chunk(1), wire.MAX_BODY + 1)
    with pytest.raises(wire.WireError):
        wire.encode(wire.Refused(1, "x" * wire.MAX_HEADER))


profiles = st.builds(
    wire.Profile,
    impersonate=st.none() | text,
    fingerprint=st.none() | st.dictionaries(text, text, max_size=3),
    verify=st.booleans(),
    proxy=st.none() | text,
    proxy_user=st.none() | raw,
    proxy_password=st.none() | raw,
    proxy_headers=st.lists(raw, max_size=3),
)


@given(profiles)
def test_a_profile_comes_back_as_it_was(profile):
    assert wire.decode_profile(wire.encode_profile(profile)) == profile


@given(profiles, profiles)
def test_two_profiles_share_an_encoding_only_if_they_are_equal(one, other):
    same = wire.encode_profile(one) == wire.encode_profile(other)
    assert not same or one == other


@given(st.binary(max_size=100))
def test_what_is_no_profile_is_its_own_error(data):
    with contextlib.suppress(wire.WireError):
        assert isinstance(wire.decode_profile(data), wire.Profile)


def test_what_fuzzing_found_gives_frames_or_its_own_error():
    """However it is cut. What else could come of it would be raised here."""
    found = corpus()
    assert len(found) > 100
    for direction, data in found:
        whole = feed(direction, data, [])
        assert feed(direction, data, list(range(len(data)))) == whole, data.hex()

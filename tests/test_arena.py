"""The memory that a worker shares with its crawler, and where responses are written."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe.arena import SIZE, SLAB, SLABS, Source, make_memory
from scrapy_curl_safe.wire import Place, WireError
from scrapy_curl_safe.worker.memory import HAS_SLABS, Slab, Stream
from scrapy_curl_safe.worker.streams import Streams

LARGE = 200_000

needs_slabs = pytest.mark.skipif(not HAS_SLABS, reason="this C library has no such streams")


def shared():
    """Both sides of an arena."""
    fd = make_memory()
    if fd is None:
        pytest.skip("this system has no memfd")
    source, streams = Source(fd), Streams()
    streams.share(fd)
    return streams, source


@pytest.fixture
def memory():
    return shared()


@needs_slabs
def test_what_one_side_writes_the_other_reads(memory):
    streams, source = memory
    stream = streams.take()
    stream.write(b"head")
    stream.write(b"b" * LARGE)
    stream.write(b"tail")
    assert bytes(stream.written()) == b"head" + b"b" * LARGE + b"tail"
    place = streams.lend(stream, 4, LARGE)
    assert place.size == LARGE
    assert source.read(place) == b"b" * LARGE


@needs_slabs
def test_what_is_lent_stays_until_it_is_given_back(memory):
    streams, source = memory
    places = []
    for n in range(SLABS):
        stream = streams.take()
        stream.write(bytes([n]) * LARGE)
        places.append(streams.lend(stream, 0, LARGE))
    assert None not in places
    own = streams.take()
    own.write(b"x" * LARGE)
    assert isinstance(own, Stream)
    assert streams.lend(own, 0, LARGE) is None
    for n, place in enumerate(places):
        assert source.read(place) == bytes([n]) * LARGE
        streams.get_back()
        again = streams.take()
        again.write(b"y" * LARGE)
        assert streams.lend(again, 0, LARGE).at == place.at
    assert isinstance(streams.take(), Stream)


@needs_slabs
@settings(deadline=None)
@given(st.lists(st.integers(1, 2 * SLAB), min_size=1, max_size=6))
def test_a_response_is_whole_whatever_its_size(sizes):
    streams, source = shared()
    for number, size in enumerate(sizes):
        stream = streams.take()
        pieces = [bytes([65 + number]) * size, b"z" * 10]
        for piece in pieces:
            stream.write(piece)
        assert bytes(stream.written()) == b"".join(pieces)
        assert bytes(stream.written()) == b"".join(pieces)
        place = streams.lend(stream, 0, size + 10)
        assert (place is not None) == (128 * 1024 <= size + 10 <= SLAB)
        if place is None:
            streams.give_back(stream)
        else:
            assert source.read(place) == b"".join(pieces)
            streams.get_back()


def test_few_bytes_are_not_lent(memory):
    streams, _ = memory
    stream = streams.take()
    stream.write(b"a" * 1000)
    assert streams.lend(stream, 0, 1000) is None
    assert bytes(stream.written()) == b"a" * 1000
    assert streams.lend(None, 0, LARGE) is None


def test_what_was_not_lent_is_not_given_back(memory):
    with pytest.raises(WireError):
        memory[0].get_back()


def resident_kilobytes(source):
    """Of the arena, which is real memory where somebody wrote to it."""
    maps, found = Path("/proc/self/smaps").read_text().split("\n"), 0
    for number, line in enumerate(maps):
        if "memfd:scrapy_curl_safe" in line and line.split()[1].startswith("r-"):
            found += next(int(x.split()[1]) for x in maps[number:] if x.startswith("Rss:"))
    return found


@needs_slabs
def test_memory_that_rests_is_bounded(memory):
    streams, source = memory
    size = SLAB - 100
    used = [streams.take() for _ in range(12)]
    for stream in used:
        stream.write(b"x" * size)
        source.read(Place(stream.at, size))
    before = resident_kilobytes(source)
    assert before >= 12 * size // 1024
    for stream in used:
        streams.give_back(stream)
    assert resident_kilobytes(source) <= 40 * 1024
    for _ in used:
        again = streams.take()
        again.write(b"z" * size)
        assert bytes(again.written()) == b"z" * size


@pytest.mark.parametrize(
    "place", [Place(-1, 5), Place(0, SIZE + 1), Place(SIZE, 1), Place(5, -1), Place(2**70, 1)]
)
def test_a_place_outside_is_refused(memory, place):
    with pytest.raises(WireError):
        memory[1].read(place)


def test_the_crawler_cannot_write(memory):
    _, source = memory
    with pytest.raises(TypeError):
        source._memory[0:1] = b"x"


def test_no_worker_can_take_the_memory_away():
    """A crawler that read behind its end would be killed (SIGBUS)."""
    fd = make_memory()
    if fd is None:
        pytest.skip("this system has no memfd")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    os.close(fd)


@needs_slabs
def test_no_memory_is_a_short_write():
    """What cannot be kept makes fwrite() fail, and so libcurl."""
    streams, _ = shared()
    stream = streams.take()
    stream.write(b"x" * (SLAB - 1))

    def take_over(data):
        raise MemoryError

    stream.take_over = take_over
    with pytest.raises(MemoryError):
        stream.write(b"y" * SLAB)
    assert isinstance(stream, Slab)


FAULTS = """
import resource
from scrapy_curl_safe.arena import Source, make_memory
from scrapy_curl_safe.wire import Place

source = Source(make_memory())

def faults_of(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        bodies = [source.read(Place(0, 1_000_000)) for _ in range(20)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of(2)
print(faults_of(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_the_memory_of_large_bodies_is_used_again():
    """Of these 200 bodies, whose 4-kB pages would be 48,000."""
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(ran.stdout) < 5_000

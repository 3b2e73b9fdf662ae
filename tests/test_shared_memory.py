"""The memory that a worker shares with its crawler, and the streams that libcurl writes to."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe._ipc.messages import ProtocolError, SharedSlice
from scrapy_curl_safe._ipc.shared_memory import (
    SHARED_MEMORY_BYTES,
    SLOT_COUNT,
    SLOT_SIZE_BYTES,
    SharedMemoryReader,
)
from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._worker.c_streams import HAS_SHARED_SLOTS, MemoryStream, SharedSlot
from scrapy_curl_safe._worker.stream_pool import StreamPool

LARGE = 200_000

needs_slots = pytest.mark.skipif(not HAS_SHARED_SLOTS, reason="this C library has no such streams")


def create_memory() -> int:
    fd = system.create_shared_memory(SHARED_MEMORY_BYTES)
    if fd is None:
        pytest.skip("this system has no memfd")
    return fd


BothSides = tuple[StreamPool, SharedMemoryReader]


def both_sides() -> BothSides:
    fd = create_memory()
    reader, streams = SharedMemoryReader(fd), StreamPool()
    streams.use_shared_memory(fd)
    return streams, reader


@pytest.fixture
def memory() -> BothSides:
    return both_sides()


@needs_slots
def test_what_one_side_writes_the_other_reads(memory: BothSides) -> None:
    streams, reader = memory
    stream = streams.acquire()
    stream.write(b"head")
    stream.write(b"b" * LARGE)
    stream.write(b"tail")
    assert bytes(stream.getbuffer()) == b"head" + b"b" * LARGE + b"tail"
    shared = streams.share(stream, 4, LARGE)
    assert shared is not None
    assert shared.size == LARGE
    assert reader.read(shared) == b"b" * LARGE


@needs_slots
def test_what_is_shared_stays_until_it_is_released(memory: BothSides) -> None:
    streams, reader = memory
    slices = []
    for n in range(SLOT_COUNT):
        stream = streams.acquire()
        stream.write(bytes([n]) * LARGE)
        shared = streams.share(stream, 0, LARGE)
        assert shared is not None
        slices.append(shared)
    own = streams.acquire()
    own.write(b"x" * LARGE)
    assert isinstance(own, MemoryStream)
    assert streams.share(own, 0, LARGE) is None
    for n, shared in enumerate(slices):
        assert reader.read(shared) == bytes([n]) * LARGE
        streams.release_shared()
        again = streams.acquire()
        again.write(b"y" * LARGE)
        shared_again = streams.share(again, 0, LARGE)
        assert shared_again is not None
        assert shared_again.offset == shared.offset
    assert isinstance(streams.acquire(), MemoryStream)


@needs_slots
@given(st.lists(st.integers(1, 2 * SLOT_SIZE_BYTES), min_size=1, max_size=6))
def test_a_response_is_whole_whatever_its_size(sizes: list[int]) -> None:
    streams, reader = both_sides()
    for number, size in enumerate(sizes):
        stream = streams.acquire()
        pieces = [bytes([65 + number]) * size, b"z" * 10]
        for piece in pieces:
            stream.write(piece)
        assert bytes(stream.getbuffer()) == b"".join(pieces)
        assert bytes(stream.getbuffer()) == b"".join(pieces)
        shared = streams.share(stream, 0, size + 10)
        assert (shared is not None) == (128 * 1024 <= size + 10 <= SLOT_SIZE_BYTES)
        if shared is None:
            streams.release(stream)
        else:
            assert reader.read(shared) == b"".join(pieces)
            streams.release_shared()


def test_few_bytes_are_not_shared(memory: BothSides) -> None:
    streams, _ = memory
    stream = streams.acquire()
    stream.write(b"a" * 1000)
    assert streams.share(stream, 0, 1000) is None
    assert bytes(stream.getbuffer()) == b"a" * 1000
    assert streams.share(None, 0, LARGE) is None


def test_what_was_not_shared_cannot_be_released(memory: BothSides) -> None:
    with pytest.raises(ProtocolError):
        memory[0].release_shared()


def resident_kilobytes(reader: SharedMemoryReader) -> int:
    """Of the shared memory, which is real memory where somebody wrote to it."""
    maps, found = Path("/proc/self/smaps").read_text().split("\n"), 0
    for number, line in enumerate(maps):
        if "memfd:scrapy_curl_safe" in line and line.split()[1].startswith("r-"):
            found += next(int(x.split()[1]) for x in maps[number:] if x.startswith("Rss:"))
    return found


@needs_slots
def test_idle_memory_is_bounded(memory: BothSides) -> None:
    streams, reader = memory
    size = SLOT_SIZE_BYTES - 100
    used = [streams.acquire() for _ in range(12)]
    for stream in used:
        assert isinstance(stream, SharedSlot)
        stream.write(b"x" * size)
        reader.read(SharedSlice(stream.offset, size))
    before = resident_kilobytes(reader)
    assert before >= 12 * size // 1024
    for stream in used:
        streams.release(stream)
    assert resident_kilobytes(reader) <= 40 * 1024
    for _ in used:
        again = streams.acquire()
        again.write(b"z" * size)
        assert bytes(again.getbuffer()) == b"z" * size


@pytest.mark.parametrize(
    "shared",
    [
        SharedSlice(-1, 5),
        SharedSlice(0, SHARED_MEMORY_BYTES + 1),
        SharedSlice(SHARED_MEMORY_BYTES, 1),
        SharedSlice(5, -1),
        SharedSlice(2**70, 1),
    ],
)
def test_a_slice_outside_is_refused(memory: BothSides, shared: SharedSlice) -> None:
    with pytest.raises(ProtocolError):
        memory[1].read(shared)


def test_the_crawler_cannot_write(memory: BothSides) -> None:
    _, reader = memory
    with pytest.raises(TypeError):
        reader._memory[0:1] = b"x"


def test_no_worker_can_take_the_memory_away() -> None:
    """A crawler that read behind its end would be killed (SIGBUS)."""
    fd = create_memory()
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    os.close(fd)


@needs_slots
def test_no_memory_is_a_short_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that cannot be kept makes fwrite() fail, and so libcurl."""
    streams, _ = both_sides()
    stream = streams.acquire()
    stream.write(b"x" * (SLOT_SIZE_BYTES - 1))

    def overflow(slot: SharedSlot, data: bytes) -> NoReturn:
        raise MemoryError

    assert isinstance(stream, SharedSlot)
    monkeypatch.setattr(SharedSlot, "overflow", overflow)
    with pytest.raises(MemoryError):
        stream.write(b"y" * SLOT_SIZE_BYTES)


FAULTS = """
import resource
from scrapy_curl_safe._ipc.messages import SharedSlice
from scrapy_curl_safe._ipc.shared_memory import SHARED_MEMORY_BYTES, SharedMemoryReader
from scrapy_curl_safe._platform.system import system

reader = SharedMemoryReader(system.create_shared_memory(SHARED_MEMORY_BYTES))

def faults_of(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        bodies = [reader.read(SharedSlice(0, 1_000_000)) for _ in range(20)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults_of(2)
print(faults_of(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
@pytest.mark.processes
def test_the_memory_of_large_bodies_is_used_again() -> None:
    """Of these 200 bodies, whose 4-kB pages would be 48,000."""
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(ran.stdout) < 5_000

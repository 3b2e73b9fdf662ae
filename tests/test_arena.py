"""The memory that a worker shares with its crawler: bodies lie in it one beside the other."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe.arena import SIZE, Ring, Sink, Source, make_memory
from scrapy_curl_safe.wire import Place, WireError

# A number takes so many bytes; None gives the oldest back.
steps = st.lists(st.none() | st.integers(1, 60), max_size=200)


@given(steps)
def test_no_two_parts_overlap_and_none_leaves_the_ring(steps):
    ring, taken = Ring(100), []
    for step in steps:
        if step is None:
            if taken:
                taken.pop(0)
                ring.give_back()
            continue
        place = ring.take(step)
        if place is None:
            # Only for want of room: one that is empty takes anything.
            assert taken
            continue
        assert place.size == step
        assert 0 <= place.at <= 100 - step
        for other in taken:
            assert place.at + step <= other.at or other.at + other.size <= place.at
        taken.append(place)


def test_room_that_is_given_back_is_used_again():
    ring = Ring(100)
    assert [ring.take(40), ring.take(40), ring.take(40)] == [Place(0, 40), Place(40, 40), None]
    ring.give_back()
    assert ring.take(40) == Place(0, 40)
    assert ring.take(1) is None
    ring.give_back()
    assert ring.take(20) == Place(40, 20)


def test_more_than_all_of_it_has_no_room():
    assert Ring(100).take(101) is None


def test_what_was_not_taken_is_not_given_back():
    with pytest.raises(WireError):
        Ring(100).give_back()


@pytest.fixture
def memory():
    fd = make_memory()
    if fd is None:
        pytest.skip("this system has no memfd")
    source = Source(fd)
    return Sink(fd), source


def test_what_one_side_puts_the_other_reads(memory):
    sink, source = memory
    body = b"a" * 100_000 + b"b" * 100_000
    place = sink.put(memoryview(body))
    assert source.read(place) == body


def test_small_bodies_are_not_taken(memory):
    sink, _ = memory
    assert sink.put(b"a" * 1000) is None


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

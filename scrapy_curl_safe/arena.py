"""Memory that a worker and its crawler share, for large bodies.

Through the socket a body is copied into the kernel and out of it again, in wake-ups of a
few hundred kilobytes; here the crawler copies it once. A worker puts a body there and says
where, the crawler takes it and says so, in the same order. Where there is no room, or no
such memory, a body takes the socket.
"""

from __future__ import annotations

import mmap
import os
from collections import deque

from .wire import Place, WireError

# Of a worker: enough for what it finishes while the crawler is busy with a page. Only what was
# ever used of it is real memory.
SIZE = 32 * 1024 * 1024
# Smaller ones fit into the socket's buffer.
_LEAST = 128 * 1024
# Of glibc: the most that it will ever take from the heap (DEFAULT_MMAP_THRESHOLD_MAX), with room
# for what Python and malloc() put around it.
_MOST_OF_HEAP = 32 * 1024 * 1024 - 8192


class Ring:
    """Which part of so many bytes is taken: given back in the order in which it was taken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken: deque[Place] = deque()

    def take(self, size: int) -> Place | None:
        """Room for so many bytes in one piece, or None."""
        at = self._room_for(size)
        if at is None:
            return None
        place = Place(at, size)
        self._taken.append(place)
        return place

    def give_back(self) -> None:
        """The part that was taken first.

        Raises:
            WireError: none is taken.
        """
        if not self._taken:
            raise WireError("gives back what it was not given")
        self._taken.popleft()

    def _room_for(self, size: int) -> int | None:
        if not self._taken:
            return 0 if size <= self._size else None
        first, last = self._taken[0], self._taken[-1]
        end = last.at + last.size
        if last.at < first.at:  # it went round
            return end if end + size <= first.at else None
        if end + size <= self._size:
            return end
        return 0 if size <= first.at else None


def make_memory() -> int | None:
    """A descriptor for a new arena; None where the system has no such thing.

    Raises:
        OSError: no descriptor can be had.
    """
    try:
        fd = os.memfd_create("scrapy_curl_safe")
    except AttributeError:
        return None
    os.ftruncate(fd, SIZE)
    return fd


class Source:
    """The crawler's side."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE, prot=mmap.PROT_READ)
        self._was_read = False

    def read(self, place: Place) -> bytes:
        """
        Raises:
            WireError: it is not in the arena.
        """
        if place.at < 0 or place.size < 0 or place.at + place.size > SIZE:
            raise WireError(f"a body at {place.at} of {place.size} bytes")
        if not self._was_read:
            self._was_read = True
            _let_large_blocks_stay()
        return self._memory[place.at : place.at + place.size]

    def close(self) -> None:
        self._memory.close()


def _let_large_blocks_stay() -> None:
    """Freed megabytes go back to the system, and the next ones are zeroed page by page: up to half
    of what a page of 1 MB costs the crawler. glibc keeps twice the largest block that it has seen
    freed (mallopt(3), M_MMAP_THRESHOLD), so it is shown one, which is never written to.
    """
    bytes(_MOST_OF_HEAP)


class Sink:
    """The worker's side. It takes the descriptor over."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SIZE)
        os.close(fd)
        self._ring = Ring(SIZE)

    def put(self, body: bytes | memoryview) -> Place | None:
        """Where the body is; None if it is to take the socket."""
        place = self._ring.take(len(body)) if len(body) >= _LEAST else None
        if place is not None:
            self._memory[place.at : place.at + place.size] = body
        return place

    def give_back(self) -> None:
        self._ring.give_back()

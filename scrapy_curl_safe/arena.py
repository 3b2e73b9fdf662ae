"""Memory that a worker and its crawler share, for large bodies.

Through the socket a body is copied into the kernel and out of it again, in wake-ups of a
few hundred kilobytes. Here libcurl writes it where the crawler reads it, which copies it
once. The memory is divided into slabs, of which each holds one response at a time: the
worker says where in it the body is, the crawler takes it and says so, in the same order.
What does not fit into a slab, or finds none, takes the socket.
"""

from __future__ import annotations

import fcntl
import mmap
import os

from .wire import Place, WireError

# Bytes. Only what was ever used of a slab is real memory.
SLAB = 8 * 1024 * 1024
SLABS = 64
SIZE = SLABS * SLAB
# Of glibc: the most that it will ever take from the heap (DEFAULT_MMAP_THRESHOLD_MAX), with room
# for what Python and malloc() put around it.
_MOST_OF_HEAP = 32 * 1024 * 1024 - 8192


def make_memory() -> int | None:
    """A descriptor for a new arena; None where the system has no such thing.

    Raises:
        OSError: no descriptor can be had.
    """
    try:
        fd = os.memfd_create("scrapy_curl_safe", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except AttributeError:
        return None
    os.ftruncate(fd, SIZE)
    # Reading past its end would end the crawler: no worker can move that.
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
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

"""Memory that a worker and its crawler share, for large bodies.

A body that goes through the socket is copied into the kernel and out again, a few hundred kilobytes
at a time. In shared memory, libcurl writes a body where the crawler reads it, so it is copied only
once.

The memory is divided into slots; each slot holds one response at a time. The worker says where a
body is (`SharedSlice`); the crawler copies it and answers `SliceReleased`, in the same order. A
body that is too large for a slot, or finds none free, goes through the socket.
"""

from __future__ import annotations

import mmap

from .messages import ProtocolError, SharedSlice

# The kernel allocates only those pages of a slot that were written to.
SLOT_SIZE_BYTES = 8 * 1024 * 1024
SLOT_COUNT = 64
SHARED_MEMORY_BYTES = SLOT_COUNT * SLOT_SIZE_BYTES
# The largest block that glibc takes from the heap (DEFAULT_MMAP_THRESHOLD_MAX), minus the overhead
# of Python and malloc().
_LARGEST_HEAP_BLOCK_BYTES = 32 * 1024 * 1024 - 8192


class SharedMemoryReader:
    """The crawler's view of the memory.

    Args:
        fd: from `system.create_shared_memory`; may be closed afterwards.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, SHARED_MEMORY_BYTES, access=mmap.ACCESS_READ)
        self._was_read = False

    def read(self, shared: SharedSlice) -> bytes:
        """Copy a body out of the memory.

        Raises:
            ProtocolError: the slice is outside the memory.
        """
        end = shared.offset + shared.size
        if shared.offset < 0 or shared.size < 0 or end > SHARED_MEMORY_BYTES:
            raise ProtocolError(f"a body at {shared.offset} of {shared.size} bytes")
        if not self._was_read:
            self._was_read = True
            _keep_freed_blocks_mapped()
        return self._memory[shared.offset : end]

    def close(self) -> None:
        self._memory.close()


def _keep_freed_blocks_mapped() -> None:
    """Make glibc keep freed megabytes instead of returning them to the system.

    Otherwise the system would zero the memory of each large body anew, page by page. glibc keeps
    blocks up to twice the size of the largest one that was freed (mallopt(3), M_MMAP_THRESHOLD), so
    this frees such a block, without ever writing to it.
    """
    bytes(_LARGEST_HEAP_BLOCK_BYTES)

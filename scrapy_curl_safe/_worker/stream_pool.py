"""Hands out C streams: to responses and, if they lie in shared memory, on to the crawler."""

from __future__ import annotations

import mmap
import os
from collections import deque
from typing import TYPE_CHECKING

from .._ipc.messages import ProtocolError, SharedSlice
from .._ipc.shared_memory import SHARED_MEMORY_BYTES, SLOT_SIZE_BYTES
from .._platform.system import system

if TYPE_CHECKING or system.HAS_C_STREAMS:
    from .c_streams import FWRITE, HAS_SHARED_SLOTS, MemoryStream, SharedSlot
else:
    from .python_streams import FWRITE, HAS_SHARED_SLOTS, MemoryStream, SharedSlot

__all__ = ["FWRITE", "MemoryStream", "SharedSlot", "StreamPool", "streams"]

# Smaller bodies fit into the socket's buffer anyway.
_MIN_SHARED_BYTES = 128 * 1024
# A decoded body has to be copied to the crawler's slot or socket in any case. From here on, the
# crawler would have to put it together from several reads of the socket.
_MIN_SHARED_BEHIND_BYTES = 64 * 1024
# The memory that idle streams may keep, so that the next large bodies need none from the system.
_MAX_IDLE_BYTES = 32 * 1024 * 1024
_MAX_IDLE_MEMORY_STREAMS = 64


class StreamPool:
    """Idle streams, and slots with bodies that the crawler has not copied yet."""

    def __init__(self) -> None:
        self._idle_slots: list[SharedSlot] = []
        self._idle_streams: list[MemoryStream] = []
        self._idle_bytes = 0
        # In the order in which the crawler releases them.
        self._shared: deque[SharedSlot] = deque()

    def __repr__(self) -> str:
        return (
            f"<StreamPool {len(self._idle_slots)} idle slots, {len(self._shared)} shared, "
            f"{len(self._idle_streams)} idle streams, {self._idle_bytes:,} bytes idle>"
        )

    def use_shared_memory(self, fd: int) -> None:
        """Put responses into shared memory from now on.

        Args:
            fd: descriptor of the memory, which the pool owns from here on.
        """
        memory = mmap.mmap(fd, SHARED_MEMORY_BYTES)
        os.close(fd)
        if HAS_SHARED_SLOTS:
            offsets = range(0, SHARED_MEMORY_BYTES, SLOT_SIZE_BYTES)
            self._idle_slots = [SharedSlot(memory, offset) for offset in reversed(offsets)]

    def acquire(self) -> MemoryStream | SharedSlot:
        """Return a stream for one response.

        Raises:
            MemoryError: no memory is left.
        """
        # The one that was used last: its memory may still be in the processor's cache.
        if self._idle_slots:
            stream: MemoryStream | SharedSlot = self._idle_slots.pop()
        elif self._idle_streams:
            stream = self._idle_streams.pop()
        else:
            return MemoryStream()
        self._idle_bytes -= stream.capacity_bytes
        return stream

    def release(self, stream: MemoryStream | SharedSlot) -> None:
        """Take back a stream whose contents nobody needs any more."""
        stream.rewind()
        fits = self._idle_bytes + stream.capacity_bytes <= _MAX_IDLE_BYTES
        if isinstance(stream, SharedSlot):
            if fits:
                self._idle_slots.append(stream)
            else:
                stream.discard()
                self._idle_slots.insert(0, stream)
        elif fits and len(self._idle_streams) < _MAX_IDLE_MEMORY_STREAMS:
            self._idle_streams.append(stream)
        else:
            stream.close()
            return
        self._idle_bytes += stream.capacity_bytes

    def share(
        self, stream: MemoryStream | SharedSlot | None, offset: int, size: int
    ) -> SharedSlice | None:
        """Leave to the crawler a range of what was written.

        Returns:
            Where the range lies in shared memory; the caller must no longer use the stream. None if
            the range does not lie there, or is too small to matter.
        """
        if size < _MIN_SHARED_BYTES or not isinstance(stream, SharedSlot) or stream.has_overflowed:
            return None
        self._shared.append(stream)
        return SharedSlice(stream.offset + offset, size)

    def share_behind(
        self, stream: MemoryStream | SharedSlot | None, data: bytes
    ) -> tuple[SharedSlice, int] | None:
        """Write data behind what was written, and leave all to the crawler.

        Returns:
            Where the data lies in shared memory, and where all before it begins; the caller may not
            use the stream any more. None if the stream does not lie there, is full, or the data is
            too small to matter.
        """
        if len(data) < _MIN_SHARED_BEHIND_BYTES or not isinstance(stream, SharedSlot):
            return None
        start = len(stream.getbuffer())
        if stream.has_overflowed or start + len(data) >= SLOT_SIZE_BYTES:
            return None
        stream.write(data)
        self._shared.append(stream)
        return SharedSlice(stream.offset + start, len(data)), stream.offset

    def release_shared(self) -> None:
        """Take back the slot that was shared first: the crawler has copied its body.

        Raises:
            ProtocolError: no slot is shared.
        """
        if not self._shared:
            raise ProtocolError("SliceReleased without a shared slice")
        self.release(self._shared.popleft())


#: The pool of this process.
streams = StreamPool()

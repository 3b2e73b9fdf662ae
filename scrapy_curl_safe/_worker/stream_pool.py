"""Where responses are written: who has which memory."""

from __future__ import annotations

import mmap
import os
from collections import deque

from .._ipc.messages import ProtocolError, SharedSlice
from .._ipc.shared_memory import SHARED_MEMORY_BYTES, SLOT_SIZE_BYTES
from .c_streams import HAS_SHARED_SLOTS, MemoryStream, SharedSlot

# Bytes; fewer are as well off in the socket's buffer.
_LEAST_TO_LEND = 128 * 1024
# Of streams at rest, so that the next large bodies need not ask the system for memory anew.
_MOST_BYTES = 32 * 1024 * 1024
_MOST_STREAMS = 64


class StreamPool:
    """Those at rest, and those that are lent to the crawler."""

    def __init__(self) -> None:
        self._slots: list[SharedSlot] = []
        self._spare: list[MemoryStream] = []
        self._bytes = 0
        self._lent: deque[SharedSlot] = deque()

    def share(self, fd: int) -> None:
        """Use shared memory, whose descriptor the pool takes over."""
        memory = mmap.mmap(fd, SHARED_MEMORY_BYTES)
        os.close(fd)
        if HAS_SHARED_SLOTS:
            offsets = range(0, SHARED_MEMORY_BYTES, SLOT_SIZE_BYTES)
            self._slots = [SharedSlot(memory, at) for at in reversed(offsets)]

    def take(self) -> MemoryStream | SharedSlot:
        """
        Raises:
            MemoryError: there is none left.
        """
        # The one that was used last: its memory may still be in the processor's cache.
        if self._slots:
            stream: MemoryStream | SharedSlot = self._slots.pop()
        elif self._spare:
            stream = self._spare.pop()
        else:
            return MemoryStream()
        self._bytes -= stream.capacity
        return stream

    def give_back(self, stream: MemoryStream | SharedSlot) -> None:
        stream.rewind()
        fits = self._bytes + stream.capacity <= _MOST_BYTES
        if isinstance(stream, SharedSlot):
            if fits:
                self._slots.append(stream)
            else:
                stream.free()
                self._slots.insert(0, stream)
        elif fits and len(self._spare) < _MOST_STREAMS:
            self._spare.append(stream)
        else:
            stream.close()
            return
        self._bytes += stream.capacity

    def lend(
        self, stream: MemoryStream | SharedSlot | None, at: int, size: int
    ) -> SharedSlice | None:
        """Let the crawler read so many bytes of what was written, from there on.

        Returns:
            Where they are, and the stream is the caller's no more; None if they are not in the
            memory, or too few to matter.
        """
        if size < _LEAST_TO_LEND or not isinstance(stream, SharedSlot) or not stream.has_all():
            return None
        self._lent.append(stream)
        return SharedSlice(stream.offset + at, size)

    def reclaim(self) -> None:
        """The crawler has read what was lent to it first.

        Raises:
            ProtocolError: nothing is lent.
        """
        if not self._lent:
            raise ProtocolError("it gives back what it was not lent")
        self.give_back(self._lent.popleft())


#: Of this process.
streams = StreamPool()

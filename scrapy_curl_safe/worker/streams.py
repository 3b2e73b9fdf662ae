"""Where responses are written: who has which memory."""

from __future__ import annotations

import mmap
import os
from collections import deque

from ..arena import SIZE, SLAB
from ..wire import Place, WireError
from .memory import HAS_SLABS, Slab, Stream

# Bytes; fewer are as well off in the socket's buffer.
_LEAST_TO_LEND = 128 * 1024
# Of streams at rest, so that the next large bodies need not ask the system for memory anew.
_MOST_BYTES = 32 * 1024 * 1024
_MOST_STREAMS = 64


class Streams:
    """Those at rest, and those that are lent to the crawler."""

    def __init__(self) -> None:
        self._slabs: list[Slab] = []
        self._spare: list[Stream] = []
        self._bytes = 0
        self._lent: deque[Slab] = deque()

    def share(self, arena: int) -> None:
        """Use this arena, whose descriptor is taken over."""
        memory = mmap.mmap(arena, SIZE)
        os.close(arena)
        if HAS_SLABS:
            self._slabs = [Slab(memory, at) for at in reversed(range(0, SIZE, SLAB))]

    def take(self) -> Stream | Slab:
        """
        Raises:
            MemoryError: there is none left.
        """
        # The one that was used last: its memory may still be in the processor's cache.
        if self._slabs:
            stream: Stream | Slab = self._slabs.pop()
        elif self._spare:
            stream = self._spare.pop()
        else:
            return Stream()
        self._bytes -= stream.capacity
        return stream

    def give_back(self, stream: Stream | Slab) -> None:
        stream.rewind()
        fits = self._bytes + stream.capacity <= _MOST_BYTES
        if isinstance(stream, Slab):
            if fits:
                self._slabs.append(stream)
            else:
                stream.free()
                self._slabs.insert(0, stream)
        elif fits and len(self._spare) < _MOST_STREAMS:
            self._spare.append(stream)
        else:
            stream.close()
            return
        self._bytes += stream.capacity

    def lend(self, stream: Stream | Slab | None, at: int, size: int) -> Place | None:
        """Let the crawler read so many bytes of what was written, from there on.

        Returns:
            Where they are, and the stream is the caller's no more; None if they are not in the
            arena, or too few to matter.
        """
        if size < _LEAST_TO_LEND or not isinstance(stream, Slab) or not stream.has_all():
            return None
        self._lent.append(stream)
        return Place(stream.at + at, size)

    def get_back(self) -> None:
        """The crawler has read what was lent to it first.

        Raises:
            WireError: nothing is lent.
        """
        if not self._lent:
            raise WireError("it gives back what it was not lent")
        self.give_back(self._lent.popleft())


#: Of this process.
streams = Streams()

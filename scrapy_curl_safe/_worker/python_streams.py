"""Streams to which libcurl writes responses by calling Python, where the C library has no streams
that write to memory. Their interface is that of `c_streams`."""

from __future__ import annotations

from typing import Any

from .curl_api import ffi

#: No memory is shared through them.
HAS_SHARED_SLOTS = False


@ffi.callback("size_t(char *, size_t, size_t, void *)", error=0)  # type: ignore[untyped-decorator]
def _on_data(data: Any, size: int, count: int, stream: Any) -> int:
    """https://curl.se/libcurl/c/CURLOPT_WRITEFUNCTION.html"""
    try:
        ffi.from_handle(stream).write(ffi.buffer(data, size * count)[:])
    except MemoryError:
        return 0  # and libcurl fails the transfer
    return size * count


#: A CURLOPT_WRITEFUNCTION whose CURLOPT_WRITEDATA is the pointer of a stream.
FWRITE = _on_data


class MemoryStream:
    """The worker's own memory for one response.

    Attributes:
        pointer: the CURLOPT_WRITEDATA.
        capacity_bytes: 0, since nothing is kept for the next response.
    """

    capacity_bytes = 0

    def __init__(self) -> None:
        self.pointer = ffi.new_handle(self)
        self._pieces: list[bytes] = []

    def __repr__(self) -> str:
        return f"<MemoryStream of {sum(map(len, self._pieces)):,} bytes>"

    def write(self, data: bytes) -> None:
        self._pieces.append(data)

    def getbuffer(self) -> bytes:
        """Return what was written since the start."""
        self._pieces = [b"".join(self._pieces)]
        return self._pieces[0]

    def rewind(self) -> None:
        """Forget what was written."""
        self._pieces.clear()

    def close(self) -> None:
        self._pieces.clear()


class SharedSlot(MemoryStream):
    """A slot of the shared memory, of which there is none."""

    offset = 0
    has_overflowed = False

    def __init__(self, memory: object, offset: int) -> None:
        super().__init__()

    def discard(self) -> None:
        """Do nothing: there is no memory to give back."""

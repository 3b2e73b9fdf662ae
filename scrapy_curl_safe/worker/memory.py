"""Memory that libcurl writes to by itself.

A callback into Python costs 3 µs, and libcurl makes one for each header and for each frame
of a body: 130 for a page of 1 MB in HTTP/2. C's own fwrite() has just the signature of a
CURLOPT_WRITEFUNCTION, and POSIX.1-2008's open_memstream() gives it memory to write to.
"""

from __future__ import annotations

import ctypes

from curl_cffi import ffi

_libc = ctypes.CDLL(None)
_libc.open_memstream.restype = ctypes.c_void_p
_libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
_libc.fwrite.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_void_p]
_libc.fwrite.restype = ctypes.c_size_t
_libc.fseek.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
_libc.fflush.argtypes = [ctypes.c_void_p]
_libc.fclose.argtypes = [ctypes.c_void_p]
_libc.free.argtypes = [ctypes.c_void_p]

#: For CURLOPT_WRITEFUNCTION, with a stream for CURLOPT_WRITEDATA.
FWRITE = ffi.cast("void *", ctypes.cast(_libc.fwrite, ctypes.c_void_p).value or 0)


# Of streams at rest, so that the next large bodies need not ask the system for memory anew.
_MOST_BYTES = 32 * 1024 * 1024
_MOST_STREAMS = 64


class Stream:
    """Memory for one response. It is 9 kB before a byte is written, so a request that waits for
    its answer has none.

    Raises:
        MemoryError: there is none left.
    """

    def __init__(self) -> None:
        self._at = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self._file: int | None = None
        at, size = ctypes.addressof(self._at), ctypes.addressof(self._size)
        self._file = _libc.open_memstream(at, size)
        if not self._file:
            raise MemoryError
        #: For CURLOPT_WRITEDATA.
        self.pointer = ffi.cast("void *", self._file)
        #: Bytes: the most that were ever written.
        self.capacity = 0

    def write(self, data: bytes) -> None:
        """
        Raises:
            MemoryError: it could not be written.
        """
        if _libc.fwrite(data, 1, len(data), self._file) != len(data):
            raise MemoryError

    def written(self) -> ffi.buffer:
        """A view of what was written since the start; good until the next write.

        Raises:
            MemoryError: it could not be written.
        """
        if _libc.fflush(self._file):
            raise MemoryError
        return ffi.buffer(ffi.cast("char *", self._at.value or 0), self._size.value)

    def rewind(self) -> None:
        """Forget what was written, and keep the memory."""
        _libc.fflush(self._file)
        self.capacity = max(self.capacity, self._size.value)
        _libc.fseek(self._file, 0, 0)

    def close(self) -> None:
        if self._file:
            _libc.fclose(self._file)
            _libc.free(self._at)
            self._file = None

    def __del__(self) -> None:
        self.close()


class Streams:
    """Those at rest."""

    def __init__(self) -> None:
        self._spare: list[Stream] = []
        self._bytes = 0

    def take(self) -> Stream:
        if not self._spare:
            return Stream()
        stream = self._spare.pop()
        self._bytes -= stream.capacity
        return stream

    def give_back(self, stream: Stream) -> None:
        stream.rewind()
        fits = self._bytes + stream.capacity <= _MOST_BYTES
        if fits and len(self._spare) < _MOST_STREAMS:
            self._spare.append(stream)
            self._bytes += stream.capacity
        else:
            stream.close()

"""Memory that libcurl writes to by itself.

A callback into Python costs 3 µs, and libcurl makes one for each header and for each frame
of a body: 130 for a page of 1 MB in HTTP/2. C's own fwrite() has just the signature of a
CURLOPT_WRITEFUNCTION, and POSIX.1-2008's open_memstream() gives it memory to write to.
"""

from __future__ import annotations

import ctypes
from typing import ClassVar

from curl_cffi import ffi

_libc = ctypes.CDLL(None)
_libc.open_memstream.restype = ctypes.c_void_p
_libc.open_memstream.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
_libc.fseek.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
_libc.fflush.argtypes = [ctypes.c_void_p]
_libc.fclose.argtypes = [ctypes.c_void_p]
_libc.free.argtypes = [ctypes.c_void_p]

#: For CURLOPT_WRITEFUNCTION, with a stream for CURLOPT_WRITEDATA.
FWRITE = ffi.cast("void *", ctypes.cast(_libc.fwrite, ctypes.c_void_p).value or 0)


# Bytes that all streams at rest may hold, so that the next large bodies need not ask the
# system for memory anew.
_MOST_AT_REST = 32 * 1024 * 1024


class Stream:
    """
    Raises:
        MemoryError: there is none left.
    """

    _bytes_at_rest: ClassVar[int] = 0

    def __init__(self) -> None:
        self._capacity = 0
        self._at_rest = False
        self._at = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        at, size = ctypes.addressof(self._at), ctypes.addressof(self._size)
        self._file: int | None = None
        self._file = _libc.open_memstream(at, size)
        if not self._file:
            raise MemoryError
        self.pointer = ffi.cast("void *", self._file)

    def written(self) -> ffi.buffer:
        """A view of what was written since the start; good until the next write.

        Raises:
            MemoryError: it could not be written.
        """
        if _libc.fflush(self._file):
            raise MemoryError
        return ffi.buffer(ffi.cast("char *", self._at.value or 0), self._size.value)

    def rest(self) -> bool:
        """Forget what was written and keep the memory; False if it has to be closed instead."""
        if not self._at_rest:
            _libc.fflush(self._file)
            self._capacity = max(self._capacity, self._size.value)
            if Stream._bytes_at_rest + self._capacity > _MOST_AT_REST:
                return False
            _libc.fseek(self._file, 0, 0)
            Stream._bytes_at_rest += self._capacity
            self._at_rest = True
        return True

    def wake(self) -> None:
        """It is about to be written to."""
        if self._at_rest:
            Stream._bytes_at_rest -= self._capacity
            self._at_rest = False

    def close(self) -> None:
        self.wake()
        if self._file:
            _libc.fclose(self._file)
            _libc.free(self._at)
            self._file = None

    def __del__(self) -> None:
        self.close()

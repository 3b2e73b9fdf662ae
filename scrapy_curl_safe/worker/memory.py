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
_libc.fseek.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_int]
_libc.fflush.argtypes = [ctypes.c_void_p]
_libc.fclose.argtypes = [ctypes.c_void_p]
_libc.free.argtypes = [ctypes.c_void_p]

#: For CURLOPT_WRITEFUNCTION, with a stream for CURLOPT_WRITEDATA.
FWRITE = ffi.cast("void *", ctypes.cast(_libc.fwrite, ctypes.c_void_p).value or 0)


class Stream:
    """
    Raises:
        MemoryError: there is none left.
    """

    def __init__(self) -> None:
        self._at = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        at, size = ctypes.addressof(self._at), ctypes.addressof(self._size)
        self._file: int | None = _libc.open_memstream(at, size)
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

    def rewind(self) -> int:
        """Start again, in the memory that is there. Returns how many bytes were written."""
        _libc.fflush(self._file)
        size = self._size.value
        _libc.fseek(self._file, 0, 0)
        return size

    def close(self) -> None:
        if self._file:
            _libc.fclose(self._file)
            _libc.free(self._at)
            self._file = None

    def __del__(self) -> None:
        self.close()

"""Memory that libcurl writes to by itself.

A callback into Python costs 3 µs, and libcurl makes one for each header and for each frame
of a body: 130 for a page of 1 MB in HTTP/2. C's own fwrite() has just the signature of a
CURLOPT_WRITEFUNCTION, and C libraries have streams that are memory: one that grows, by
POSIX.1-2008's open_memstream(), or, in glibc, any that is there, as a stream's buffer.
"""

from __future__ import annotations

import ctypes
import mmap
from weakref import WeakValueDictionary

from curl_cffi import ffi

from .._ipc.shared_memory import SLOT_SIZE_BYTES
from .._platform.c_library import IS_GLIBC, c_function
from .._platform.memory import discard

#: Whether this C library has the streams of a SharedSlot. (musl keeps the first bytes of a buffer.)
HAS_SHARED_SLOTS = IS_GLIBC

_File = ctypes.c_void_p


_open_memstream = c_function("open_memstream", _File, ctypes.c_void_p, ctypes.c_void_p)
_fwrite = c_function(
    "fwrite", ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, _File
)
_fseek = c_function("fseek", ctypes.c_int, _File, ctypes.c_long, ctypes.c_int)
_fflush = c_function("fflush", ctypes.c_int, _File)
_fclose = c_function("fclose", ctypes.c_int, _File)
_free = c_function("free", None, ctypes.c_void_p)

#: For CURLOPT_WRITEFUNCTION, with a stream's pointer for CURLOPT_WRITEDATA.
FWRITE = ffi.cast("void *", ctypes.cast(_fwrite, ctypes.c_void_p).value or 0)


def _write(file: int | None, data: bytes) -> None:
    if _fwrite(data, 1, len(data), file) != len(data):
        raise MemoryError


class MemoryStream:
    """The worker's own memory for one response. It is 9 kB before a byte is written, so a request
    that waits for its answer has none.

    Attributes:
        pointer: for CURLOPT_WRITEDATA.
        capacity: bytes; the most that were ever written.

    Raises:
        MemoryError: there is none left.
    """

    def __init__(self) -> None:
        self._at = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self._file: int | None = None
        self._file = _open_memstream(ctypes.addressof(self._at), ctypes.addressof(self._size))
        if not self._file:
            raise MemoryError
        self.pointer = ffi.cast("void *", self._file)
        self.capacity = 0

    def write(self, data: bytes) -> None:
        """
        Raises:
            MemoryError: it could not be written.
        """
        _write(self._file, data)

    def written(self) -> ffi.buffer:
        """A view of what was written since the start; good until the next write.

        Raises:
            MemoryError: it could not be written.
        """
        if _fflush(self._file):
            raise MemoryError
        return ffi.buffer(ffi.cast("char *", self._at.value or 0), self._size.value)

    def rewind(self) -> None:
        """Forget what was written, and keep the memory."""
        _fflush(self._file)
        self.capacity = max(self.capacity, self._size.value)
        _fseek(self._file, 0, 0)

    def close(self) -> None:
        if self._file:
            _fclose(self._file)
            _free(self._at)
            self._file = None

    def __del__(self) -> None:
        self.close()


class SharedSlot:
    """A slot of the shared memory for one response, used like a MemoryStream. What it cannot hold
    goes on in a MemoryStream.

    Args:
        memory: all of it.
        offset: where in it the slot begins.

    Raises:
        MemoryError: there is none left.
    """

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self.offset = offset
        self.capacity = 0
        self._memory = memory
        self._start = ffi.from_buffer("char[]", memory, require_writable=True) + offset
        self._overflow: MemoryStream | None = None
        address = int(ffi.cast("uintptr_t", self._start))
        self._file: int | None = None
        self._file = _open_buffer(address)
        if not self._file:
            raise MemoryError
        self.pointer = ffi.cast("void *", self._file)
        _by_address[address] = self

    def write(self, data: bytes) -> None:
        _write(self._file, data)

    def written(self) -> ffi.buffer:
        here = ffi.buffer(self._start, _pending(self._file))
        if self._overflow is None:
            return here
        self._overflow.write(here[:])
        _purge(self._file)
        return self._overflow.written()

    def rewind(self) -> None:
        used = SLOT_SIZE_BYTES if self._overflow else _pending(self._file)
        self.capacity = max(self.capacity, used)
        self._overflow = None
        _purge(self._file)

    def has_all(self) -> bool:
        """Whether what was written is in the memory."""
        return self._overflow is None

    def free(self) -> None:
        """Give the memory back to the system, between two responses."""
        discard(self._memory, self.offset, SLOT_SIZE_BYTES)
        self.capacity = 0

    def take_over(self, data: bytes) -> None:
        """The stream's buffer is full, and begins anew behind these bytes."""
        if self._overflow is None:
            self._overflow = MemoryStream()
        self._overflow.write(data)

    def __del__(self) -> None:
        if self._file:
            _purge(self._file)
            _fclose(self._file)


# Streams with a given buffer: fopencookie(3), setvbuf(3), stdio_ext(3)

_FULLY_BUFFERED = 0  # _IOFBF
_NO_LOCK = 2  # FSETLOCKING_BYCALLER
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


class _CookieFunctions(ctypes.Structure):
    """cookie_io_functions_t"""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


if HAS_SHARED_SLOTS:
    _fopencookie = c_function(
        "fopencookie", _File, ctypes.c_void_p, ctypes.c_char_p, _CookieFunctions
    )
    _setvbuf = c_function(
        "setvbuf", ctypes.c_int, _File, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t
    )
    _set_locking = c_function("__fsetlocking", ctypes.c_int, _File, ctypes.c_int)
    _pending = c_function("__fpending", ctypes.c_size_t, _File)
    _purge = c_function("__fpurge", None, _File)

_by_address: WeakValueDictionary[int, SharedSlot] = WeakValueDictionary()


@_Write  # type: ignore[untyped-decorator]
def _on_full(address: int, data: int, size: int) -> int:
    try:
        _by_address[address].take_over(ctypes.string_at(data, size))
    except MemoryError:
        return 0  # and fwrite() fails
    return size


_functions = _CookieFunctions(write=_on_full)


def _open_buffer(address: int) -> int | None:
    file: int | None = _fopencookie(address, b"w", _functions)
    if file:
        _setvbuf(file, address, _FULLY_BUFFERED, SLOT_SIZE_BYTES)
        # To let go of a lock is to wait until all that was written has left the processor: up to a
        # tenth of what a page of 1 MB costs a worker, where only one thread writes.
        _set_locking(file, _NO_LOCK)
    return file

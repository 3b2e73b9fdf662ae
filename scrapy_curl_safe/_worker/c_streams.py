"""C streams to which libcurl writes responses without calling Python.

libcurl would call Python for each header line and each frame of a body. C's own fwrite() has the
signature of a CURLOPT_WRITEFUNCTION, and C libraries have streams that write to memory: with
POSIX.1-2008's open_memstream(), to memory that grows; in glibc, also to given memory, which the
stream uses as its buffer.
"""

from __future__ import annotations

import ctypes
import mmap
from weakref import WeakValueDictionary

from .._ipc.shared_memory import SLOT_SIZE_BYTES
from .._platform.c_library import IS_GLIBC, c_function
from .._platform.system import system
from .curl_api import ffi

#: Whether this C library has what a SharedSlot needs. (musl keeps the first bytes of a buffer.)
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

#: A CURLOPT_WRITEFUNCTION whose CURLOPT_WRITEDATA is the pointer of a stream.
FWRITE = ffi.cast("void *", ctypes.cast(_fwrite, ctypes.c_void_p).value or 0)


def _write(file: int | None, data: bytes) -> None:
    if _fwrite(data, 1, len(data), file) != len(data):
        raise MemoryError


class MemoryStream:
    """The worker's own memory for one response.

    A stream takes 9 kB before a byte is written, so a request gets one only when its response
    begins.

    Attributes:
        pointer: the CURLOPT_WRITEDATA.
        capacity_bytes: the size of the largest response so far.

    Raises:
        MemoryError: no memory is left.
    """

    def __init__(self) -> None:
        # open_memstream() sets both at each flush.
        self._address = ctypes.c_void_p()
        self._size = ctypes.c_size_t()
        self._file: int | None = None
        self._file = _open_memstream(ctypes.addressof(self._address), ctypes.addressof(self._size))
        if not self._file:
            raise MemoryError
        self.pointer = ffi.cast("void *", self._file)
        self.capacity_bytes = 0

    def __repr__(self) -> str:
        return f"<MemoryStream of {self.capacity_bytes:,} bytes>"

    def write(self, data: bytes) -> None:
        """Append data, as libcurl does through `pointer`.

        Raises:
            MemoryError: no memory is left.
        """
        _write(self._file, data)

    def getbuffer(self) -> ffi.buffer:
        """Return a view of what was written since the start, valid until the next write.

        Raises:
            MemoryError: no memory was left for a write.
        """
        if _fflush(self._file):
            raise MemoryError
        return ffi.buffer(ffi.cast("char *", self._address.value or 0), self._size.value)

    def rewind(self) -> None:
        """Forget what was written, and keep the memory."""
        _fflush(self._file)
        self.capacity_bytes = max(self.capacity_bytes, self._size.value)
        _fseek(self._file, 0, 0)

    def close(self) -> None:
        if self._file:
            _fclose(self._file)
            _free(self._address)
            self._file = None

    def __del__(self) -> None:
        self.close()


class SharedSlot:
    """A slot of the shared memory for one response, used like a MemoryStream.

    A response that outgrows the slot moves on to a MemoryStream.

    Args:
        memory: all of the shared memory.
        offset: where the slot begins.

    Raises:
        MemoryError: no memory is left.
    """

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self.offset = offset
        self.capacity_bytes = 0
        self._memory = memory
        self._start = ffi.from_buffer("char[]", memory, require_writable=True) + offset
        self._overflow: MemoryStream | None = None
        address = int(ffi.cast("uintptr_t", self._start))
        self._file: int | None = None
        self._file = _open_buffer(address)
        if not self._file:
            raise MemoryError
        self.pointer = ffi.cast("void *", self._file)
        _slots_by_address[address] = self

    def __repr__(self) -> str:
        return f"<SharedSlot at {self.offset:,} of {self.capacity_bytes:,} bytes>"

    @property
    def has_overflowed(self) -> bool:
        """True if what was written is not in the shared memory."""
        return self._overflow is not None

    def write(self, data: bytes) -> None:
        _write(self._file, data)

    def getbuffer(self) -> ffi.buffer:
        in_slot = ffi.buffer(self._start, _pending(self._file))
        if self._overflow is None:
            return in_slot
        self._overflow.write(in_slot[:])
        _purge(self._file)
        return self._overflow.getbuffer()

    def rewind(self) -> None:
        used = SLOT_SIZE_BYTES if self._overflow else _pending(self._file)
        self.capacity_bytes = max(self.capacity_bytes, used)
        self._overflow = None
        _purge(self._file)

    def discard(self) -> None:
        """Give the memory of a rewound slot back to the system."""
        system.discard(self._memory, self.offset, SLOT_SIZE_BYTES)
        self.capacity_bytes = 0

    def overflow(self, data: bytes) -> None:
        """Move the data of the full buffer to a MemoryStream; the stream then fills it again."""
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
_WriteFunction = ctypes.CFUNCTYPE(
    ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
)


class _CookieFunctions(ctypes.Structure):
    """glibc's cookie_io_functions_t."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _WriteFunction),
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

_slots_by_address: WeakValueDictionary[int, SharedSlot] = WeakValueDictionary()


@_WriteFunction  # type: ignore[untyped-decorator]
def _on_full(address: int, data: int, size: int) -> int:
    try:
        _slots_by_address[address].overflow(ctypes.string_at(data, size))
    except MemoryError:
        return 0  # and fwrite() fails
    return size


_cookie_functions = _CookieFunctions(write=_on_full)


def _open_buffer(address: int) -> int | None:
    file: int | None = _fopencookie(address, b"w", _cookie_functions)
    if file:
        _setvbuf(file, address, _FULLY_BUFFERED, SLOT_SIZE_BYTES)
        # Only one thread writes, and releasing a lock would wait until all that was written has
        # left the processor.
        _set_locking(file, _NO_LOCK)
    return file

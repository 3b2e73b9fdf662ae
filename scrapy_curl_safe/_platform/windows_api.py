"""The functions of Windows that Python has not."""

from __future__ import annotations

import ctypes
import msvcrt
import os
import sys
from ctypes import wintypes
from typing import Any

assert sys.platform == "win32"

_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_ws2_32 = ctypes.WinDLL("ws2_32", use_last_error=True)

_SIZE = ctypes.c_size_t
_POINTER = ctypes.c_void_p

_PROCESS_TERMINATE = 0x0001
_PROCESS_DUP_HANDLE = 0x0040
_PROCESS_SET_QUOTA = 0x0100
_DUPLICATE_SAME_ACCESS = 0x2
_EXTENDED_LIMIT_INFORMATION = 9
_DIE_ON_UNHANDLED_EXCEPTION = 0x400
_KILL_ON_JOB_CLOSE = 0x2000
_FAIL_CRITICAL_ERRORS = 0x1
_NO_FAULT_BOX = 0x2
_NO_OPEN_FILE_BOX = 0x8000
_GENERIC_READ = 0x80000000
_GENERIC_WRITE = 0x40000000
_SHARE_ALL = 0x7  # read, write, delete
_OPEN_REPARSE_POINT = 0x00200000
_CREATE_NEW, _OPEN_EXISTING = 1, 3
_LOCK_FAIL_IMMEDIATELY, _LOCK_EXCLUSIVE = 0x1, 0x2
_INVALID_HANDLE = ctypes.c_void_p(-1).value
_ERROR_LOCK_VIOLATION, _ERROR_IO_PENDING = 33, 997
# No body reaches so far, and a lock keeps others from writing where it is.
_LOCKED_AT_HIGH = 0x40000000


def _function(library: ctypes.WinDLL, name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


def _call(name: str, result: Any, *arguments: Any) -> Any:
    return _function(_kernel32, name, result, *arguments)


class _JobLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("times", ctypes.c_int64 * 2),
        ("flags", wintypes.DWORD),
        ("working_sets", _SIZE * 2),
        ("most_processes", wintypes.DWORD),
        ("affinity", _SIZE),
        ("classes", wintypes.DWORD * 2),
        ("io", ctypes.c_uint64 * 6),
        ("memory", _SIZE * 4),
    )


class _MemoryCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS."""

    _fields_ = (
        ("size", wintypes.DWORD),
        ("page_faults", wintypes.DWORD),
        ("peak_working_set", _SIZE),
        ("working_set", _SIZE),
        ("others", _SIZE * 6),
    )


class _MemoryStatus(ctypes.Structure):
    """MEMORYSTATUSEX."""

    _fields_ = (
        ("size", wintypes.DWORD),
        ("load", wintypes.DWORD),
        ("physical", ctypes.c_uint64),
        ("available", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 5),
    )


class _Overlapped(ctypes.Structure):
    """OVERLAPPED."""

    _fields_ = (
        ("internal", _SIZE * 2),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", _POINTER),
    )


class PolledSocket(ctypes.Structure):
    """WSAPOLLFD."""

    _fields_ = (("fd", _SIZE), ("events", ctypes.c_short), ("revents", ctypes.c_short))


_bool, _dword, _handle = wintypes.BOOL, wintypes.DWORD, wintypes.HANDLE
_close_handle = _call("CloseHandle", _bool, _handle)
_open_process = _call("OpenProcess", _handle, _dword, _bool, _dword)
_current_process = _call("GetCurrentProcess", _handle)
_create_job = _call("CreateJobObjectW", _handle, _POINTER, wintypes.LPCWSTR)
_set_job = _call("SetInformationJobObject", _bool, _handle, ctypes.c_int, _POINTER, _dword)
_assign = _call("AssignProcessToJobObject", _bool, _handle, _handle)
_duplicate = _call(
    "DuplicateHandle",
    _bool,
    *(_handle, _handle, _handle, ctypes.POINTER(_handle), _dword, _bool, _dword),
)
_memory_info = _call("K32GetProcessMemoryInfo", _bool, _handle, _POINTER, _dword)
_handle_count = _call("GetProcessHandleCount", _bool, _handle, ctypes.POINTER(_dword))
_memory_status = _call("GlobalMemoryStatusEx", _bool, _POINTER)
_set_error_mode = _call("SetErrorMode", wintypes.UINT, wintypes.UINT)
_process_heap = _call("GetProcessHeap", _handle)
_heap_compact = _call("HeapCompact", _SIZE, _handle, _dword)
_create_file = _call(
    "CreateFileW",
    _handle,
    *(wintypes.LPCWSTR, _dword, _dword, _POINTER, _dword, _dword, _handle),
)
_lock_file = _call(
    "LockFileEx", _bool, _handle, _dword, _dword, _dword, _dword, ctypes.POINTER(_Overlapped)
)
_poll = _function(_ws2_32, "WSAPoll", ctypes.c_int, _POINTER, wintypes.ULONG, ctypes.c_int)


def _check(result: Any) -> Any:
    """
    Raises:
        OSError: a function has failed.
    """
    if not result or result == _INVALID_HANDLE:
        raise ctypes.WinError(ctypes.get_last_error())
    return result


class Job:
    """Processes that the system ends as soon as this one ends, whatever ends it.

    Raises:
        OSError: the system refuses it.
    """

    def __init__(self) -> None:
        # Closed by the end of this process, and by nothing else.
        self._handle = _check(_create_job(None, None))
        limits = _JobLimits(flags=_KILL_ON_JOB_CLOSE | _DIE_ON_UNHANDLED_EXCEPTION)
        size = ctypes.sizeof(limits)
        _check(_set_job(self._handle, _EXTENDED_LIMIT_INFORMATION, ctypes.byref(limits), size))

    def add(self, pid: int) -> None:
        """Add a process, and all that it starts from now on."""
        process = _check(_open_process(_PROCESS_SET_QUOTA | _PROCESS_TERMINATE, False, pid))
        try:
            _check(_assign(self._handle, process))
        finally:
            _close_handle(process)


def copy_handle(descriptor: int, pid: int) -> int:
    """Copy the handle of a descriptor into another process.

    Raises:
        OSError: the process has ended, or the system refuses it.
    """
    copy = wintypes.HANDLE()
    process = _check(_open_process(_PROCESS_DUP_HANDLE, False, pid))
    try:
        handle = msvcrt.get_osfhandle(descriptor)
        target = ctypes.byref(copy)
        own = _current_process()
        _check(_duplicate(own, handle, process, target, 0, False, _DUPLICATE_SAME_ACCESS))
    finally:
        _close_handle(process)
    return int(copy.value or 0)


def working_set_bytes() -> int:
    """Return the resident memory of this process."""
    counters = _MemoryCounters(size=ctypes.sizeof(_MemoryCounters))
    _check(_memory_info(_current_process(), ctypes.byref(counters), counters.size))
    return int(counters.working_set)


def available_bytes() -> int:
    """Return the memory that is not in use."""
    status = _MemoryStatus(size=ctypes.sizeof(_MemoryStatus))
    _check(_memory_status(ctypes.byref(status)))
    return int(status.available)


def handle_count() -> int:
    """Count the open handles of this process."""
    count = wintypes.DWORD()
    _check(_handle_count(_current_process(), ctypes.byref(count)))
    return int(count.value)


def show_no_boxes() -> None:
    """Have this process end when it crashes, in place of a box that somebody has to close. Then it
    leaves no dump either."""
    _set_error_mode(_FAIL_CRITICAL_ERRORS | _NO_FAULT_BOX | _NO_OPEN_FILE_BOX)


def compact_heap() -> None:
    """Return the heap's spare memory to the system."""
    _heap_compact(_process_heap(), 0)


def open_file(path: str, *, new: bool) -> int:
    """Open a file, which may then be renamed or removed all the same, and follow no link.

    Args:
        new: whether to create it.

    Returns:
        A descriptor.

    Raises:
        FileExistsError: a new one is there already.
        OSError: the system refuses it.
    """
    how = _CREATE_NEW if new else _OPEN_EXISTING
    access = _GENERIC_READ | _GENERIC_WRITE
    handle = _create_file(path, access, _SHARE_ALL, None, how, _OPEN_REPARSE_POINT, None)
    if handle == _INVALID_HANDLE:
        number = ctypes.get_last_error()
        raise OSError(None, ctypes.FormatError(number), path, number)
    return msvcrt.open_osfhandle(handle, os.O_BINARY | os.O_NOINHERIT)


def lock_file(descriptor: int) -> bool:
    """Lock a file; return False if another process has locked it."""
    where = _Overlapped(offset_high=_LOCKED_AT_HIGH)
    flags = _LOCK_EXCLUSIVE | _LOCK_FAIL_IMMEDIATELY
    handle = msvcrt.get_osfhandle(descriptor)
    if _lock_file(handle, flags, 0, 1, 0, ctypes.byref(where)):
        return True
    return ctypes.get_last_error() not in (_ERROR_LOCK_VIOLATION, _ERROR_IO_PENDING)


def poll_sockets(sockets: ctypes.Array[PolledSocket], count: int, milliseconds: int) -> int:
    """Wait until one of the first sockets of an array is ready; return how many are.

    Args:
        milliseconds: how long to wait at most; negative for ever.

    Raises:
        OSError: the system refuses it.
    """
    ready = int(_poll(sockets, count, milliseconds))
    if ready < 0:
        raise ctypes.WinError(ctypes.get_last_error())
    return ready

"""Makes CPython on Linux have what it has on macOS, and nothing else.

`testkit/macos/setup.sh` makes a virtual environment whose interpreter imports this first; its
workers, which get no environment, do so, too. `sys.platform` is darwin. What Linux alone has is
gone: memfd_create(2), epoll(7), the choice of CPUs and scheduling classes, prctl(2), /proc and
others. kqueue(2), proc_pidinfo() and sysctlbyname(3) are there, in so far as the package asks them,
and RLIMIT_NOFILE follows the rule of macOS: its soft limit may not be infinite.
"""

from __future__ import annotations

# These look at the system as they are imported, and would miss what is not there.
import asyncio
import builtins
import contextlib
import ctypes
import errno
import fcntl
import io
import mmap
import os
import resource
import select
import selectors
import socket
import ssl
import struct
import subprocess
import sys
import sysconfig
import tempfile
import types
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_LOADED = (asyncio, selectors, socket, ssl, subprocess, tempfile, urllib.request, uuid)
sysconfig.get_config_vars()
with contextlib.suppress(ImportError):  # in a worker's path there may be none
    import psutil  # noqa: F401

_SOFT_LIMIT = 256
_MOST_FILES = 12_288
_PORTS = {"net.inet.ip.portrange.first": 49152, "net.inet.ip.portrange.last": 65535}
_SYSCTL = {"kern.maxfilesperproc": _MOST_FILES, **_PORTS}
# They show the tests what the processes under test do.
_MAY_READ_PROC = ("psutil", "testkit.macos")
_GONE = {
    "prctl",
    "malloc_trim",
    "fopencookie",
    "__fsetlocking",
    "__fpending",
    "__fpurge",
    "mallopt",
}

_epoll, _EPOLLIN, _EPOLLOUT = select.epoll, select.EPOLLIN, select.EPOLLOUT
_real_open = open


def _remove(module: Any, *starts: str) -> None:
    for name in dir(module):
        if name.startswith(starts):
            delattr(module, name)


# What there is not


def _remove_names() -> None:
    _remove(
        os, "memfd_create", "MFD_", "sched_", "SCHED_", "O_PATH", "pidfd_open", "eventfd", "EFD_"
    )
    _remove(os, "splice", "getrandom", "setns", "unshare", "CLONE_")
    _remove(select, "epoll", "EPOLL")
    selectors.DefaultSelector = selectors.PollSelector  # type: ignore[misc, assignment]
    _remove(fcntl, "F_ADD_SEALS", "F_GET_SEALS", "F_SEAL", "F_SETPIPE_SZ")
    _remove(mmap, "MADV_REMOVE", "MADV_DONTFORK", "MADV_DOFORK", "MADV_HUGEPAGE", "MAP_POPULATE")
    for name in [name for name in os.confstr_names if "GNU" in name]:
        del os.confstr_names[name]


def _without_proc(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        if isinstance(path, (str, bytes, os.PathLike)):
            text = os.fsdecode(path)
            caller = sys._getframe(1).f_globals.get("__name__", "")
            if (text == "/proc" or text.startswith("/proc/")) and not caller.startswith(
                _MAY_READ_PROC
            ):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), text)
        return function(path, *arguments, **options)

    return call


def _remove_proc() -> None:
    builtins.open = io.open = _without_proc(open)
    for name in ("listdir", "open", "scandir", "stat"):
        setattr(os, name, _without_proc(getattr(os, name)))


# What is different


def _change_limits() -> None:
    get, set_ = resource.getrlimit, resource.setrlimit
    soft = [_SOFT_LIMIT]

    def getrlimit(kind: int) -> tuple[int, int]:
        return (soft[0], resource.RLIM_INFINITY) if kind == resource.RLIMIT_NOFILE else get(kind)

    def setrlimit(kind: int, limits: tuple[int, int]) -> None:
        if kind != resource.RLIMIT_NOFILE:
            set_(kind, limits)
        elif not 0 <= limits[0] <= _MOST_FILES:
            raise ValueError("current limit exceeds maximum limit")
        else:
            soft[0] = limits[0]

    resource.getrlimit, resource.setrlimit = getrlimit, setrlimit


class _Library(ctypes.CDLL):
    """The C library."""

    def __getattr__(self, name: str) -> Any:
        if name in _GONE:
            raise AttributeError(f"dlsym(RTLD_DEFAULT, {name}): symbol not found")
        if name in _FUNCTIONS:
            return _Function(_FUNCTIONS[name])
        return super().__getattr__(name)


class _Function:
    """A function of ctypes, as far as it is used."""

    restype: Any = None
    argtypes: Any = None

    def __init__(self, body: Callable[..., int]) -> None:
        self._body = body

    def __call__(self, *arguments: Any) -> int:
        return self._body(*arguments)


def _syscall(*_: object) -> int:
    return -1  # their numbers are others


def _proc_pidinfo(pid: int, flavor: int, argument: int, buffer: Any, size: int) -> int:
    with _real_open(f"/proc/{pid}/statm") as statm:
        pages = [int(number) for number in statm.read().split()]
    page = os.sysconf("SC_PAGE_SIZE")
    struct.pack_into("=QQ", buffer, 0, pages[0] * page, pages[1] * page)
    return size


def _sysctlbyname(name: bytes, old: Any, size: Any, new: Any, new_size: int) -> int:
    if name.decode() not in _SYSCTL:
        return -1
    ctypes.cast(old, ctypes.POINTER(ctypes.c_int))[0] = _SYSCTL[name.decode()]
    return 0


_FUNCTIONS: dict[str, Callable[..., int]] = {
    "syscall": _syscall,
    "proc_pidinfo": _proc_pidinfo,
    "sysctlbyname": _sysctlbyname,
}


# kqueue

_READ, _WRITE = -1, -2
_ADD, _DELETE = 0x1, 0x2
_EVENTS = {_READ: _EPOLLIN, _WRITE: _EPOLLOUT}


class _Event(NamedTuple):
    ident: int
    filter: int = _READ
    flags: int = _ADD


class _Queue:
    """kqueue(2) with the filters for descriptors, by means of epoll(7)."""

    def __init__(self) -> None:
        self._epoll = _epoll()
        self._filters: dict[int, set[int]] = {}

    def control(
        self, changes: Iterable[_Event] | None, most: int, timeout: float | None = None
    ) -> list[_Event]:
        for change in changes or ():
            self._change(change)
        if not most:
            return []
        found = []
        for fd, events in self._epoll.poll(timeout, most):
            for number in sorted(self._filters[fd], reverse=True):
                # A broken descriptor is ready for whatever is asked.
                if events & (_EVENTS[number] | ~(_EPOLLIN | _EPOLLOUT)):
                    found.append(_Event(fd, number, 0))
        return found

    def _change(self, change: _Event) -> None:
        fd = change.ident
        filters = self._filters.setdefault(fd, set())
        is_known = bool(filters)
        if change.flags & _DELETE:
            if change.filter not in filters:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            filters.discard(change.filter)
        else:
            filters.add(change.filter)
        mask = sum(_EVENTS[number] for number in filters)
        if not mask:
            self._epoll.unregister(fd)
        elif is_known:
            try:
                self._epoll.modify(fd, mask)
            except FileNotFoundError:  # it was closed, and so forgotten
                self._filters[fd] = {change.filter}
                self._epoll.register(fd, _EVENTS[change.filter])
        else:
            self._epoll.register(fd, mask)


def _add_kqueue() -> None:
    names = {"KQ_FILTER_READ": _READ, "KQ_FILTER_WRITE": _WRITE}
    names |= {"KQ_EV_ADD": _ADD, "KQ_EV_DELETE": _DELETE}
    for name, value in {**names, "kqueue": _Queue, "kevent": _Event}.items():
        setattr(select, name, value)


def _change_name() -> None:
    proxies = types.ModuleType("_scproxy")
    proxies._get_proxy_settings = proxies._get_proxies = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = proxies
    uname = os.uname_result(("Darwin", "mac", "23.0", "Darwin Kernel Version 23.0", os.uname()[4]))
    os.uname = lambda: uname
    sys.platform = "darwin"


_remove_names()
_remove_proc()
_change_limits()
ctypes.CDLL = _Library  # type: ignore[misc]
_add_kqueue()
_change_name()

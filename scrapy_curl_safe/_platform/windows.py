"""Windows."""

from __future__ import annotations

import errno
import mmap
import msvcrt
import os
import re
import socket
import subprocess
import sys
import winreg
from collections.abc import Callable

assert sys.platform == "win32"

import asyncio  # noqa: E402

from . import windows_api  # noqa: E402
from .cgroups import GroupLimits  # noqa: E402
from .network import NetworkLimits  # noqa: E402
from .refusals import Facility  # noqa: E402
from .windows_poller import READABLE, WRITABLE, WindowsPoller  # noqa: E402
from .windows_processes import (  # noqa: E402
    APART,
    describe_exit,
    kill_with_children,
    start_worker,
    take_inherited,
    tie_to_parent,
)
from .windows_sockets import sender  # noqa: E402

__all__ = [
    "APART",
    "CAN_REUSE_PORTS",
    "FIXES",
    "HAS_C_STREAMS",
    "LACKING",
    "NAME",
    "OTHER_VARIABLES",
    "PATH_VARIABLES",
    "READABLE",
    "WRITABLE",
    "available_megabytes",
    "can_open_descriptor",
    "can_watch",
    "choosable_cpus",
    "configuration_directory",
    "confine_worker",
    "copy_into",
    "create_locked_file",
    "create_poller",
    "create_shared_memory",
    "describe_exit",
    "discard",
    "group_limits",
    "kill_with_children",
    "library_of",
    "limit_unsent",
    "max_descriptors",
    "move_to_cpus",
    "network_limits",
    "open_copy",
    "open_descriptors",
    "pass_descriptor",
    "receive_with_descriptors",
    "resident_megabytes",
    "resolver_state",
    "send_buffers",
    "start_worker",
    "take_inherited",
    "tie_to_parent",
    "trim_memory",
    "usable_cpus",
]

NAME = "Windows"
#: Facilities that the system does not have at all.
LACKING: tuple[Facility, ...] = (
    Facility.SHARED_MEMORY,
    Facility.SANDBOX,
    Facility.BATCH_SCHEDULING,
    Facility.AFFINITY,
)
#: Whether a server can have a port that was used a moment ago, and nobody else uses. (On Windows
#: it would have one that others use, too.)
CAN_REUSE_PORTS = False
#: Whether the C library has streams that write to memory.
HAS_C_STREAMS = False
#: By the doctor's check: the command that mends what it finds, as administrator.
FIXES = {
    "local ports": "netsh int ipv4 set dynamicport tcp start=1025 num=64511",
    "TcpTimedWaitDelay": (
        r"reg add HKLM\SYSTEM\CurrentControlSet\Services\Tcpip\Parameters /v TcpTimedWaitDelay "
        "/t REG_DWORD /d 30 /f (and restart Windows)"
    ),
}
#: Variables of the environment that a worker gets, besides those of `environment`. The first ones
#: are paths; Windows finds its own libraries by the others.
PATH_VARIABLES = frozenset({"TEMP", "TMP"})
OTHER_VARIABLES = frozenset(
    {"NUMBER_OF_PROCESSORS", "PROCESSOR_ARCHITECTURE", "SYSTEMDRIVE", "SYSTEMROOT", "WINDIR"}
)
_PARAMETERS = r"SYSTEM\CurrentControlSet\Services\Tcpip\Parameters"
_ASK_TIMEOUT_SECONDS = 10.0
_IS_WRITTEN = "another download writes {}"


# Processes


def confine_worker() -> int:
    """Have this process leave neither boxes nor dumps when it crashes.

    Returns:
        How many descriptors it may open: any number.
    """
    windows_api.show_no_boxes()
    return sys.maxsize


def library_of(function: str) -> str | None:
    """Return None: nothing is loaded here before the system's libraries."""
    return None


# Limits, which Windows does not have


def max_descriptors() -> int:
    return sys.maxsize


def can_open_descriptor() -> bool:
    return True


# Descriptors and sockets


def open_descriptors() -> int:
    """Count this process's open handles."""
    return windows_api.handle_count()


def create_poller() -> tuple[WindowsPoller, int]:
    """Return a poller, and the number of its timeout's units in a second."""
    return WindowsPoller(), 1


def can_watch(loop: object) -> bool:
    """Tell whether an event loop of asyncio watches sockets. That of I/O completion ports, which
    asyncio takes by itself, does not."""
    return not isinstance(loop, asyncio.ProactorEventLoop)


def send_buffers(sock: socket.socket) -> Callable[[list[memoryview]], int]:
    """Return what sends several buffers at once."""
    return sender(sock)


def pass_descriptor(sock: socket.socket, data: memoryview, descriptor: int) -> int:
    """
    Raises:
        OSError: always, since no descriptors are passed here; see `copy_into`.
    """
    raise OSError(errno.EBADF, "no descriptors are passed on this system")


def receive_with_descriptors(
    sock: socket.socket, on_descriptor: Callable[[int | None], None]
) -> Callable[[int], bytes]:
    """Return what receives data; no descriptor comes with it."""
    return sock.recv


def copy_into(pid: int, descriptor: int) -> int:
    """Copy the handle of a file into another process; return the copy.

    Raises:
        OSError: the process has ended, or the system refuses it.
    """
    return windows_api.copy_handle(descriptor, pid)


def open_copy(handle: int) -> int:
    """Return a descriptor for what `copy_into` has made.

    Raises:
        OSError: there is no such handle.
    """
    return msvcrt.open_osfhandle(handle, os.O_BINARY | os.O_NOINHERIT)


def limit_unsent(fd: int, size: int) -> None:
    """Do nothing: Windows has no such option."""


# CPUs


def usable_cpus() -> int:
    """Count the CPUs."""
    return os.cpu_count() or 1


def choosable_cpus() -> tuple[frozenset[int], int] | None:
    """Return None: Windows does not move a process to the CPU of the one that wakes it, which is
    what a choice would be good for."""
    return None


def move_to_cpus(pid: int, cpus: frozenset[int]) -> None:
    """Do nothing, see `choosable_cpus`."""


# Containers


def group_limits() -> GroupLimits:
    """Return none: those of this system's containers are not read."""
    return GroupLimits()


# Memory


def resident_megabytes() -> int:
    """Return the resident memory of this process."""
    return windows_api.working_set_bytes() // 2**20


def available_megabytes() -> int | None:
    """Return the memory that new processes can use."""
    return windows_api.available_bytes() // 2**20


def trim_memory() -> None:
    """Return the heap's spare memory to the system."""
    windows_api.compact_heap()


def create_shared_memory(size_bytes: int) -> int | None:
    """Return None: Windows would reserve all of such memory in its page file, for each worker."""
    return None


def discard(memory: mmap.mmap, offset: int, size: int) -> None:
    """Do nothing, see `create_shared_memory`."""


# The network


def resolver_state() -> tuple[int, ...]:
    """Return a constant: lookups see each change of the system's configuration."""
    return ()


def network_limits() -> NetworkLimits:
    """Read the limits of this system's network."""
    return NetworkLimits(ports=_dynamic_ports(), time_wait=_time_wait())


def _dynamic_ports() -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            ["netsh", "int", "ipv4", "show", "dynamicport", "tcp"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ASK_TIMEOUT_SECONDS,
            check=True,
            **APART,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    # In the user's language: the first port, and how many there are.
    numbers = [int(number) for number in re.findall(rb":\s*(\d+)", answer)]
    if len(numbers) != 2:
        return None
    return numbers[0], numbers[0] + numbers[1] - 1


def _time_wait() -> int | None:
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, _PARAMETERS) as key:
            return int(winreg.QueryValueEx(key, "TcpTimedWaitDelay")[0])
    except (OSError, ValueError):
        return None  # as long as Windows likes


# Files


def configuration_directory() -> str:
    """Return the directory in which programs keep the configuration of a user."""
    home = os.path.join("~", "AppData", "Roaming")
    return os.environ.get("APPDATA") or os.path.expanduser(home)


def create_locked_file(path: str) -> int:
    """Create a file that no other process writes, in place of one that nobody locks any more, since
    the process is gone that did. No symbolic link is followed.

    Returns:
        A descriptor. The lock is gone when all of its copies are closed.

    Raises:
        OSError: another process has locked such a file, or the system refuses a new one.
    """
    try:
        descriptor = windows_api.open_file(path, new=True)
    except FileExistsError:
        _remove_abandoned(path)
        descriptor = windows_api.open_file(path, new=True)
    if not windows_api.lock_file(descriptor):
        os.close(descriptor)
        raise OSError(_IS_WRITTEN.format(path))
    return descriptor


def _remove_abandoned(path: str) -> None:
    descriptor = windows_api.open_file(path, new=False)
    try:
        if not windows_api.lock_file(descriptor):
            raise OSError(_IS_WRITTEN.format(path))
    finally:
        os.close(descriptor)
    os.unlink(path)

"""Landlock: restricts the files that a process may open.

A worker that was compromised from the network finds nothing to read and nothing to write.
See https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator

from .c_library import call
from .environment import AUTHORITY_VARIABLES
from .refusals import Facility, note_refusal
from .resolver import alias_file

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
# How many rights each version of the interface knows and can deny; later versions know at least
# those of the last one here.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
# From version 6 on: deny connections to other processes' abstract sockets, and signals to them.
_SCOPES = 0b11

# Shared libraries, certificate authorities and the files of name lookups on common distributions.
_SYSTEM_PATHS = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/dev/urandom",
    "/proc/self",
)


def landlock_version() -> int:
    """Return the version of the kernel's interface; a number below 1 if it has none."""
    return _syscall(_CREATE_RULESET, None, 0, _GET_VERSION)


def enter_sandbox() -> bool:
    """Forbid this process to open, run or signal anything that a worker does not need.

    The process may read libraries, certificate authorities and the files of name lookups, and may
    write the file that SSLKEYLOGFILE names. Open descriptors stay usable.

    Call this while the process has one thread: other existing threads are not restricted.

    Returns:
        Whether the kernel accepted it.
    """
    try:
        _restrict()
    except OSError as error:
        note_refusal(Facility.SANDBOX, error)
        return False
    return True


def _restrict() -> None:
    """
    Raises:
        OSError: the kernel refuses a part of it. The process may then open any file, since rules
            that omit something it needs would break it.
    """
    version = _check(landlock_version())
    denied = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    rules = struct.pack("=QQQ", denied, 0, _SCOPES) if version >= 6 else struct.pack("=Q", denied)
    ruleset = _check(_syscall(_CREATE_RULESET, rules, len(rules), 0))
    try:
        for path in {*_SYSTEM_PATHS, *_library_paths(), *_configured_paths()}:
            _allow(ruleset, path, _READ_FILE)
        if key_log := os.environ.get("SSLKEYLOGFILE"):
            # Only a file that exists can be allowed.
            with contextlib.suppress(OSError), open(key_log, "ab"):
                _allow(ruleset, key_log, _WRITE_FILE)
        call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _check(_syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _library_paths() -> Iterator[str]:
    """Yield the directories of the loaded modules, which also contain what they load later."""
    yield os.path.dirname(os.__file__)
    for name, module in list(sys.modules.items()):
        if "." not in name and getattr(module, "__file__", None):
            yield from getattr(module, "__path__", None) or [str(module.__file__)]


def _configured_paths() -> Iterable[str]:
    """Return the paths of certificate authorities and host aliases in the environment."""
    authorities = [os.environ.get(name) for name in AUTHORITY_VARIABLES]
    return filter(None, [*authorities, alias_file()])


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # a file that does not exist need not be read
        return
    try:
        if os.path.isdir(path):
            rights |= _READ_DIR
        rule = struct.pack("=Qi", rights, descriptor)
        _check(_syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call by its number. Returns a negative number for an error."""
    return call("syscall", number, *arguments)

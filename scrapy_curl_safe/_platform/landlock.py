"""Landlock: what the network might make of a worker finds nothing to read and nothing to write.

See https://docs.kernel.org/userspace-api/landlock.html. A kernel without it is none the worse.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable, Iterator

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
# Rights that each version of the interface knows, and so can deny; the last counts for later ones.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
# From version 6 on: connections to abstract sockets, and signals, to others than itself.
_SCOPES = 0b11

# Where name lookups, shared libraries and authorities are, on the distributions there are.
_SYSTEM = (
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
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


def landlock_version() -> int:
    """Of the kernel's interface; below 1 where it has none."""
    return _syscall(_CREATE_RULESET, None, 0, _GET_VERSION)


def enter() -> bool:
    """Allow this process to read libraries, authorities and what name lookups need, and no
    other file, and to write, run and signal nothing. (The one file that SSLKEYLOGFILE names
    is written where somebody asked for that.) What is open stays open.

    To be called while there is one thread: only what comes from this one is bound by it.

    Returns:
        Whether the kernel took it.
    """
    version = landlock_version()
    if version < 1:
        return False
    denied = (1 << _RIGHTS[min(version, max(_RIGHTS))]) - 1
    wanted = struct.pack("=QQQ", denied, 0, _SCOPES) if version >= 6 else struct.pack("=Q", denied)
    ruleset = _syscall(_CREATE_RULESET, wanted, len(wanted), 0)
    if ruleset < 0:
        return False
    try:
        for path in {*_SYSTEM, *_libraries(), *_authorities()}:
            _allow(ruleset, path, _READ_FILE)
        if key_log := os.environ.get("SSLKEYLOGFILE"):
            # It must be there to be allowed.
            with contextlib.suppress(OSError), open(key_log, "ab"):
                _allow(ruleset, key_log, _WRITE_FILE)
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        return _syscall(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _libraries() -> Iterator[str]:
    """Where the loaded modules are from; what they load later is beside them."""
    yield os.path.dirname(os.__file__)
    for name, module in list(sys.modules.items()):
        if "." not in name and getattr(module, "__file__", None):
            yield from getattr(module, "__path__", None) or [str(module.__file__)]


def _authorities() -> Iterable[str]:
    return (os.environ[name] for name in _AUTHORITIES if os.environ.get(name))


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(OSError):  # what is not there need not be read
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if os.path.isdir(path):
                rights |= _READ_DIR
            rule = struct.pack("=Qi", rights, descriptor)
            _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
        finally:
            os.close(descriptor)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    """Negative for an error."""
    try:
        syscall = ctypes.CDLL(None).syscall
    except AttributeError:
        return -1
    syscall.restype = ctypes.c_long
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    result: int = syscall(ctypes.c_long(number), *words)
    return result

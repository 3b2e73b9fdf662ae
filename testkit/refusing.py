"""Runs a program to which the system refuses something: ``python -m testkit.refusing WHAT... --
COMMAND...``.

WHAT is the name of a system call and of an errno (``memfd_create=EPERM``), a limit of `setrlimit`
that cannot be raised (``RLIMIT_CORE=0``), or ``/proc`` for no process information at all. The
refusal also applies to all processes that the program starts (seccomp(2)).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import subprocess
import sys

# By machine: the number of AUDIT_ARCH_, and of each call (the kernel's unistd.h).
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    "memfd_create": {"x86_64": 319, "aarch64": 279},
    "ftruncate": {"x86_64": 77, "aarch64": 46},
    "madvise": {"x86_64": 28, "aarch64": 233},
    "prctl": {"x86_64": 157, "aarch64": 167},
    "prlimit64": {"x86_64": 302, "aarch64": 261},
    "sched_setaffinity": {"x86_64": 203, "aarch64": 122},
    "sched_getaffinity": {"x86_64": 204, "aarch64": 123},
    "sched_setscheduler": {"x86_64": 144, "aarch64": 119},
    "landlock_create_ruleset": {"x86_64": 444, "aarch64": 444},
    "landlock_add_rule": {"x86_64": 445, "aarch64": 445},
    "landlock_restrict_self": {"x86_64": 446, "aarch64": 446},
    "epoll_create1": {"x86_64": 291, "aarch64": 20},
}
IS_SUPPORTED = sys.platform == "linux" and platform.machine() in _ARCHITECTURES

# Of prctl(2), capabilities(7) and unshare(2).
_PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_CAP_SYS_RESOURCE = 24
# Of linux/bpf_common.h and linux/seccomp.h.
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_OFFSET_OF_NUMBER, _OFFSET_OF_ARCHITECTURE = 0, 4

_libc = ctypes.CDLL(None, use_errno=True)


def command(*what: str) -> list[str]:
    """Return the words to put before a command."""
    return [sys.executable, "-m", "testkit.refusing", *what, "--"]


def filter_program(refused: dict[str, int]) -> bytes:
    """Return a BPF filter that makes these calls fail with these errnos."""
    machine = platform.machine()
    code = [
        (_LOAD_WORD, 0, 0, _OFFSET_OF_ARCHITECTURE),
        (_JUMP_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD_WORD, 0, 0, _OFFSET_OF_NUMBER),
    ]
    for name, number in refused.items():
        code += [
            (_JUMP_IF_EQUAL, 0, 1, _CALLS[name][machine]),
            (_RETURN, 0, 0, _ERRNO | number),
        ]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def refuse_calls(refused: dict[str, int]) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    code = filter_program(refused)
    program = Program(len(code) // 8, code)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program))


def _prctl(option: int, value: int, pointer: object = None) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), pointer, None, None):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def main() -> None:
    separator = sys.argv.index("--")
    calls = {}
    for what in sys.argv[1:separator]:
        name, _, value = what.partition("=")
        if name.startswith("RLIMIT_"):
            resource.setrlimit(getattr(resource, name), (int(value), int(value)))
        elif name == "/proc":
            subprocess.run(["mount", "-t", "tmpfs", "none", "/proc"], check=True)
        else:
            calls[name] = getattr(errno, value)
    if os.geteuid() == 0:
        # Root may raise any limit.
        _prctl(_PR_CAPBSET_DROP, _CAP_SYS_RESOURCE)
    if calls:
        refuse_calls(calls)
    os.execvp(sys.argv[separator + 1], sys.argv[separator + 1 :])


if __name__ == "__main__":
    main()

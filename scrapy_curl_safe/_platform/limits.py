"""The system's limits on a process: core dumps, descriptors, threads."""

from __future__ import annotations

import _thread
import os
import sys

from .refusals import Facility, note_refusal

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Raised by setrlimit(2): ValueError if an unprivileged process asks for more than its hard limit.
_REFUSED = (OSError, ValueError)


def forbid_core_dumps() -> None:
    """Keep cookies and passwords out of core files.

    The limit is one byte, since zero does not stop a dump that `kernel.core_pattern` pipes to a
    program (core(5)). It stays zero if an administrator has set it to zero.
    """
    if resource is not None:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        except _REFUSED as error:
            note_refusal(Facility.CORE_LIMIT, error)


def max_descriptors() -> int:
    """Return how far `raise_descriptor_limit` can raise the limit; `sys.maxsize` if there is no
    bound or it is unknown."""
    if resource is None:
        return sys.maxsize
    try:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    except _REFUSED:
        return sys.maxsize
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors, often 1,024, to the hard limit.

    Returns:
        The limit now in force; `sys.maxsize` if there is none or it is unknown.
    """
    if resource is None:
        return sys.maxsize
    soft = resource.RLIM_INFINITY
    try:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except _REFUSED as error:
        note_refusal(Facility.DESCRIPTOR_LIMIT, error)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def open_descriptors() -> int:
    """Count this process's open descriptors; 0 if unknown."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0


def can_open_descriptor() -> bool:
    try:
        os.close(os.dup(0))
    except OSError:
        return False
    return True


def can_start_thread() -> bool:
    try:
        _thread.start_new_thread(lambda: None, ())
    except (RuntimeError, MemoryError):
        return False
    return True

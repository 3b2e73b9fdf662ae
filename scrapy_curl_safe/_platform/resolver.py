"""Watches the files that the C library's name lookups depend on."""

from __future__ import annotations

import os

# Read when a name is looked up, and replaced by the network manager.
_CONFIGURATION = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")


def alias_file() -> str | None:
    """Return the path of the file that each lookup reads again (hostname(7)); None if there is
    none."""
    return os.environ.get("HOSTALIASES") or None


def resolver_state() -> tuple[int, ...]:
    """Return a value that changes with the configuration of name lookups."""
    aliases = alias_file()
    paths = _CONFIGURATION if aliases is None else (*_CONFIGURATION, aliases)
    return tuple(map(_inode, paths))


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0

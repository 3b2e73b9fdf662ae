"""Watches the configuration of the system's name lookups."""

from __future__ import annotations

import os

from .redirects import alias_file

# Read when a name is looked up, and replaced by the network manager.
_CONFIGURATION = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")


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

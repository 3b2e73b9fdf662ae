"""Files that one process writes, and that tell others so by a lock."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_MODE = 0o666  # without the umask
# Windows has neither.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_NOT_BLOCKING = getattr(os, "O_NONBLOCK", 0)
_IS_WRITTEN = "another download writes {}"


def create_locked_file(path: str) -> int:
    """Create a file that no other process writes, in place of one that nobody locks any more, since
    the process is gone that did. No symbolic link is followed.

    Returns:
        A descriptor. The lock is gone when all of its copies are closed.

    Raises:
        OSError: another process has locked such a file, or the system refuses a new one.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK
    try:
        descriptor = os.open(path, flags, _MODE)
    except FileExistsError:
        _remove_abandoned(path)
        descriptor = os.open(path, flags, _MODE)
    if not _lock(descriptor):
        os.close(descriptor)
        raise OSError(_IS_WRITTEN.format(path))
    return descriptor


def _remove_abandoned(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | _NO_LINK | _NOT_BLOCKING)
    try:
        if not _lock(descriptor):
            raise OSError(_IS_WRITTEN.format(path))
        os.unlink(path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock a file, where the file system can; return False if another process has locked it."""
    if fcntl is not None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass
    return True

"""The directory of a media pipeline, for bodies that its store has not taken yet.

Beside it is a file that the process keeps locked until the directory is gone, so a directory whose
file nobody locks is what a crawl left that was killed. Its name has the host's, since there are
file systems that many hosts share, and whose locks hold on one of them alone.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import secrets
import socket

from .._platform.system import system

logger = logging.getLogger(__name__)

_LOCK = ".lock"
_HEX = "[0-9a-f]{32}"
_BODY = re.compile(rf"{_HEX}(\.part)?")


class MediaDirectory:
    """A directory for the bodies of one pipeline, which is removed with all of them when it is
    closed, or else when the process ends. What crawls of this host have left is removed at once.

    Nothing is raised where the system refuses it: the downloads say why.

    Args:
        parent: where it is.
    """

    def __init__(self, parent: str) -> None:
        host = re.sub(r"[^A-Za-z0-9.-]", "_", socket.gethostname())[:64]
        self._stem = f".curl_safe-{host}-"
        self._path = os.path.join(parent, self._stem + secrets.token_hex(16))
        self._lock: int | None = None
        # A second Ctrl-C ends the crawl without a signal of Scrapy's.
        atexit.register(self.close)
        with contextlib.suppress(OSError):
            os.makedirs(parent, exist_ok=True)
            self._lock = system.create_locked_file(self._path + _LOCK)
            os.mkdir(self._path, 0o700)
            if self._locks_hold():
                self._remove_abandoned(parent)

    def new_path(self) -> str:
        """Return the path of a body."""
        return os.path.join(self._path, secrets.token_hex(16))

    def close(self) -> None:
        """Remove it, unless that was done before."""
        atexit.unregister(self.close)
        _remove(self._path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _locks_hold(self) -> bool:
        """Tell whether the file system has locks: without them, any directory may be in use."""
        try:
            os.close(system.create_locked_file(self._path + _LOCK))
        except OSError:
            return True
        return False

    def _remove_abandoned(self, parent: str) -> None:
        name = re.compile(re.escape(self._stem) + _HEX)
        owner = os.stat(self._path).st_uid
        with os.scandir(parent) as entries:
            found = [
                entry.path
                for entry in entries
                if name.fullmatch(entry.name)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == owner
            ]
        for path in found:
            # Without its file, a directory is about to be removed.
            if path == self._path or not os.path.lexists(path + _LOCK):
                continue
            with contextlib.suppress(OSError):
                lock = system.create_locked_file(path + _LOCK)
                _remove(path)
                os.close(lock)
                logger.info("Removed %s, which a crawl had left that was killed", path)


def _remove(path: str) -> None:
    """Remove a directory with the bodies in it, and then the file that is locked for it."""
    with contextlib.suppress(OSError):
        for name in filter(_BODY.fullmatch, os.listdir(path)):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(path, name))
        os.rmdir(path)
    with contextlib.suppress(OSError):
        os.unlink(path + _LOCK)

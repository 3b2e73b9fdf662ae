"""The file that a body goes to. The crawler has opened it: a worker in its sandbox cannot."""

from __future__ import annotations

import hashlib
import io

from .._ipc.body_files import FileOrder, WrittenFile

# Read, and hashed, without a look at anything else.
_SLICE_BYTES = 1024 * 1024


class BodyFile:
    """A file, and the digests of what is in it.

    What is written goes to the system's cache, and seldom waits for a disk.

    Args:
        fd: descriptor of the file, which this object owns; closed when the object is gone.
        order: what to do with it.

    Attributes:
        order: see above.
        size: bytes that are in the file, and in its digests.
    """

    def __init__(self, fd: int, order: FileOrder) -> None:
        self.order = order
        self.size = 0
        self._file = io.FileIO(fd, "r+")
        self._start()

    def _start(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if self.order.md5 else None

    def read_on(self) -> bool:
        """Take the next slice of what an earlier download has left into the digests.

        Returns:
            False once all is read.

        Raises:
            OSError: it cannot be read, or something is missing.
        """
        missing = self.order.offset - self.size
        self._file.seek(self.size)
        data = self._file.read(min(missing, _SLICE_BYTES)) or b""
        if missing and not data:
            raise OSError(f"it has {self.size:,} bytes in place of {self.order.offset:,}")
        self._take(data)
        if self.size < self.order.offset:
            return True
        self._file.seek(self.size)
        return False

    def restart(self) -> None:
        """Begin with an empty file.

        Raises:
            OSError: the file cannot be emptied.
        """
        self._file.seek(0)
        self._file.truncate()
        self._start()

    def write(self, data: bytes) -> None:
        """Write a piece of the body behind what is there.

        Raises:
            OSError: the system takes no more.
        """
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._take(data)

    def _take(self, data: bytes) -> None:
        self.size += len(data)
        self._sha256.update(data)
        if self._md5 is not None:
            self._md5.update(data)

    def written(self, encoding: bytes | None) -> WrittenFile:
        """Return what is in the file.

        Args:
            encoding: its Content-Encoding; None for that of the response.
        """
        return WrittenFile(
            size=self.size,
            sha256=self._sha256.digest(),
            md5=None if self._md5 is None else self._md5.digest(),
            encoding=encoding,
        )

    def close(self) -> None:
        self._file.close()

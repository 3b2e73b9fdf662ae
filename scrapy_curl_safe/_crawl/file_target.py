"""The files that bodies go to, and what is left of them when a download fails.

A body goes to a file with `.part` after its final name, which it gets once it is whole. The crawler
opens the file and passes the descriptor; no worker ever opens one. A lock on the file tells whether
a download writes it; a part without one is what a process left that was killed.

A part that can be gone on with stays open until its request is tried again, or the crawl ends, be
it by force. Nothing else of an unfinished download stays.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import re
import stat
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace
from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadCancelledError

from .._ipc.body_files import FileOrder, WrittenFile
from .._ipc.messages import HeaderPairs, ResponseHead
from .._platform.system import system
from .._pool.errors import OriginRejectedError, PoolError, WorkerLostError
from ..exceptions import ConnectionDiedError, HandshakeError, Http2ProtocolError
from ..settings import Settings
from .meta import MD5

#: The flag of a response whose body is in a file.
FILE_FLAG = "file"
_PART = ".part"
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,10}")
# Between the times of a change and of the answer, for the former to tell versions apart.
_LEAST_AGE_SECONDS = 60
_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileTargets:
    """The files of a crawl.

    Args:
        crawler: whose they are.
        settings: of the crawl.
    """

    def __init__(self, crawler: Crawler, settings: Settings) -> None:
        self._crawler = crawler
        self._settings = settings
        # All that are not whole; and by path of the part, those of them that wait for a retry.
        self._open: set[FileTarget] = set()
        self._kept: dict[str, FileTarget] = {}

    def open(self, request: Request, options: dict[str, Any]) -> FileTarget:
        """Return the file of a request: a new one, or what its last try has left.

        Args:
            options: of its meta, checked.

        Raises:
            DownloadCancelledError: no file can be created.
            ValueError: the request does not say where, or leaves CURL_SAFE_FILES_DIR; what is there
                is no regular file.
        """
        path = self._path(request, options["file"])
        is_resumable = _asks_for_all(request, options)
        kept = self._kept.pop(path + _PART, None)
        if kept is not None:
            if kept.url == request.url and is_resumable:
                return kept
            self.release(kept)
        decode = self._crawler.settings.getbool("COMPRESSION_ENABLED")
        order = FileOrder(
            takes_part=b"range" in _header_names(request, options),
            decode=decode,
            md5=request.meta.get(MD5, False),
        )
        for existing in (path, path + _PART):
            if kind := _kind_of_special(existing):
                raise ValueError(
                    f'meta["curl_safe"]["file"] is {path}: {existing} is {kind}, which no download '
                    "replaces"
                )
        try:
            target = FileTarget(path, request.url, order, is_resumable=is_resumable)
        except OSError as error:
            raise cannot_write(path, error) from error
        if not self._open:
            # A second Ctrl-C ends the crawl without a signal of Scrapy's.
            atexit.register(self.close)
        self._open.add(target)
        return target

    def release(self, target: FileTarget) -> None:
        """Remove a file that is neither whole nor kept."""
        if self._kept.get(target.part) is target:
            return
        target.close()
        self._open.discard(target)
        if not self._open:
            atexit.unregister(self.close)

    def keep(
        self, target: FileTarget, request: Request, error: Exception, head: ResponseHead | None
    ) -> None:
        """Keep a file for a retry, if one is likely, and can go on from where the file ends.

        Args:
            error: of the transfer, which is over, or of the pool.
            head: of the response; None if none has come.
        """
        if (
            target in self._open
            and self._is_retried(request, error)
            and target.prepare_resumption(head)
        ):
            self._kept[target.part] = target

    def close(self) -> None:
        """Remove all that is not whole."""
        self._kept.clear()
        for target in list(self._open):
            self.release(target)

    def _is_retried(self, request: Request, error: Exception) -> bool:
        """Tell whether a request will probably be tried again, and no worker writes its file
        now."""
        settings, meta = self._settings, request.meta
        most = meta.get("max_retry_times")
        if not settings.retry_enabled or meta.get("dont_retry", False) or most == 0:
            return False
        if isinstance(error, PoolError):
            return isinstance(error, (WorkerLostError, OriginRejectedError))
        if isinstance(error, (ConnectionDiedError, HandshakeError, Http2ProtocolError)):
            return True  # by this package's middleware
        return bool(meta.get("retry_times", 0) < (settings.retry_times if most is None else most))

    def _path(self, request: Request, value: str | bool) -> str:
        directory = self._settings.files_dir
        if isinstance(value, bool):
            if directory is None:
                raise ValueError(
                    'meta["curl_safe"]["file"] is True, and CURL_SAFE_FILES_DIR does not say where'
                )
            fingerprinter = self._crawler.request_fingerprinter
            assert fingerprinter is not None
            suffix = os.path.splitext(urlsplit(request.url).path)[1]
            name = fingerprinter.fingerprint(request).hex()
            value = name + suffix if _SUFFIX.fullmatch(suffix) else name
        elif not os.path.isabs(value) and os.pardir in value.split(os.sep):
            raise ValueError(f'meta["curl_safe"]["file"] is {value!r}: a relative path has no ".."')
        return os.path.abspath(os.path.join(directory or "", value))


class FileTarget:
    """The file of one request, and of its retries.

    Args:
        path: its final path.
        url: of the request.
        order: for the worker.
        is_resumable: whether a retry may go on from where a try has ended.

    Attributes:
        path: see above; so are url and order.
        part: its path until it is whole.
        descriptor: of the file; -1 once it is closed.

    Raises:
        OSError: it cannot be created, or another download writes it.
    """

    def __init__(self, path: str, url: str, order: FileOrder, *, is_resumable: bool) -> None:
        self.path = path
        self.part = path + _PART
        self.url = url
        self.order = order
        self._is_resumable = is_resumable
        self._validator: bytes | None = None
        directory = os.path.dirname(path)
        try:
            os.makedirs(directory, exist_ok=True)
        except FileExistsError:
            raise OSError(f"{directory} is not a directory") from None
        self.descriptor = system.create_locked_file(self.part)

    def __repr__(self) -> str:
        return f"<FileTarget {self.path}>"

    def range_headers(self) -> HeaderPairs:
        """Return what asks the origin to go on from where the file ends, if nothing has changed."""
        if not self.order.offset:
            return []
        return [(b"Range", b"bytes=%d-" % self.order.offset), (b"If-Range", self._validator)]

    def prepare_resumption(self, head: ResponseHead | None) -> bool:
        """Have the next try go on from where the file ends; return False if that is not possible.

        Args:
            head: of this try's response; None if none has come.
        """
        if head is not None and head.status != HTTPStatus.PARTIAL_CONTENT:
            self._validator = _validator(head)
        self.order = replace(self.order, offset=os.fstat(self.descriptor).st_size)
        return self._is_resumable and self._validator is not None and self.order.offset > 0

    def finish(self, written: WrittenFile) -> dict[str, Any]:
        """Give the file its final name.

        Returns:
            What `curl_safe_info` says of it.

        Raises:
            DownloadCancelledError: the system refuses it.
        """
        try:
            size = os.fstat(self.descriptor).st_size
            if size != written.size:
                raise OSError(
                    f"it has {size:,} bytes and not the {written.size:,} that were written, so "
                    "something else writes it, too"
                )
            if kind := _kind_of_special(self.path):
                raise OSError(f"by now it is {kind}, which no download replaces")
            os.replace(self.part, self.path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self._close()
        info = {"path": self.path, "size": size, "sha256": written.sha256.hex()}
        if written.md5 is not None:
            info["md5"] = written.md5.hex()
        if written.encoding:
            info["encoding"] = written.encoding.decode("latin-1")
        return info

    def close(self) -> None:
        """Remove the file, unless it is whole."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self.part)
            self._close()

    def _close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1


def cannot_write(path: str, error: OSError | str) -> DownloadCancelledError:
    """Return the exception of a file that cannot be written: a retry would fare no better."""
    reason = error if isinstance(error, str) else error.strerror or error
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        reason = f"{reason} (until it is whole, its name ends in {_PART})"
    return DownloadCancelledError(f"The body cannot be written to {path}: {reason}")


def _kind_of_special(path: str) -> str | None:
    """Return what is there, or what a symbolic link leads to; None for a regular file or nothing.

    What cannot be told shows when the file is created.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "no regular file")


def _asks_for_all(request: Request, options: dict[str, Any]) -> bool:
    """Tell whether a request asks for a whole representation, so that a retry may ask for a
    range."""
    return (
        request.method == "GET"
        and "raw_headers" not in options
        and _header_names(request, options).isdisjoint((b"range", b"if-range"))
    )


def _header_names(request: Request, options: dict[str, Any]) -> set[bytes]:
    """Return the names of a request's own headers, in small letters."""
    if "raw_headers" in options:
        return {name.lower() for name, _ in options["raw_headers"]}
    return {name.lower() for name in request.headers}


def _validator(head: ResponseHead) -> bytes | None:
    """Return what tells whether a representation is still the same (RFC 9110, section 13.1.5);
    None if nothing does, or its file is no copy of it."""
    headers = {name.lower(): value for name, value in head.headers}
    if head.status != HTTPStatus.OK or b"content-encoding" in headers:
        return None
    if headers.get(b"accept-ranges", b"").strip().lower() == b"none":
        return None
    etag = headers.get(b"etag", b"")
    if etag.startswith(b'"'):
        return etag
    if etag:
        return None
    with contextlib.suppress(KeyError, TypeError, ValueError):
        changed, sent = (
            parsedate_to_datetime(headers[name].decode("latin-1"))
            for name in (b"last-modified", b"date")
        )
        if (sent - changed).total_seconds() >= _LEAST_AGE_SECONDS:
            return headers[b"last-modified"]
    return None

"""Scrapy's FilesPipeline and ImagesPipeline, with bodies that never pass through memory.

A body goes to a file in a directory of the pipeline's own, and from there to the store. Where
another handler downloads, or Scrapy's cache answers, the pipelines are Scrapy's own.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from scrapy import Request, signals
from scrapy.http import Response
from scrapy.pipelines import files, images
from scrapy.pipelines.media import FileInfo, MediaPipeline
from scrapy.utils.defer import ensure_awaitable
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ._crawl.file_target import FILE_FLAG
from ._crawl.media_directory import MediaDirectory
from ._crawl.meta import MD5

if TYPE_CHECKING:
    from PIL import Image

SpiderInfo = MediaPipeline.SpiderInfo


class _InFile(bytes):
    """The body of a response whose file is not empty. It has no bytes, but it is true: Scrapy takes
    a response without a body for a failure."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class _StoredFile(io.FileIO):
    """A file that a store takes in place of an `io.BytesIO`."""

    def getvalue(self) -> bytes:
        """Return all of it, for stores that cannot read from a file."""
        self.seek(0)
        return self.readall()


class _InFiles(files.FilesPipeline):
    """The common part of both pipelines."""

    _needs_md5: ClassVar[bool] = False
    _directory: MediaDirectory | None = None

    def media_to_download(
        self, request: Request, info: SpiderInfo, *, item: Any = None
    ) -> Deferred[FileInfo | None] | None:
        options = request.meta.get("curl_safe")
        if options is None or isinstance(options, dict):
            if self._directory is None:
                self._directory = MediaDirectory(self._parent())
                self.crawler.signals.connect(self._directory.close, signals.spider_closed)
            path = self._directory.new_path()
            request.meta["curl_safe"] = {**(options or {}), "file": path}
            if self._needs_md5:
                request.meta[MD5] = True
        return super().media_to_download(request, info, item=item)

    def _parent(self) -> str:
        """Return where bodies go first: to where a local store keeps them, so that it need only
        rename them."""
        if isinstance(self.store, files.FSFilesStore):
            return os.path.abspath(self.store.basedir)
        directory = self.crawler.settings["CURL_SAFE_FILES_DIR"]
        return os.path.abspath(directory or tempfile.gettempdir())

    async def media_downloaded(
        self, response: Response, request: Request, info: SpiderInfo, *, item: Any = None
    ) -> FileInfo:
        file = _file_of(response)
        if file is None:
            return await super().media_downloaded(response, request, info, item=item)
        if file["size"]:
            response = response.replace(body=_InFile())
        try:
            return await super().media_downloaded(response, request, info, item=item)
        finally:
            _remove(file["path"])

    def media_failed(self, failure: Failure, request: Request, info: SpiderInfo) -> NoReturn:
        options = request.meta.get("curl_safe")
        if isinstance(options, dict) and "file" in options:
            # A middleware may have refused the response.
            _remove(options["file"])
        super().media_failed(failure, request, info)


class FilesPipeline(_InFiles):
    """Scrapy's FilesPipeline for files of any size.

    See https://docs.scrapy.org/en/latest/topics/media-pipeline.html. `response.body` is empty in
    its methods; `response.meta["curl_safe_info"]["file"]` says where the body is.
    """

    _needs_md5 = True

    async def file_downloaded(
        self, response: Response, request: Request, info: SpiderInfo, *, item: Any = None
    ) -> str:
        file = _file_of(response)
        if file is None:
            return await ensure_awaitable(
                super().file_downloaded(response, request, info, item=item)
            )
        path = self.file_path(request, response=response, info=info, item=item)
        if type(self.store).persist_file is files.FSFilesStore.persist_file:
            assert isinstance(self.store, files.FSFilesStore)
            stored = Path(self.store.basedir, *path.split("/"))
            stored.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file["path"], stored)
        else:
            with _open(file["path"]) as body:
                await ensure_awaitable(self.store.persist_file(path, body, info))
        checksum: str = file["md5"]
        return checksum


class ImagesPipeline(_InFiles, images.ImagesPipeline):
    """Scrapy's ImagesPipeline, which opens images from files.

    See https://docs.scrapy.org/en/latest/topics/media-pipeline.html. `response.body` is empty in
    its methods; `response.meta["curl_safe_info"]["file"]` says where the body is.
    """

    def get_images(
        self, response: Response, request: Request, info: SpiderInfo, *, item: Any = None
    ) -> Iterator[tuple[str, Image.Image, io.BytesIO]]:
        file = _file_of(response)
        if file is None:
            yield from super().get_images(response, request, info, item=item)
            return
        from PIL import Image, ImageOps  # noqa: PLC0415

        with _open(file["path"]) as body, Image.open(body) as opened:
            upright = ImageOps.exif_transpose(opened)
            width, height = upright.size
            if width < self.min_width or height < self.min_height:
                raise images.ImageException(
                    f"Image too small ({width}x{height} < {self.min_width}x{self.min_height})"
                )
            image, data = self.convert_image(upright, response_body=body)
            yield self.file_path(request, response=response, info=info, item=item), image, data
            for name, size in self.thumbs.items():
                path = self.thumb_path(request, name, response=response, info=info, item=item)
                yield path, *self.convert_image(image, size, response_body=data)


def _file_of(response: Response) -> dict[str, Any] | None:
    """Return what is known about the file that has a response's body; None if none has it."""
    if FILE_FLAG not in response.flags:
        return None
    file: dict[str, Any] = response.meta["curl_safe_info"]["file"]
    return file


def _open(path: str) -> io.BytesIO:
    """Open a file for a store, or for another method of Scrapy's that takes an `io.BytesIO`."""
    return cast("io.BytesIO", _StoredFile(path))


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)

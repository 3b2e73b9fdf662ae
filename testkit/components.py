"""Extensions, pipelines and handlers that crawls load by their import path."""

from __future__ import annotations

import io
import resource
import shutil
from pathlib import Path
from typing import IO, ClassVar, NoReturn

import curl_cffi
import curl_cffi.requests
import psutil
import scrapy
from scrapy import signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadFailedError
from scrapy.http import Response, TextResponse
from scrapy.pipelines.files import FTPFilesStore, GCSFilesStore, S3FilesStore
from scrapy.utils.misc import build_from_crawler

from scrapy_curl_safe import CurlSafeDownloadHandler, FilesPipeline
from scrapy_curl_safe._crawl.context import context_of
from testkit.waiting import until


class NoDescriptorLeft:
    """An extension that keeps the process from opening more files: Scrapy builds extensions before
    download handlers."""

    def __init__(self) -> None:
        used = psutil.Process().num_fds()
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))


class BodiesInHand:
    """An extension that records in the stat `bodies_in_hand` the most bytes of responses that
    Scrapy works on at once."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self._response_received, signals.response_received)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> BodiesInHand:
        return cls(crawler)

    def _response_received(self, response: Response) -> None:
        assert self._crawler.engine is not None
        assert self._crawler.stats is not None
        slot = self._crawler.engine.scraper.slot
        assert slot is not None
        in_hand = slot.active_size + len(response.body)
        self._crawler.stats.max_value("bodies_in_hand", in_hand)


class LateEngine:
    """An extension that delays the engine's start until no worker can be started any more."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        crawler.signals.connect(self._engine_started, signals.engine_started)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> LateEngine:
        return cls(crawler)

    async def _engine_started(self) -> None:
        context = context_of(self._crawler)
        assert context is not None
        await until(lambda: context.pool.exhausted is not None)


class BrokenPipeline:
    def __init__(self) -> None:
        raise RuntimeError("this pipeline cannot be made")

    def process_item(self, item: object) -> object:
        return item


class StatsInPipeline:
    """A pipeline that records in the stat `seen_at_close` what it sees of two others when it is
    closed."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> StatsInPipeline:
        return cls(crawler)

    def process_item(self, item: object) -> object:
        return item

    def close_spider(self) -> None:
        stats = self._crawler.stats
        assert stats is not None
        keys = ("curl_safe/handshake/failure_rate", "log_count/WARNING")
        stats.set_value("seen_at_close", [stats.get_value(key) for key in keys])


class InProcessHandler:
    """A download handler like other packages': curl_cffi in the crawler's own process."""

    lazy = True

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> InProcessHandler:
        return cls()

    async def download_request(self, request: scrapy.Request) -> Response:
        async with curl_cffi.requests.AsyncSession[curl_cffi.Response](verify=False) as session:
            response = await session.get(request.url)
        return TextResponse(request.url, body=response.content)

    async def close(self) -> None:
        pass


class LazyHandler(CurlSafeDownloadHandler):
    """A subclass that Scrapy builds when its first request comes."""

    lazy = True


class CompositeHandler:
    """A handler that builds others on demand, and closes each as often as it was used."""

    lazy = True

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._used: list[CurlSafeDownloadHandler] = []

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> CompositeHandler:
        return cls(crawler)

    async def download_request(self, request: scrapy.Request) -> Response:
        if not self._used:
            self._used.append(build_from_crawler(CurlSafeDownloadHandler, self._crawler))
        self._used.append(self._used[0])
        return await self._used[0].download_request(request)

    async def close(self) -> None:
        for handler in self._used:
            await handler.close()


class WrappingInProcessHandler(InProcessHandler):
    """The same handler, but with curl_cffi's errors turned into Scrapy's."""

    async def download_request(self, request: scrapy.Request) -> Response:
        try:
            return await super().download_request(request)
        except curl_cffi.CurlError as error:
            raise DownloadFailedError("wrapped") from error


class FolderClient:
    """A client of S3 whose keys are paths of files."""

    def put_object(self, *, Key: str, Body: IO[bytes], **fields: object) -> None:  # noqa: N803
        assert not isinstance(Body, io.BytesIO)
        Path(Key).parent.mkdir(parents=True, exist_ok=True)
        with Path(Key).open("wb") as file:
            shutil.copyfileobj(Body, file)

    def head_object(self, **fields: object) -> NoReturn:
        raise KeyError("there is none")


class FolderStore(S3FilesStore):
    """Scrapy's store for S3, for `s3://bucket/` and the path of a directory."""

    def __init__(self, uri: str) -> None:
        self.s3_client = FolderClient()
        self.bucket, self.prefix = uri.removeprefix("s3://").split("/", 1)


class S3Pipeline(FilesPipeline):
    STORE_SCHEMES: ClassVar = {"s3": FolderStore, "gs": GCSFilesStore, "ftp": FTPFilesStore}

"""The media pipelines: what they make of a site, beside Scrapy's own, and the memory they take."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from testkit.crawling import Crawl, Crawled
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.raw import HOLD, Piece, RawOrigin
from testkit.origins.tls import TlsOrigin
from testkit.processes import resident_mb
from testkit.scenario import WAYS, Scenario, Way
from testkit.waiting import wait_until

PDF = os.urandom(300_000)
TEXT = b"".join(b"line %d\n" % n for n in range(20_000))


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot(size, (-2, -1, 1, 1), 30).convert(mode).save(out, kind)
    return out.getvalue()


def turned() -> bytes:
    """Return a picture whose Exif says that it lies on its side."""
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.open(io.BytesIO(picture("JPEG"))).save(out, "JPEG", exif=exif)
    return out.getvalue()


REPLIES = {
    "/page": Reply(body=b"page"),
    "/a.pdf": Reply(body=PDF),
    "/text.txt": Reply(headers=[(b"Content-Encoding", b"gzip")], body=gzip.compress(TEXT)),
    "/old.pdf": Reply(status=302, headers=[(b"Location", b"/a.pdf")], body=b"moved"),
    "/created.bin": Reply(status=201, body=b"201"),
    "/none.pdf": Reply(status=404, body=b"404"),
    "/broken.pdf": Reply(status=500, body=b"500"),
    "/empty.pdf": Reply(),
    "/no_name": Reply(body=b"abc"),
    "/a.jpg": Reply(body=picture("JPEG")),
    "/turned.jpg": Reply(body=turned()),
    "/a.png": Reply(body=picture("PNG", "RGBA")),
    "/palette.gif": Reply(body=picture("GIF", "P")),
    "/small.png": Reply(body=picture("PNG", size=(10, 10))),
    "/no.png": Reply(body=b"no picture"),
}


def app(request: SeenRequest) -> Reply:
    return REPLIES[request.path]


class Media:
    """The item, files and stats that a pipeline has made of some URLs."""

    def __init__(self, crawled: Crawled, feed: Path, store: Path) -> None:
        (self.item,) = json.loads(feed.read_text())
        self.stored = {
            str(path.relative_to(store)): path.read_bytes()
            for path in store.rglob("*")
            if path.is_file()
        }
        self.stats = {k: v for k, v in crawled.stats.items() if k.startswith("file_")}
        self.log = crawled.log


def run_pipeline(
    crawl: RunCrawl, origin: TlsOrigin, name: str, directory: Path, *paths: str, **settings: Any
) -> Media:
    """Crawl a page whose item has these files, with stores and feeds of their own."""
    directory.mkdir()
    feed, store = directory / "items.json", directory / "store"
    crawled = crawl(
        f"{origin.url}/page",
        scenario=Scenario(file_urls=tuple(origin.url + path for path in paths)),
        **{
            "ITEM_PIPELINES": {name: 1},
            "FILES_STORE": str(store),
            "IMAGES_STORE": str(store),
            "IMAGES_URLS_FIELD": "file_urls",
            "FEEDS": {str(feed): {"format": "json"}},
            "RETRY_TIMES": 0,
            **settings,
        },
    )
    return Media(crawled, feed, store)


SCRAPYS = "scrapy.pipelines.files.FilesPipeline"
OURS = "scrapy_curl_safe.FilesPipeline"
PATHS = ("/a.pdf", "/text.txt", "/old.pdf", "/created.bin", "/none.pdf", "/broken.pdf")
MORE_PATHS = (*PATHS, "/empty.pdf", "/no_name", "/a.pdf")


@pytest.mark.parametrize("redirects", [False, True])
def test_the_results_are_scrapys(crawl: RunCrawl, tmp_path: Path, redirects: bool) -> None:
    with TlsOrigin(app) as origin:
        scrapys, ours = (
            run_pipeline(
                crawl,
                origin,
                name,
                tmp_path / name,
                *MORE_PATHS,
                MEDIA_ALLOW_REDIRECTS=redirects,
            )
            for name in (SCRAPYS, OURS)
        )
    assert ours.item == scrapys.item
    assert ours.stored == scrapys.stored
    assert ours.stats == scrapys.stats
    assert PDF in ours.stored.values()
    assert TEXT in ours.stored.values()
    assert {"(empty-content)", "(code: 404)", "(code: 201)"} <= set(
        re.findall(r"\((?:empty-content|code: \d+)\)", ours.log)
    )


@pytest.mark.parametrize("way", ["epoll", "none"])
def test_they_run_in_other_ways(crawl: RunCrawl, tmp_path: Path, way: Way) -> None:
    with TlsOrigin(app) as origin:
        made = run_pipeline(crawl, origin, OURS, tmp_path / "x", *PATHS, way=way)
    assert len(made.stored) == 2
    assert [file["checksum"] for file in made.item["files"]] == [
        hashlib.md5(body).hexdigest() for body in (PDF, TEXT)
    ]


def test_what_is_up_to_date_is_not_fetched_again(crawl: RunCrawl, tmp_path: Path) -> None:
    with TlsOrigin(app) as origin:
        first = run_pipeline(crawl, origin, OURS, tmp_path / "x", "/a.pdf")
        store = str(tmp_path / "x" / "store")
        second = run_pipeline(crawl, origin, OURS, tmp_path / "y", "/a.pdf", FILES_STORE=store)
        assert [request.path for request in origin.requests].count("/a.pdf") == 1
    (one,), (two,) = first.item["files"], second.item["files"]
    assert two == {**one, "status": "uptodate"}  # codespell:ignore uptodate


def test_a_store_that_is_no_directory_reads_the_file(crawl: RunCrawl, tmp_path: Path) -> None:
    bucket = tmp_path / "bucket"
    temporary = tmp_path / "temporary"
    with TlsOrigin(app) as origin:
        plain = run_pipeline(crawl, origin, SCRAPYS, tmp_path / "x", *PATHS)
        made = run_pipeline(
            crawl,
            origin,
            "testkit.components.S3Pipeline",
            tmp_path / "y",
            *PATHS,
            FILES_STORE=f"s3://bucket/{bucket}/",
            CURL_SAFE_FILES_DIR=str(temporary),
        )
    assert made.item == plain.item
    found = {str(p.relative_to(bucket)): p.read_bytes() for p in bucket.rglob("*") if p.is_file()}
    assert found == plain.stored
    assert os.listdir(temporary) == []


def test_another_handlers_bodies_are_stored_by_scrapy(crawl: RunCrawl, tmp_path: Path) -> None:
    with TlsOrigin(app) as origin:
        made = run_pipeline(
            crawl,
            origin,
            OURS,
            tmp_path / "x",
            *PATHS,
            DOWNLOAD_HANDLERS={"https": "testkit.components.InProcessHandler"},
        )
    assert PDF in made.stored.values()


def test_images_are_as_scrapy_makes_them(crawl: RunCrawl, tmp_path: Path) -> None:
    paths = ["/a.jpg", "/turned.jpg", "/a.png", "/palette.gif", "/small.png", "/no.png"]
    with TlsOrigin(app) as origin:
        scrapys, ours = (
            run_pipeline(
                crawl,
                origin,
                name,
                tmp_path / name,
                *paths,
                "/none.pdf",
                IMAGES_THUMBS={"small": (20, 20)},
                IMAGES_MIN_WIDTH=20,
            )
            for name in (
                "scrapy.pipelines.images.ImagesPipeline",
                "scrapy_curl_safe.ImagesPipeline",
            )
        )
    assert len(ours.item["images"]) == 4
    assert ours.item == scrapys.item
    assert ours.stored == scrapys.stored
    assert len(ours.stored) == 8
    assert ours.stats == scrapys.stats
    assert "Image too small (10x10 < 20x0)" in ours.log


# Crawls that end before their downloads

HELD: list[Piece] = [b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", PDF[:100_000], HOLD]


def held(head: bytes) -> list[Piece]:
    return HELD if b"GET /a.pdf" in head else [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]


def start_downloading(start_crawl: StartCrawl, origin: RawOrigin, store: Path, way: Way) -> Crawl:
    """Start a crawl whose pipeline waits for the rest of a file."""
    before = set(store.glob(".*/*.part"))
    crawling = start_crawl(
        f"{origin.url}/page",
        way=way,
        scenario=Scenario(file_urls=(f"{origin.url}/a.pdf",)),
        ITEM_PIPELINES={OURS: 1},
        FILES_STORE=str(store),
        CURL_SAFE_WORKERS=1,
    )
    crawling.wait_for(
        lambda: any(
            part.stat().st_size == 100_000 for part in set(store.glob(".*/*.part")) - before
        )
    )
    return crawling


@pytest.mark.parametrize("way", WAYS)
def test_a_forced_stop_leaves_nothing(start_crawl: StartCrawl, tmp_path: Path, way: Way) -> None:
    with RawOrigin(held) as origin:
        crawling = start_downloading(start_crawl, origin, tmp_path / "store", way)
        crawling.process.send_signal(signal.SIGINT)
        crawling.wait_for(lambda: "gracefully" in crawling.log)
        crawling.process.send_signal(signal.SIGINT)
        wait_until(lambda: crawling.process.poll() is not None)
    assert os.listdir(tmp_path / "store") == []


def test_what_a_killed_crawl_has_left_is_removed_by_the_next(
    start_crawl: StartCrawl, crawl: RunCrawl, tmp_path: Path
) -> None:
    """And what a living one writes is not."""
    store = tmp_path / "store"
    with RawOrigin(held) as origin, TlsOrigin(app) as other:
        start_downloading(start_crawl, origin, store, "asyncio").kill()
        killed = set(store.iterdir())
        assert len(killed) == 2
        living = start_downloading(start_crawl, origin, store, "asyncio")
        assert killed.isdisjoint(store.iterdir())
        assert all(str(path) in living.log for path in killed if path.is_dir())
        used = set(store.rglob("*"))
        made = run_pipeline(crawl, other, OURS, tmp_path / "x", "/text.txt", FILES_STORE=str(store))
        assert made.item["files"]
        assert used <= set(store.rglob("*"))
        assert len(used) == 3
        living.kill()


# Memory

MB = 2**20
SMALL = pytest.param(300, id="300 MB")
LARGE = pytest.param(6000, id="6 GB", marks=[pytest.mark.slow, pytest.mark.timeout(3600)])
FILLER = os.urandom(MB - 8)


def block(number: int) -> bytes:
    """Return one megabyte of the file."""
    return number.to_bytes(8, "big") + FILLER


def of_file(megabytes: int, start: int = 0) -> Iterator[bytes]:
    """Yield the file from a position on."""
    number, skipped = divmod(start, MB)
    if number < megabytes:
        yield block(number)[skipped:]
    yield from map(block, range(number + 1, megabytes))


class LargeFile:
    """The script of an origin of a page and a large file, which stops at half of it once.

    Attributes:
        starts: where each answer with the file has begun.
    """

    def __init__(self, megabytes: int) -> None:
        self._megabytes = megabytes
        self.starts: list[int] = []

    def __call__(self, head: bytes) -> Iterable[Piece]:
        if b"GET /page" in head:
            return [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]
        asked = re.search(rb"(?i)\r\nrange: bytes=(\d+)-\r\n", head)
        self.starts.append(int(asked[1]) if asked else 0)
        return self._answer(self.starts[-1])

    def _answer(self, start: int) -> Iterator[Piece]:
        size = self._megabytes * MB
        status = b"206 Partial Content" if start else b"200 OK"
        yield b'HTTP/1.1 %s\r\nETag: "1"\r\nContent-Length: %d\r\n' % (status, size - start)
        yield b"Content-Range: bytes %d-%d/%d\r\n\r\n" % (start, size - 1, size)
        for number, piece in enumerate(of_file(self._megabytes, start)):
            yield piece
            if not start and number == self._megabytes // 2:
                yield HOLD

    def digest(self, algorithm: str) -> str:
        digest = hashlib.new(algorithm)
        for piece in of_file(self._megabytes):
            digest.update(piece)
        return digest.hexdigest()


@contextlib.contextmanager
def worker_peaks(crawl: Crawl) -> Iterator[dict[int, float]]:
    """Watch the resident memory of a crawl's workers, in MB, by pid."""
    peaks: dict[int, float] = {}
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            for _, pid in list(crawl.ready_workers):
                peaks[pid] = max(peaks.get(pid, 0.0), resident_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peaks
    finally:
        done.set()
        watcher.join()


@pytest.mark.parametrize("megabytes", [SMALL, LARGE])
def test_a_large_file_takes_no_memory(
    start_crawl: StartCrawl, tmp_path: Path, megabytes: int
) -> None:
    """Nor is all of it downloaded anew when its worker is killed at half."""
    half = megabytes // 2 * MB
    feed, store = tmp_path / "items.json", tmp_path / "store"
    large = LargeFile(megabytes)
    with RawOrigin(large, tls=False) as origin:
        crawling = start_crawl(
            f"{origin.url}/page",
            scenario=Scenario(file_urls=(f"{origin.url}/large.bin",)),
            ITEM_PIPELINES={OURS: 1},
            FILES_STORE=str(store),
            FEEDS={str(feed): {"format": "json"}},
            DOWNLOAD_MAXSIZE=0,
            DOWNLOAD_WARNSIZE=0,
            DOWNLOAD_TIMEOUT=3000,
            CURL_SAFE_WORKERS=1,
            LOG_LEVEL="INFO",
        )
        with worker_peaks(crawling) as peaks:
            wait_until(
                lambda: (
                    crawling.process.poll() is not None
                    or any(part.stat().st_size > half for part in store.glob(".*/*.part"))
                ),
                3000,
            )
            os.kill(crawling.ready_workers[0][1], signal.SIGKILL)
            crawled = crawling.finish(3000)
    first, second = large.starts
    assert first == 0
    assert second > half
    (item,) = json.loads(feed.read_text())
    (stored,) = (path for path in store.rglob("*") if path.is_file())
    assert stored == store / item["files"][0]["path"]
    assert item["files"][0]["checksum"] == large.digest("md5")
    assert stored.stat().st_size == megabytes * MB
    assert digest_of(stored) == large.digest("sha256")
    crawler = crawled.stats["memory_at_end"] / MB
    grown = crawler - crawled.stats["memory_at_start"] / MB
    print(f"crawler: {crawler:.0f} MB ({grown:.0f} MB more), workers: {peaks}")
    assert crawler < 300
    assert grown < 100
    assert max(peaks.values()) < 150
    assert crawled.stat("worker/lost_request_count") == 1


def digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(MB):
            digest.update(data)
    return digest.hexdigest()

"""Bodies that go to a file: whole crawls, and what is on the disk afterwards."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import signal
import socket
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import brotli
import pytest

from testkit.crawling import Crawled
from testkit.fixtures import MakeOrigin, RunCrawl, StartCrawl
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.raw import CUT, HOLD, RESET, Piece, RawOrigin
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way
from testkit.waiting import wait_until

BODY = os.urandom(300_000)
WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "1"\r\n\r\n' % len(BODY)


def to_file(url: str, file: object = True, **arguments: Any) -> dict[str, Any]:
    meta = {"curl_safe": {"file": file}, **arguments.pop("meta", {})}
    return {"url": url, "meta": meta, **arguments}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "files"


def only(crawled: Crawled) -> dict[str, Any]:
    assert crawled.errors == []
    (response,) = crawled.responses
    return response


def assert_whole(response: dict[str, Any], body: bytes = BODY, **more: str) -> Path:
    """Assert that the body of a response is in the file that it names, and nothing beside it.

    Args:
        response: as the crawl noted it.
        body: that it had.
        more: keys of `curl_safe_info`'s file.
    """
    info = response["meta"]["curl_safe_info"]["file"]
    path = Path(info["path"])
    assert path.read_bytes() == body
    assert info == {
        "path": str(path),
        "size": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
        **more,
    }
    assert response["body"] == ""
    assert response["flags"] == ["file"]
    assert not path.with_name(path.name + ".part").exists()
    return path


def app(request: SeenRequest) -> Reply:
    return Reply(body=BODY + request.body)


@pytest.mark.parametrize("way", WAYS)
def test_a_body_goes_to_a_file(crawl: RunCrawl, directory: Path, way: Way) -> None:
    with TlsOrigin(app) as origin:
        url = f"{origin.url}/a/b.tar.gz?c=/../../d"
        crawled = crawl(to_file(url), way=way, CURL_SAFE_FILES_DIR=str(directory))
    path = assert_whole(only(crawled))
    assert os.listdir(directory) == [path.name]
    assert path.suffix == ".gz"
    assert only(crawled)["status"] == 200
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    os.umask(mask := os.umask(0))
    return mask


def test_each_protocol_can(crawl: RunCrawl, directory: Path, make_origin: MakeOrigin) -> None:
    with make_origin(app) as origin:
        crawled = crawl(to_file(f"{origin.url}/x"), CURL_SAFE_FILES_DIR=str(directory))
    assert_whole(only(crawled))


# What goes to a file


def test_the_answer_to_a_post_does(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(app) as origin:
        posts = [to_file(origin.url, method="POST", body=body) for body in ("a=1", "a=2")]
        crawled = crawl(*posts, CURL_SAFE_FILES_DIR=str(directory))
    for response in crawled.responses:
        assert_whole(response, BODY + posts[response["number"]]["body"].encode())
    assert len(os.listdir(directory)) == 2


def test_no_other_status_than_2xx_does(crawl: RunCrawl, directory: Path) -> None:
    def errors(request: SeenRequest) -> Reply:
        return Reply(status=int(request.path[1:]), body=b"why" if request.path != "/304" else b"")

    statuses = [404, 403, 304, 204]
    with TlsOrigin(errors) as origin:
        crawled = crawl(
            *[
                to_file(f"{origin.url}/{s}", meta={"handle_httpstatus_list": statuses})
                for s in statuses
            ],
            CURL_SAFE_FILES_DIR=str(directory),
        )
    bodies = {r["status"]: (r["body"], r["flags"]) for r in crawled.responses}
    assert bodies == {s: ("why" if s > 400 else "", []) for s in statuses}
    assert all("file" not in r["meta"]["curl_safe_info"] for r in crawled.responses)
    assert os.listdir(directory) == []


def test_the_answer_to_a_head_does_not(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url, method="HEAD"), CURL_SAFE_FILES_DIR=str(directory))
    assert only(crawled)["flags"] == []
    assert os.listdir(directory) == []


def test_an_empty_body_is_an_empty_file(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(lambda request: Reply()) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert_whole(only(crawled), b"")


def test_a_range_that_the_user_asked_for_does(crawl: RunCrawl, directory: Path) -> None:
    def partial(request: SeenRequest) -> Reply:
        assert request.header("Range") == b"bytes=0-9"
        return Reply(status=206, headers=[(b"Content-Range", b"bytes 0-9/100")], body=BODY[:10])

    with TlsOrigin(partial) as origin:
        request = to_file(origin.url, headers={"Range": "bytes=0-9"})
        crawled = crawl(request, CURL_SAFE_FILES_DIR=str(directory))
    assert only(crawled)["status"] == 206
    assert_whole(only(crawled), BODY[:10])


def test_one_that_raw_headers_ask_for_does(crawl: RunCrawl, directory: Path) -> None:
    options = {"file": "a", "raw_headers": [["range", "bytes=0-9"]]}
    with RawOrigin(lambda _: partial()) as origin:
        request = {"url": origin.url, "meta": {"curl_safe": options}}
        crawled = crawl(request, CURL_SAFE_FILES_DIR=str(directory))
    assert only(crawled)["status"] == 206
    assert_whole(only(crawled), BODY[HALF:])


@pytest.mark.parametrize("has_length", [True, False])
def test_one_that_nobody_asked_for_does_not(
    crawl: RunCrawl, directory: Path, has_length: bool
) -> None:
    """Be it the start of the body, or its end."""
    total = b"%d" % len(BODY) if has_length else b"*"
    start = head(b"Content-Range: bytes 0-9/" + total, status=b"206 Partial Content", length=10)
    with RawOrigin(Answers([start, BODY[:10]], partial())) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory), RETRY_TIMES=1)
        assert len(origin.heads) == 2
    (error,) = crawled.errors
    assert error["type"] == "DownloadFailedError"
    assert "it is a 206 (Partial Content) to a request without a Range" in error["text"]
    assert os.listdir(directory) == []


def test_one_that_is_all_of_it_does(crawl: RunCrawl, directory: Path) -> None:
    with RawOrigin(lambda _: partial(0)) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert only(crawled)["status"] == 206
    assert_whole(only(crawled))


def test_only_the_end_of_redirects_does(crawl: RunCrawl, directory: Path) -> None:
    def moved(request: SeenRequest) -> Reply:
        if request.path == "/old":
            return Reply(status=302, headers=[(b"Location", b"/new")], body=b"moved")
        return Reply(body=BODY)

    with TlsOrigin(moved) as origin:
        crawled = crawl(to_file(f"{origin.url}/old"), CURL_SAFE_FILES_DIR=str(directory))
    assert only(crawled)["url"].endswith("/new")
    path = assert_whole(only(crawled))
    assert os.listdir(directory) == [path.name]


def test_a_retry_of_an_error_does(crawl: RunCrawl, directory: Path) -> None:
    statuses = iter([503, 200])

    with TlsOrigin(lambda request: Reply(status=next(statuses), body=BODY)) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert_whole(only(crawled))
    assert crawled.stats["retry/reason_count/503 Service Unavailable"] == 1


# Encodings

TEXT = b"".join(b"line %d\n" % n for n in range(20_000))
RAW_DEFLATE = zlib.compressobj(wbits=-15)
ENCODED = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]),
    "deflate": zlib.compress(TEXT),
    "Deflate": RAW_DEFLATE.compress(TEXT) + RAW_DEFLATE.flush(),
    "br": brotli.compress(TEXT),
    "br, gzip": gzip.compress(brotli.compress(TEXT)),
}


def encoded(request: SeenRequest) -> Reply:
    encoding = request.path[1:].replace("%20", " ")
    return Reply(headers=[(b"Content-Encoding", encoding.encode())], body=ENCODED[encoding])


def test_a_file_has_no_content_encoding(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(encoded) as origin:
        requests = [to_file(f"{origin.url}/{encoding}") for encoding in ENCODED]
        crawled = crawl(*requests, CURL_SAFE_FILES_DIR=str(directory))
    assert crawled.errors == []
    assert len(crawled.responses) == len(ENCODED)
    for response in crawled.responses:
        assert_whole(response, TEXT)
        assert "Content-Encoding" not in dict(response["headers"])


def test_an_unknown_one_stays(crawl: RunCrawl, directory: Path) -> None:
    def app(request: SeenRequest) -> Reply:
        headers = [(b"Content-Encoding", b"compress, gzip")]
        return Reply(headers=headers, body=gzip.compress(TEXT))

    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert_whole(only(crawled), TEXT, encoding="compress")
    assert dict(only(crawled)["headers"])["Content-Encoding"] == "compress"
    assert "cannot be decoded by the workers" in crawled.log


@pytest.mark.parametrize("decode", [True, False])
def test_what_only_the_crawler_could_decode_stays(
    crawl: RunCrawl, directory: Path, tmp_path: Path, decode: bool
) -> None:
    """The workers' Python cannot load the brotli of the crawler."""
    (tmp_path / "brotli.py").write_text("raise ImportError")
    python = tmp_path / "python"
    # Without -I, which comes first.
    python.write_text(f'#!/bin/sh\nshift\nPYTHONPATH="{tmp_path}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o700)
    with TlsOrigin(encoded) as origin:
        crawled = crawl(
            *(to_file(f"{origin.url}/{encoding}") for encoding in ("br", "br, gzip")),
            CURL_SAFE_FILES_DIR=str(directory),
            CURL_SAFE_PYTHON=str(python),
            CURL_SAFE_DECODE=decode,
        )
    for response in crawled.responses:
        assert_whole(response, ENCODED["br"], encoding="br")
        if decode:  # Otherwise it is Scrapy's middleware that takes it.
            assert dict(response["headers"])["Content-Encoding"] == "br"
    assert len(crawled.responses) == 2
    assert crawled.log.count("Content-Encoding: br") == 2


def test_without_compression_it_stays(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(encoded) as origin:
        crawled = crawl(
            to_file(f"{origin.url}/gzip"),
            CURL_SAFE_FILES_DIR=str(directory),
            COMPRESSION_ENABLED=False,
        )
    assert_whole(only(crawled), ENCODED["gzip"])
    assert dict(only(crawled)["headers"])["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("body", [b"no gzip", ENCODED["gzip"][:-2]])
def test_a_broken_one_fails(crawl: RunCrawl, directory: Path, body: bytes) -> None:
    headers = [(b"Content-Encoding", b"gzip")]
    with TlsOrigin(lambda request: Reply(headers=headers, body=body)) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
        assert len(origin.requests) == 3
    (error,) = crawled.errors
    assert error["type"] == "ResponseDataLossError"
    assert "Content-Encoding" in error["text"]
    assert os.listdir(directory) == []


BOMB_BYTES = 100_000_000
BOMB = brotli.compress(bytes(BOMB_BYTES))


def bomb(request: SeenRequest) -> Reply:
    return Reply(headers=[(b"Content-Encoding", b"br")], body=BOMB)


@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_a_little_becomes_a_lot(crawl: RunCrawl, directory: Path, alpn: str) -> None:
    with TlsOrigin(bomb, alpn=(alpn,)) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    file = only(crawled)["meta"]["curl_safe_info"]["file"]
    assert file["size"] == BOMB_BYTES
    assert file["sha256"] == hashlib.sha256(bytes(BOMB_BYTES)).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"DOWNLOAD_MAXSIZE": 50_000_000}, "larger than download max size (50000000)"),
        ({"limit": ("fsize", "50000000")}, "File too large"),
    ],
)
def test_a_lot_ends_where_it_must(
    crawl: RunCrawl, directory: Path, arguments: dict[str, Any], text: str
) -> None:
    with TlsOrigin(bomb) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory), **arguments)
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert text in error["text"]
    assert os.listdir(directory) == []


def test_a_lot_that_breaks_is_an_error(crawl: RunCrawl, directory: Path) -> None:
    body = gzip.compress(bytes(BOMB_BYTES))
    broken = body[:-4000] + b"x" * 4000
    headers = [(b"Content-Encoding", b"gzip")]
    with TlsOrigin(lambda request: Reply(headers=headers, body=broken)) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory), RETRY_TIMES=0)
    (error,) = crawled.errors
    assert error["type"] == "ResponseDataLossError"
    assert os.listdir(directory) == []


def test_a_broken_one_can_be_kept(crawl: RunCrawl, directory: Path) -> None:
    headers = [(b"Content-Encoding", b"gzip")]
    body = ENCODED["gzip"][:-20]
    with TlsOrigin(lambda request: Reply(headers=headers, body=body)) as origin:
        crawled = crawl(
            to_file(origin.url, meta={"download_fail_on_dataloss": False}),
            CURL_SAFE_FILES_DIR=str(directory),
        )
    response = only(crawled)
    assert response["flags"] == ["dataloss", "file"]
    kept = Path(response["meta"]["curl_safe_info"]["file"]["path"]).read_bytes()
    assert kept
    assert TEXT.startswith(kept)


# Paths


def test_a_path_is_the_users(crawl: RunCrawl, directory: Path) -> None:
    absolute, relative = directory / "a" / "b.bin", "in/here.bin"
    directory.mkdir()
    (directory / "in").mkdir()
    (directory / relative).write_bytes(b"older")
    with TlsOrigin(app) as origin:
        crawled = crawl(
            to_file(origin.url, str(absolute)),
            to_file(origin.url, relative),
            CURL_SAFE_FILES_DIR=str(directory),
        )
    assert {assert_whole(r) for r in crawled.responses} == {absolute, directory / relative}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("../out.bin", 'a relative path has no ".."'),
        ("in/../../out.bin", 'a relative path has no ".."'),
        ("in/", "it takes the path of a file, or True"),
        ("", "it takes the path of a file, or True"),
        ("a\0b", "it takes the path of a file, or True"),
        ("a\ud800", r"""["curl_safe"]['file'] is 'a\ud800': it takes a path that os.fsencode()"""),
        (False, "it takes the path of a file, or True"),
    ],
)
def test_a_bad_path_is_refused(crawl: RunCrawl, directory: Path, file: object, text: str) -> None:
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url, file), CURL_SAFE_FILES_DIR=str(directory))
        assert origin.accepted == 0
    (error,) = crawled.errors
    assert error["type"] == "ValueError"
    assert text in error["text"]
    assert not directory.exists()


def test_true_needs_a_directory(crawl: RunCrawl) -> None:
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url))
    (error,) = crawled.errors
    assert error["type"] == "ValueError"
    assert "CURL_SAFE_FILES_DIR does not say where" in error["text"]


def test_no_link_is_followed(crawl: RunCrawl, directory: Path) -> None:
    """Neither one in place of the part, nor one in place of the file."""
    victim = directory / "victim"
    directory.mkdir()
    victim.write_bytes(b"precious")
    (directory / "a.part").symlink_to(victim)
    (directory / "b").symlink_to(victim)
    with TlsOrigin(app) as origin:
        crawled = crawl(
            to_file(origin.url, "a"),
            to_file(origin.url, "b"),
            CURL_SAFE_FILES_DIR=str(directory),
        )
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert "Too many levels of symbolic links" in error["text"]
    (response,) = crawled.responses
    assert assert_whole(response) == directory / "b"
    assert not (directory / "b").is_symlink()
    assert victim.read_bytes() == b"precious"


def test_what_a_killed_crawl_has_left_is_replaced(crawl: RunCrawl, directory: Path) -> None:
    directory.mkdir()
    (directory / "a.part").write_bytes(b"half")
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url, "a"), CURL_SAFE_FILES_DIR=str(directory))
        assert origin.requests[0].header("Range") is None
    assert_whole(only(crawled))


def test_one_download_at_a_time_writes_a_file(crawl: RunCrawl, directory: Path) -> None:
    directory.mkdir()
    part = directory / "a.part"
    with part.open("wb") as written, TlsOrigin(app) as origin:
        fcntl.flock(written, fcntl.LOCK_EX)
        crawled = crawl(to_file(origin.url, "a"), CURL_SAFE_FILES_DIR=str(directory))
        assert origin.accepted == 0
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert f"another download writes {part}" in error["text"]
    assert part.read_bytes() == b""


def test_a_download_locks_its_file(start_crawl: StartCrawl, directory: Path) -> None:
    with RawOrigin(lambda _: [WHOLE, BODY[:HALF], HOLD]) as origin:
        crawling = start_crawl(to_file(origin.url, "a"), CURL_SAFE_FILES_DIR=str(directory))
        crawling.wait_for(lambda: has(directory, HALF))
        with (directory / "a.part").open("rb") as part, pytest.raises(BlockingIOError):
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make_special(path: Path, kind: str) -> None:
    """Put something there that is no regular file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a directory":
        path.mkdir()
    elif kind == "a FIFO":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(os.path.relpath(path))  # A long path is no address.


SPECIAL = ["a directory", "a FIFO", "a socket"]


@pytest.mark.parametrize("name", ["a", "a.part"])
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_regular_file_stays(
    crawl: RunCrawl, directory: Path, kind: str, name: str
) -> None:
    make_special(directory / name, kind)
    mode = (directory / name).stat().st_mode
    with TlsOrigin(app) as origin:
        crawled = crawl(
            to_file(origin.url, "a"), to_file(origin.url, "b"), CURL_SAFE_FILES_DIR=str(directory)
        )
        assert len(origin.requests) == 1
    (error,) = crawled.errors
    assert error["type"] == "ValueError"
    assert f"{directory / name} is {kind}" in error["text"]
    (response,) = crawled.responses
    assert assert_whole(response) == directory / "b"
    assert sorted(os.listdir(directory)) == [name, "b"]
    assert (directory / name).stat().st_mode == mode


def test_a_link_is_what_it_leads_to(crawl: RunCrawl, directory: Path) -> None:
    make_special(directory / "fifo", "a FIFO")
    (directory / "a").symlink_to("fifo")
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url, "a"), CURL_SAFE_FILES_DIR=str(directory))
        assert origin.accepted == 0
    (error,) = crawled.errors
    assert error["type"] == "ValueError"
    assert f"{directory / 'a'} is a FIFO" in error["text"]
    assert (directory / "a").is_symlink()


def test_nor_is_what_comes_there_meanwhile_replaced(
    start_crawl: StartCrawl, directory: Path
) -> None:
    is_there = threading.Event()

    with RawOrigin(lambda _: [WHOLE, BODY[:HALF], is_there.is_set, BODY[HALF:]]) as origin:
        crawling = start_crawl(to_file(origin.url, "a"), CURL_SAFE_FILES_DIR=str(directory))
        crawling.wait_for(lambda: has(directory, HALF))
        make_special(directory / "a", "a FIFO")
        is_there.set()
        crawled = crawling.finish()
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert f"{directory / 'a'}: by now it is a FIFO" in error["text"]
    assert os.listdir(directory) == ["a"]
    assert (directory / "a").is_fifo()


def test_a_path_says_what_is_wrong_with_it(crawl: RunCrawl, directory: Path) -> None:
    """Even one that has room for the name of the file, but not for that of its part."""
    directory.mkdir()
    (directory / "plain").write_bytes(b"")
    texts = {
        "n" * 252: "File name too long (until it is whole, its name ends in .part)",
        "plain/x": f"{directory / 'plain'} is not a directory",
        "plain/x/y": "Not a directory",
    }
    with TlsOrigin(app) as origin:
        requests = [to_file(origin.url, file) for file in texts]
        crawled = crawl(*requests, CURL_SAFE_FILES_DIR=str(directory))
        assert origin.accepted == 0
    assert len(crawled.errors) == len(texts)
    for error in crawled.errors:
        path = requests[error["number"]]["meta"]["curl_safe"]["file"]
        assert error["type"] == "DownloadCancelledError"
        assert error["text"].endswith(f"{directory / path}: {texts[path]}")


# No half file


@pytest.mark.parametrize(
    ("settings", "reply", "text"),
    [
        ({"DOWNLOAD_MAXSIZE": 200_000}, Reply(body=BODY), "Expected to receive 300000 bytes"),
        (
            {"DOWNLOAD_MAXSIZE": 200_000},
            Reply(headers=[(b"Content-Encoding", b"gzip")], body=gzip.compress(bytes(10**9), 1)),
            "which is larger than download max size (200000)",
        ),
    ],
)
def test_one_that_is_too_large(
    crawl: RunCrawl, directory: Path, settings: dict[str, Any], reply: Reply, text: str
) -> None:
    with TlsOrigin(lambda request: reply) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory), **settings)
        assert len(origin.requests) == 1
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert text in error["text"]
    assert os.listdir(directory) == []


def test_one_whose_length_is_not_announced(crawl: RunCrawl, directory: Path) -> None:
    chunk = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with RawOrigin(lambda _: [head, chunk, HOLD]) as origin:
        crawled = crawl(
            to_file(origin.url),
            CURL_SAFE_FILES_DIR=str(directory),
            DOWNLOAD_MAXSIZE=200_000,
            DOWNLOAD_WARNSIZE=100_000,
        )
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert "larger than download warn size (100000)" in crawled.log
    assert os.listdir(directory) == []


def test_a_timeout(crawl: RunCrawl, directory: Path) -> None:
    with RawOrigin(lambda _: [WHOLE, BODY[:1000], HOLD]) as origin:
        crawled = crawl(
            to_file(origin.url, meta={"download_timeout": 1}),
            CURL_SAFE_FILES_DIR=str(directory),
            RETRY_TIMES=1,
        )
    (error,) = crawled.errors
    assert error["type"] == "DownloadTimeoutError"
    assert os.listdir(directory) == []


@pytest.mark.parametrize("fails", [True, False])
def test_one_that_a_receiver_has_stopped(crawl: RunCrawl, directory: Path, fails: bool) -> None:
    with RawOrigin(lambda _: [WHOLE, BODY[:1000], HOLD]) as origin:
        crawled = crawl(
            to_file(origin.url),
            CURL_SAFE_FILES_DIR=str(directory),
            scenario=Scenario(stop_at="headers_received", stop_fails=fails),
        )
    assert crawled.stats["heard_headers"] == 1
    assert "heard_bytes" not in crawled.stats
    if fails:
        assert crawled.errors[0]["type"] == "StopDownload"
    else:
        assert only(crawled)["flags"] == ["download_stopped"]
    assert os.listdir(directory) == []


def test_the_pieces_are_not_heard(crawl: RunCrawl, directory: Path) -> None:
    with TlsOrigin(app) as origin:
        crawled = crawl(
            to_file(origin.url),
            CURL_SAFE_FILES_DIR=str(directory),
            scenario=Scenario(listen=True),
        )
    assert_whole(only(crawled))
    assert crawled.stats["heard_headers"] == 1
    assert "heard_bytes" not in crawled.stats


def test_a_full_disk(crawl: RunCrawl, directory: Path) -> None:
    """The limit of a file's size, which a process meets in the same way."""
    with TlsOrigin(app) as origin:
        crawled = crawl(
            to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory), limit=("fsize", "200000")
        )
        assert len(origin.requests) == 1
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert f"cannot be written to {directory}" in error["text"]
    assert error["text"].endswith("File too large")
    assert os.listdir(directory) == []
    assert crawled.stat("worker/crash_count") == crawled.stat("worker/recycle_count") == 0


def test_a_directory_that_cannot_be_written(crawl: RunCrawl, directory: Path) -> None:
    directory.write_bytes(b"")
    with TlsOrigin(app) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
        assert origin.accepted == 0
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert "cannot be written" in error["text"]


def test_a_body_that_ends_early_can_be_kept(crawl: RunCrawl, directory: Path) -> None:
    with RawOrigin(lambda _: [WHOLE, BODY[:1000], CUT]) as origin:
        crawled = crawl(
            to_file(origin.url, "a", meta={"download_fail_on_dataloss": False}),
            CURL_SAFE_FILES_DIR=str(directory),
        )
    assert only(crawled)["flags"] == ["dataloss", "file"]
    assert (directory / "a").read_bytes() == BODY[:1000]
    assert os.listdir(directory) == ["a"]


# Bodies that are larger than any in memory

HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n"


def test_a_body_in_memory_has_a_bound(crawl: RunCrawl) -> None:
    with RawOrigin(lambda _: [HUGE, HOLD]) as origin:
        crawled = crawl(origin.url, DOWNLOAD_MAXSIZE=0)
    (error,) = crawled.errors
    assert error["type"] == "DownloadCancelledError"
    assert "Expected to receive 5000000000 bytes" in error["text"]
    assert """No body in memory is larger; a file can be: meta["curl_safe"] = """ in error["text"]


def test_a_larger_bound_of_the_users_does_not_count(crawl: RunCrawl) -> None:
    with RawOrigin(lambda _: [HUGE, HOLD]) as origin:
        crawled = crawl(origin.url, DOWNLOAD_MAXSIZE=10**10)
    assert "No body in memory is larger" in crawled.errors[0]["text"]


def test_a_streamed_body_has_none(crawl: RunCrawl) -> None:
    with RawOrigin(lambda _: [HUGE, b"x", HOLD]) as origin:
        scenario = Scenario(stop_at="bytes_received")
        crawled = crawl(origin.url, DOWNLOAD_MAXSIZE=0, scenario=scenario)
    assert only(crawled)["flags"] == ["download_stopped"]
    assert only(crawled)["body"] == "x"


def test_a_file_has_none(crawl: RunCrawl, directory: Path) -> None:
    with RawOrigin(lambda _: [HUGE, b"x", CUT]) as origin:
        crawled = crawl(
            to_file(origin.url, "a", meta={"download_fail_on_dataloss": False}),
            CURL_SAFE_FILES_DIR=str(directory),
            DOWNLOAD_MAXSIZE=0,
        )
    assert only(crawled)["flags"] == ["dataloss", "file"]
    assert (directory / "a").read_bytes() == b"x"


# Retries

DATES = b"Date: Mon, 02 Nov 2026 10:00:00 GMT\r\nLast-Modified: Mon, 02 Nov 2026 09:00:00 GMT\r\n"
HALF = 100_000


def head(*lines: bytes, status: bytes = b"200 OK", length: int = len(BODY)) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 " + status, b"Content-Length: %d" % length, *lines, b"\r\n"))


def partial(start: int = HALF, *lines: bytes) -> list[Piece]:
    content_range = b"Content-Range: bytes %d-%d/%d" % (start, len(BODY) - 1, len(BODY))
    status, length = b"206 Partial Content", len(BODY) - start
    return [head(content_range, *lines, status=status, length=length), BODY[start:]]


class Answers:
    """The answers of an origin, one after the other."""

    def __init__(self, *answers: list[Piece]) -> None:
        self._answers = iter(answers)

    def __call__(self, head: bytes) -> list[Piece]:
        return next(self._answers)


def ranges(origin: RawOrigin) -> list[tuple[bytes | None, bytes | None]]:
    """Return Range and If-Range of each request."""

    def value(head: bytes, name: bytes) -> bytes | None:
        lines = [line.partition(b": ") for line in head.split(b"\r\n")]
        return next((v for key, _, v in lines if key.lower() == name), None)

    return [(value(h, b"range"), value(h, b"if-range")) for h in origin.heads]


GOES_ON = b"bytes=%d-" % HALF


@pytest.mark.parametrize(
    ("lines", "validator", "end"),
    [
        ((b'ETag: "a1"',), b'"a1"', CUT),
        ((DATES.rstrip(),), b"Mon, 02 Nov 2026 09:00:00 GMT", RESET),
    ],
)
def test_a_retry_goes_on(
    crawl: RunCrawl, directory: Path, lines: tuple[bytes], validator: bytes, end: str
) -> None:
    answers = Answers([head(*lines), BODY[:HALF], lambda: has(directory, HALF), end], partial())
    with RawOrigin(answers) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert ranges(origin) == [(None, None), (GOES_ON, validator)]
    response = only(crawled)
    assert_whole(response)
    assert response["status"] == 200
    assert dict(response["headers"])["Content-Length"] == str(len(BODY))
    assert "Content-Range" not in dict(response["headers"])
    assert response["meta"]["retry_times"] == 1


def has(directory: Path, size: int) -> bool:
    """Tell whether the part in a directory has so many bytes."""
    return any(part.stat().st_size >= size for part in directory.glob("*.part"))


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b'ETag: W/"a1"',),
        (b'ETag: "a1"', b"Accept-Ranges: none"),
        (DATES.rstrip().replace(b"10:00:00", b"09:00:30"),),
    ],
)
def test_a_retry_begins_anew_where_nothing_tells_versions_apart(
    crawl: RunCrawl, directory: Path, lines: tuple[bytes, ...]
) -> None:
    answers = Answers([head(*lines), BODY[:HALF], CUT], [head(*lines), BODY])
    with RawOrigin(answers) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert ranges(origin) == [(None, None)] * 2
    assert_whole(only(crawled))


def test_a_retry_goes_on_from_a_retry(crawl: RunCrawl, directory: Path) -> None:
    further = HALF + 50_000
    cut = partial()
    answers = Answers(
        [head(b'ETag: "1"'), BODY[:HALF], lambda: has(directory, HALF), RESET],
        [cut[0], BODY[HALF:further], lambda: has(directory, further), RESET],
        partial(further),
    )
    with RawOrigin(answers) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    asked = [None, GOES_ON, b"bytes=%d-" % further]
    assert [value for value, _ in ranges(origin)] == asked
    assert_whole(only(crawled))


def test_a_retry_takes_what_has_changed_from_its_start(crawl: RunCrawl, directory: Path) -> None:
    new = BODY[::-1][:150_000]
    answers = Answers(
        [head(b'ETag: "1"'), BODY[:HALF], lambda: has(directory, HALF), CUT],
        [head(b'ETag: "2"', length=len(new)), new],
    )
    with RawOrigin(answers) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert len(origin.heads) == 2
    assert_whole(only(crawled), new)


@pytest.mark.parametrize(
    "wrong",
    [
        partial(HALF - 1),
        partial(HALF, b"Content-Encoding: gzip"),
        [head(status=b"206 Partial Content", length=0)],
        [head(b"Content-Range: bytes */300000", status=b"416 Range Not Satisfiable", length=0)],
    ],
)
def test_a_part_that_does_not_fit_is_thrown_away(
    crawl: RunCrawl, directory: Path, wrong: list[Piece]
) -> None:
    answers = Answers(
        [head(b'ETag: "1"'), BODY[:HALF], lambda: has(directory, HALF), CUT], wrong, [WHOLE, BODY]
    )
    with RawOrigin(answers) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert [value for value, _ in ranges(origin)] == [None, GOES_ON, None]
    assert_whole(only(crawled))


def test_after_the_last_retry_nothing_is_left(crawl: RunCrawl, directory: Path) -> None:
    cut: list[Piece] = [head(b'ETag: "1"'), BODY[:HALF], CUT]
    with RawOrigin(lambda _: cut) as origin:
        crawled = crawl(to_file(origin.url), CURL_SAFE_FILES_DIR=str(directory))
    assert crawled.errors[0]["type"] == "ResponseDataLossError"
    assert len(origin.heads) == 3
    assert os.listdir(directory) == []


def test_at_the_end_of_the_crawl_nothing_is_left(crawl: RunCrawl, directory: Path) -> None:
    """Not even what waits for a retry that does not come."""
    with RawOrigin(lambda _: [head(b'ETag: "1"'), BODY[:HALF], CUT]) as origin:
        crawled = crawl(
            to_file(origin.url),
            CURL_SAFE_FILES_DIR=str(directory),
            DOWNLOADER_MIDDLEWARES={
                "scrapy.downloadermiddlewares.retry.RetryMiddleware": None,
                "scrapy_curl_safe.HandshakeRetryMiddleware": None,
            },
        )
    assert len(origin.heads) == len(crawled.errors) == 1
    assert os.listdir(directory) == []


@pytest.mark.parametrize("way", WAYS)
def test_nor_after_a_forced_stop(start_crawl: StartCrawl, directory: Path, way: Way) -> None:
    with RawOrigin(lambda _: [WHOLE, BODY[:HALF], HOLD]) as origin:
        crawling = start_crawl(to_file(origin.url), way=way, CURL_SAFE_FILES_DIR=str(directory))
        crawling.wait_for(lambda: has(directory, HALF))
        crawling.process.send_signal(signal.SIGINT)
        crawling.wait_for(lambda: "gracefully" in crawling.log)
        crawling.process.send_signal(signal.SIGINT)
        wait_until(lambda: crawling.process.poll() is not None)
    assert os.listdir(directory) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_worker_costs_only_the_rest(
    start_crawl: StartCrawl, directory: Path, way: Way
) -> None:
    answers = Answers([head(b'ETag: "1"'), BODY[:HALF], HOLD], partial())
    with RawOrigin(answers) as origin:
        crawling = start_crawl(
            to_file(origin.url), way=way, CURL_SAFE_FILES_DIR=str(directory), CURL_SAFE_WORKERS=1
        )
        crawling.wait_for(lambda: has(directory, HALF))
        for pid in crawling.workers():
            os.kill(pid, signal.SIGKILL)
        crawled = crawling.finish()
    assert ranges(origin) == [(None, None), (GOES_ON, b'"1"')]
    assert_whole(only(crawled))
    assert crawled.stat("worker/crash_count") >= 1


# Caches


def test_scrapys_cache_keeps_no_empty_body(crawl: RunCrawl, directory: Path) -> None:
    cache: dict[str, Any] = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(directory / "cache")}
    with TlsOrigin(app) as origin:
        url = f"{origin.url}/x"
        for _ in range(2):
            crawled = crawl(to_file(url), CURL_SAFE_FILES_DIR=str(directory / "files"), **cache)
            assert_whole(only(crawled))
        assert len(origin.requests) == 2
        crawl(url, **cache)
        crawled = crawl(to_file(url), CURL_SAFE_FILES_DIR=str(directory / "files"), **cache)
        assert len(origin.requests) == 3
    response = only(crawled)
    assert response["flags"] == ["cached"]
    assert response["body"] == BODY.decode("latin-1")

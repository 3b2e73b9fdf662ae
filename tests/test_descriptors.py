"""Descriptors that go along with frames, over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from pathlib import Path

import pytest

from scrapy_curl_safe._ipc.body_files import FileOrder
from scrapy_curl_safe._ipc.channel import Channel
from scrapy_curl_safe._ipc.framing import from_worker_decoder, to_worker_decoder
from scrapy_curl_safe._ipc.messages import Cancel, Fetch, FromWorker, ToWorker
from scrapy_curl_safe._worker.body_file import BodyFile
from testkit.waiting import until


class BothEnds:
    """The crawler's channel, the worker's, and what the worker has got."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        ours, self.theirs = socket.socketpair()
        self.got: list[tuple[str, int | bytes]] = []
        self.crawler: Channel[FromWorker] = Channel(
            loop, ours, from_worker_decoder(), lambda message, body: None, self._lost
        )
        self.worker: Channel[ToWorker] = Channel(
            loop,
            self.theirs,
            to_worker_decoder(),
            lambda message, body: self.got.append((type(message).__name__, body)),
            self._lost,
            on_descriptor=lambda descriptor: self.got.append(("descriptor", descriptor)),
        )

    def _lost(self, reason: Exception | None) -> None:
        self.got.append(("lost", b""))

    def close(self) -> None:
        self.crawler.close()
        self.worker.close()


def open_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


FETCH = Fetch(url="https://origin.example/", profile=b"")


def test_each_comes_before_its_message(tmp_path: Path) -> None:
    bodies = [b"", b"b" * 3_000_000, b"", b"c" * 10, b"d"]

    async def run() -> None:
        ends = BothEnds()
        for number, body in enumerate(bodies):
            ends.crawler.send(Cancel(number))
            with (tmp_path / str(number)).open("wb") as file:
                ends.crawler.send(FETCH, body, file.fileno())
        await until(lambda: len(ends.got) == 3 * len(bodies))
        messages = [kind for kind, _ in ends.got if kind != "descriptor"]
        assert messages == ["Cancel", "Fetch"] * len(bodies)
        assert [body for kind, body in ends.got if kind == "Fetch"] == bodies
        kinds = [kind for kind, _ in ends.got if kind != "Cancel"]
        for number in range(len(bodies)):
            before_message = kinds[: kinds.index("Fetch")]
            kinds.remove("Fetch")
            assert before_message.count("descriptor") > number
        for number, descriptor in enumerate(d for kind, d in ends.got if kind == "descriptor"):
            assert isinstance(descriptor, int)
            assert not os.get_inheritable(descriptor)
            os.write(descriptor, b"%d" % number)
            os.close(descriptor)
        ends.close()

    before = open_descriptors()
    asyncio.run(run())
    assert [(tmp_path / str(n)).read_bytes() for n in range(5)] == [b"%d" % n for n in range(5)]
    assert open_descriptors() == before


def test_none_stays_open_in_a_channel_that_is_closed(tmp_path: Path) -> None:
    async def run() -> None:
        ends = BothEnds()
        with (tmp_path / "file").open("wb") as file:
            ends.crawler.send(FETCH, b"", file.fileno())
            ends.crawler.close()
            ends.crawler.send(FETCH, b"", file.fileno())
        ends.worker.close()

    before = open_descriptors()
    asyncio.run(run())
    assert open_descriptors() == before


def body_file(path: Path, offset: int) -> BodyFile:
    return BodyFile(os.open(path, os.O_RDWR), FileOrder(offset=offset, md5=True))


def test_what_was_there_is_part_of_the_digests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2_500_000)
    file = body_file(path, 2_500_000)
    slices = 1
    while file.read_on():
        slices += 1
    assert slices == 3
    file.write(b"yz")
    written = file.written(None)
    file.close()
    whole = path.read_bytes()
    assert whole == b"x" * 2_500_000 + b"yz"
    assert written.size == len(whole)
    assert written.sha256.hex() == hashlib.sha256(whole).hexdigest()
    assert written.md5 is not None
    assert written.md5.hex() == hashlib.md5(whole).hexdigest()


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    file = body_file(path, 2)
    assert file.read_on()
    with pytest.raises(OSError, match="it has 1 bytes in place of 2"):
        file.read_on()
    file.close()


def test_a_restart_forgets_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"older")
    file = body_file(path, 5)
    assert not file.read_on()
    file.restart()
    file.write(b"new")
    assert file.written(b"").sha256 == hashlib.sha256(b"new").digest()
    file.close()
    assert path.read_bytes() == b"new"

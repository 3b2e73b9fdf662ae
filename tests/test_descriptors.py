"""Descriptors that go along with frames, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import resource
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scrapy_curl_safe._ipc.body_files import FileOrder
from scrapy_curl_safe._ipc.channel import Channel
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.framing import from_worker_decoder, to_worker_decoder
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    Hello,
    Outcome,
    Profile,
    ToWorker,
    encode_profile,
)
from scrapy_curl_safe._pool.worker_client import WorkerClient
from scrapy_curl_safe._worker.body_file import BodyFile
from testkit.origins.tls import TlsOrigin
from testkit.waiting import until
from tests.test_worker_connection import Recorder


class BothEnds:
    """The crawler's channel, the worker's, and what the worker has got."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        ours, self.theirs = socket.socketpair()
        self.got: list[tuple[str, int | bytes | None]] = []
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


@contextlib.contextmanager
def none_left(pid: int) -> Iterator[None]:
    """Have a process have no room for another descriptor."""
    descriptors = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    least = next(number for number in itertools.count() if number not in descriptors)
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (least, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.processes
@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit(2)")
def test_a_worker_without_room_for_one_fails_that_request_alone(tmp_path: Path) -> None:
    """The kernel drops what does not fit. Later ones still go with their own messages."""
    profile = encode_profile(Profile())

    async def run() -> None:
        hello = Hello(profiles=[("default", profile)])
        with TlsOrigin() as origin, WorkerClient(hello) as worker:
            await worker.ready()
            warm_up = Fetch(url=origin.url, profile=profile)
            await worker.fetch(warm_up)

            async def download(name: str) -> Outcome:
                answer = Recorder()
                fetch = Fetch(url=origin.url, profile=profile, file=FileOrder(), stream=True)
                with (tmp_path / name).open("w+b") as file:
                    worker.connection.fetch(fetch, b"", answer, file.fileno())
                    await until(lambda: answer.outcomes)
                return answer.outcomes[0][0]

            with none_left(worker.process.pid):
                failed = await download("0")
            assert isinstance(failed, Failed)
            assert failed.kind is FailureKind.LOCAL
            assert failed.detail == "no descriptor is left for a file"
            assert isinstance(await download("1"), Completed)
            assert (tmp_path / "1").stat().st_size > 0
            assert (tmp_path / "0").stat().st_size == 0

    asyncio.run(run())


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

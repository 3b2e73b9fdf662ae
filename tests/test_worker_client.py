"""`WorkerClient`: what it makes of workers, and of processes that are none."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys

import pytest

from scrapy_curl_safe._ipc.messages import (
    Chunk,
    Completed,
    Fetch,
    Heartbeat,
    Hello,
    Profile,
    ResponseHead,
    encode_profile,
)
from scrapy_curl_safe._pool import worker_client
from scrapy_curl_safe._pool.worker_client import WorkerClient, WorkerFailedError
from scrapy_curl_safe._pool.worker_process import WorkerProcess
from testkit.origins.raw import HOLD, RawOrigin
from testkit.waiting import until

pytestmark = pytest.mark.processes

PROFILE = encode_profile(Profile())
HELLO = Hello(profiles=[("default", PROFILE)], heartbeat_interval_seconds=0.1)


def start(code: str) -> WorkerProcess:
    """Start a process in place of a worker: `sock` is its end of the socket."""
    ours, theirs = socket.socketpair()
    code = f"import socket, sys, time\nsock = socket.socket(fileno=int(sys.argv[1]))\n{code}"
    with theirs:
        fd = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-c", code, str(fd)], pass_fds=[fd])
    return WorkerProcess(process, ours, None)


def test_a_streamed_download() -> None:
    async def run() -> None:
        heartbeats: list[Heartbeat] = []
        messages: list[object] = []
        with WorkerClient(HELLO, on_heartbeat=heartbeats.append) as worker:
            assert (await worker.ready()).problem is None
            await until(lambda: heartbeats)
            with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as origin:
                outcome, body = await worker.fetch(
                    Fetch(url=origin.url, profile=PROFILE, stream=True),
                    on_message=lambda message, body: messages.append((type(message), body)),
                )
        assert isinstance(outcome, Completed)
        assert (body, messages) == (b"", [(ResponseHead, b""), (Chunk, b"ok")])
        assert worker.process.exit_status is not None

    asyncio.run(run())


def test_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with pytest.raises(WorkerFailedError, match="is no program that can be run"):
            WorkerClient(HELLO)

    monkeypatch.setattr(sys, "executable", "/nonexistent")
    asyncio.run(run())


def test_a_worker_that_exits_at_its_start() -> None:
    async def run() -> None:
        with WorkerClient(HELLO, start("sys.exit(3)")) as worker:
            for _ in range(2):
                with pytest.raises(WorkerFailedError, match=r"exited \(exit status 3\)"):
                    await worker.ready()

    asyncio.run(run())


def test_a_worker_that_exits_with_a_request() -> None:
    async def run() -> None:
        with WorkerClient(HELLO) as worker, RawOrigin(lambda head: [HOLD]) as origin:
            await worker.ready()
            fetch = asyncio.create_task(worker.fetch(Fetch(url=origin.url, profile=PROFILE)))
            await until(lambda: origin.heads)
            worker.process.kill()
            with pytest.raises(WorkerFailedError, match=r"exited \(SIGKILL\)"):
                await fetch
            with pytest.raises(WorkerFailedError, match=r"exited \(SIGKILL\)"):
                await worker.fetch(Fetch(url=origin.url, profile=PROFILE))

    asyncio.run(run())


def test_a_worker_that_breaks_the_protocol() -> None:
    async def run() -> None:
        with WorkerClient(HELLO, start("sock.sendall(b'x' * 100); time.sleep(300)")) as worker:
            with pytest.raises(WorkerFailedError, match="broke the protocol"):
                await worker.ready()
            assert worker.process.exit_status == -signal.SIGKILL

    asyncio.run(run())


def test_a_worker_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        with WorkerClient(HELLO, start("time.sleep(300)")) as worker:
            with pytest.raises(WorkerFailedError, match=r"did not answer within 0\.1 seconds"):
                await worker.ready()
            with pytest.raises(WorkerFailedError, match=r"did not answer within 0\.3 seconds"):
                await worker.fetch(Fetch(url="", profile=PROFILE, timeout_seconds=0.2))

    monkeypatch.setattr(worker_client, "_START_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(worker_client, "_GRACE_SECONDS", 0.1)
    asyncio.run(run())

"""A real worker process, as `WorkerClient` speaks to it, and as no client does."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Completed,
    Failed,
    Fetch,
    Heartbeat,
    Hello,
    Outcome,
    Profile,
    SharedSlice,
    SliceReleased,
    encode_profile,
)
from scrapy_curl_safe._ipc.shared_memory import SLOT_COUNT, SLOT_SIZE_BYTES
from scrapy_curl_safe._pool.launcher import WorkerLauncher
from scrapy_curl_safe._pool.worker_client import WorkerClient
from scrapy_curl_safe._pool.worker_connection import WorkerConnection
from scrapy_curl_safe._pool.worker_process import WorkerProcess
from testkit.crawling import ROOT
from testkit.origins.raw import HOLD, RawOrigin
from testkit.origins.tls import TlsOrigin
from testkit.waiting import until

pytestmark = pytest.mark.processes

PLAIN = encode_profile(Profile())
HELLO = Hello(profiles=[("default", PLAIN)], max_sessions=8, max_in_flight=8, max_idle=8)


def in_event_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


def make_fetch(url: str, **fields: Any) -> Fetch:
    return Fetch(**{"url": url, "profile": PLAIN, "timeout_seconds": 30.0, **fields})


async def download(worker: WorkerClient, url: str, **fields: Any) -> tuple[Outcome, bytes]:
    return await worker.fetch(make_fetch(url, **fields))


def start_by(*command: str, **options: Any) -> WorkerProcess:
    """Start a worker by a command, to which the number of its socket is added."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *command, str(theirs.fileno())], pass_fds=[theirs.fileno()], **options
        )
    return WorkerProcess(process, ours, None)


@in_event_loop
async def test_it_says_when_it_is_ready() -> None:
    with WorkerClient(HELLO) as worker:
        ready = await worker.ready()
    assert ready.problem is None
    assert "libcurl" in ready.curl


@in_event_loop
async def test_it_also_starts_as_a_module() -> None:
    with WorkerClient(HELLO, start_by("-m", "scrapy_curl_safe._worker")) as worker:
        assert (await worker.ready()).problem is None


@in_event_loop
async def test_it_downloads() -> None:
    with TlsOrigin() as origin, WorkerClient(HELLO) as worker:
        fetch = make_fetch(f"{origin.url}/page")
        completed, body = await worker.fetch(fetch)
    assert isinstance(completed, Completed)
    assert completed.id == fetch.id > 0
    assert completed.head is not None
    assert completed.head.status == 200
    assert b"/page" in body


@in_event_loop
async def test_the_more_sessions_the_fewer_idle_connections_each_keeps() -> None:
    """libcurl resolves names under "localhost" by itself: each is a host of its own."""

    async def accepted_of(user: int) -> int:
        """Return how many connections are made for a session that visits eight hosts twice."""
        before = origin.accepted
        profile = encode_profile(Profile(proxy_user=b"%d" % user))
        for number in (*range(8), *range(8)):
            outcome, _ = await download(
                worker, f"https://h{number}.localhost:{origin.port}/", profile=profile
            )
            assert isinstance(outcome, Completed)
        return origin.accepted - before

    with TlsOrigin() as origin, WorkerClient(HELLO) as worker:
        counts = [await accepted_of(user) for user in range(7)]
    # The first session is that of the greeting.
    assert counts[0] == 8
    assert counts[-1] == 16


@pytest.mark.parametrize(("verify", "connections"), [(False, 65), (True, 66)])
@in_event_loop
async def test_of_sessions_with_authorities_64_are_kept(verify: bool, connections: int) -> None:
    hello = Hello(profiles=[("default", PLAIN)], max_sessions=100)
    with TlsOrigin(tls=False) as origin, WorkerClient(hello) as worker:
        for user in (*range(65), 0):
            profile = encode_profile(Profile(proxy_user=b"%d" % user, verify=verify))
            outcome, _ = await download(worker, origin.url, profile=profile)
            assert isinstance(outcome, Completed)
        assert origin.accepted == connections


NO_TIME = (
    "-c",
    "import scrapy_curl_safe._worker.server as server; server._HELLO_TIMEOUT_SECONDS = 0.0; "
    "from scrapy_curl_safe._worker.__main__ import main; main()",
)


@in_event_loop
async def test_a_hello_that_came_in_time_is_read_however_late() -> None:
    with WorkerClient(HELLO, start_by(*NO_TIME)) as worker:
        assert (await worker.ready()).problem is None


def test_without_a_hello_it_ends() -> None:
    process = start_by(*NO_TIME)
    assert process._process.wait(30) == 0
    process.stop()


def test_it_loads_neither_scrapy_nor_twisted() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import scrapy_curl_safe._worker.server; "
    code += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "curl_cffi" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(
        {"scrapy", "twisted", "zope", "lxml", "parsel", "pydispatch"}
    )


@in_event_loop
async def test_a_running_one_has_mapped_nothing_of_them() -> None:
    with WorkerClient(HELLO) as worker:
        await worker.ready()
        mapped = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert "curl_cffi" in mapped
    assert "lxml" not in mapped
    assert "zope" not in mapped


SHADOWS = ("ssl", "socket", "asyncio", "struct", "json", "msgspec", "curl_cffi", "certifi")


def crawl_in(directory: Path, code: str, *flags: str) -> str:
    """Start a worker from a crawler of this code in this directory, and return what it prints."""
    script = directory / "the_crawler.py"
    script.write_text(code)
    run = subprocess.run(
        [sys.executable, *flags, str(script)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return run.stdout + run.stderr


START = """
import asyncio
from scrapy_curl_safe._ipc.messages import Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_client import WorkerClient, WorkerFailedError

async def start():
    with WorkerClient(Hello(profiles=[("", encode_profile(Profile()))])) as worker:
        await worker.ready()

try:
    asyncio.run(start())
    print("ready")
except WorkerFailedError as error:
    print(error)
"""


def test_files_named_like_modules_do_not_shadow_them(tmp_path: Path) -> None:
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise ImportError('shadowed')")
    # The crawler itself imports from elsewhere first, as `scrapy crawl` does.
    code = f"import sys; sys.path[:1] = [{str(ROOT)!r}]; sys.path.append({str(tmp_path)!r})\n"
    assert crawl_in(tmp_path, code + START) == "ready\n"


def test_the_package_may_be_reachable_only_through_the_crawlers_own_path(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    shutil.copytree(ROOT / "scrapy_curl_safe", hidden / "scrapy_curl_safe")
    site = [entry for entry in sys.path if entry.endswith("site-packages")]
    code = f"import sys; sys.path[:0] = [{str(hidden)!r}]; sys.path += {site!r}\n"
    code += "import scrapy_curl_safe; print(scrapy_curl_safe.__file__)\n"
    # Without -S the installed package would be found, too.
    said = crawl_in(tmp_path, code + START, "-I", "-S")
    assert said == f"{hidden}/scrapy_curl_safe/__init__.py\nready\n"


def test_a_worker_is_of_the_same_package_as_its_crawler(tmp_path: Path) -> None:
    """Even if another copy can be imported, here the installed one."""
    hidden = tmp_path / "hidden"
    shutil.copytree(ROOT / "scrapy_curl_safe", hidden / "scrapy_curl_safe")
    with (hidden / "scrapy_curl_safe/_worker/server.py").open("a") as server:
        server.write("\nos._exit(42)\n")
    code = f"import sys; sys.path.append({str(hidden)!r})\n"
    code += "import importlib.util as u\n"
    code += f"where = {str(hidden / 'scrapy_curl_safe')!r}\n"
    code += "spec = u.spec_from_file_location('scrapy_curl_safe', where + '/__init__.py', "
    code += "submodule_search_locations=[where])\n"
    code += "sys.modules['scrapy_curl_safe'] = u.module_from_spec(spec)\n"
    code += f"sys.path.insert(0, {str(ROOT)!r})\n"
    assert crawl_in(tmp_path, code + START) == "the worker exited (exit status 42)\n"


@in_event_loop
async def test_its_environment_is_a_short_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    monkeypatch.setenv("https_proxy", "http://user:planted@127.0.0.1:1")
    monkeypatch.setenv("TZ", "UTC")
    with WorkerClient(HELLO) as worker:
        await worker.ready()
        environment = Path(f"/proc/{worker.process.pid}/environ").read_bytes()
    assert b"planted" not in environment
    assert b"TZ=UTC" in environment


@in_event_loop
async def test_a_proxy_in_the_environment_is_ignored() -> None:
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    process = start_by("-m", "scrapy_curl_safe._worker", env={**os.environ, **proxies})
    with TlsOrigin() as origin, WorkerClient(HELLO, process) as worker:
        outcome, _ = await download(worker, origin.url)
    assert isinstance(outcome, Completed)


@in_event_loop
async def test_ctrl_c_does_not_end_it() -> None:
    with TlsOrigin() as origin, WorkerClient(HELLO) as worker:
        await worker.ready()
        os.kill(worker.process.pid, signal.SIGINT)
        outcome, _ = await download(worker, origin.url)
    assert isinstance(outcome, Completed)


@in_event_loop
async def test_it_is_in_a_session_of_its_own() -> None:
    with WorkerClient(HELLO) as worker:
        assert os.getsid(worker.process.pid) == worker.process.pid


@in_event_loop
async def test_it_ends_when_its_socket_closes() -> None:
    with RawOrigin(lambda head: [HOLD]) as origin, WorkerClient(HELLO) as worker:
        unfinished = asyncio.ensure_future(download(worker, origin.url))
        await until(lambda: origin.heads)
        worker.connection.close()
        assert worker.process._process.wait(30) == 0
        unfinished.cancel()


@pytest.mark.parametrize("garbage", [b"\0\0\0\1\0\0\0\0\xc1", b"\xff" * 100, b"GET / HTTP/1.1\r\n"])
def test_wrong_bytes_end_it(garbage: bytes) -> None:
    process = WorkerLauncher.capture().start()
    try:
        process.take_socket().sendall(garbage)
        assert process._process.wait(30) == 1
    finally:
        process.stop()


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "dict://127.0.0.1:1/"])
@in_event_loop
async def test_it_speaks_nothing_but_http(url: str) -> None:
    with WorkerClient(HELLO) as worker:
        failed, body = await download(worker, url)
    assert isinstance(failed, Failed)
    assert failed.kind is FailureKind.UNSUPPORTED_SCHEME
    assert failed.detail == f"no http or https URL: {url!r}"
    assert body == b""


@in_event_loop
async def test_a_cancel_stops_the_transfer_and_nothing_else() -> None:
    held = RawOrigin(lambda head: [HOLD])
    with held, TlsOrigin() as origin, WorkerClient(HELLO) as worker:
        first, second = make_fetch(held.url), make_fetch(origin.url)
        held_up = asyncio.ensure_future(worker.fetch(first))
        await until(lambda: held.heads)
        worker.connection.cancel(first)
        worker.connection._channel.send(Cancel(99))
        await until(lambda: held.abandoned)
        completed, _ = await worker.fetch(second)
        assert await held_up == (Cancelled(first.id), b"")
    assert isinstance(completed, Completed)
    assert completed.id == second.id


@in_event_loop
async def test_heartbeats_come_unasked() -> None:
    heartbeats: list[Heartbeat] = []
    hello = Hello(profiles=HELLO.profiles, heartbeat_interval_seconds=0.1, max_memory_mb=1)
    with WorkerClient(hello, on_heartbeat=heartbeats.append):
        await until(lambda: len(heartbeats) >= 3)
    assert all(h.memory_mb > 5 and h.descriptors > 3 for h in heartbeats)
    assert not any(heartbeat.resolver_changed for heartbeat in heartbeats)


@in_event_loop
async def test_idle_sessions_are_closed_when_there_are_too_many() -> None:
    """Each session holds a connection to the origin: the origin sees them go."""
    with TlsOrigin() as origin, WorkerClient(HELLO) as worker:
        for number in range(12):
            profile = encode_profile(Profile(interface=f"127.0.0.{number + 2}"))
            outcome, _ = await download(worker, origin.url, profile=profile)
            assert isinstance(outcome, Completed), outcome
        await until(lambda: origin.open_connections <= 8)
        assert origin.accepted == 12


def large_body(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> list[SharedSlice]:
    """The slices of shared memory that bodies came in."""
    slices: list[SharedSlice] = []
    copy = WorkerConnection._copy

    def note(connection: WorkerConnection, shared: SharedSlice, completed: Completed) -> bytes:
        slices.append(shared)
        return copy(connection, shared, completed)

    monkeypatch.setattr(WorkerConnection, "_copy", note)
    return slices


@in_event_loop
async def test_large_bodies_come_through_the_shared_memory_while_slots_are_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = 200_000
    slices: list[SharedSlice] = []

    def copy_without_release(
        connection: WorkerConnection, shared: SharedSlice, completed: Completed
    ) -> bytes:
        slices.append(shared)
        assert connection._memory is not None
        return connection._memory.read(shared)

    monkeypatch.setattr(WorkerConnection, "_copy", copy_without_release)
    with RawOrigin(large_body(size)) as origin, WorkerClient(HELLO) as worker:
        for _ in range(SLOT_COUNT + 2):
            _, body = await download(worker, origin.url)
            assert len(body) == body.count(b"x") == size
        assert len(slices) == SLOT_COUNT
        worker.connection._channel.send(SliceReleased())
        _, body = await download(worker, origin.url)
        assert len(body) == size
        assert len(slices) == SLOT_COUNT + 1


@in_event_loop
async def test_a_body_that_fits_no_slot_takes_the_socket(shared: list[SharedSlice]) -> None:
    size = 2 * SLOT_SIZE_BYTES + 12_345
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
    with RawOrigin(response) as origin, WorkerClient(HELLO) as worker:
        for _ in range(3):
            assert (await download(worker, origin.url))[1] == body
    assert shared == []


@in_event_loop
async def test_small_and_streamed_bodies_take_the_socket(shared: list[SharedSlice]) -> None:
    size = 1_000_000
    pieces: list[int] = []
    with RawOrigin(large_body(size)) as large, TlsOrigin() as small, WorkerClient(HELLO) as worker:
        outcome, _ = await worker.fetch(
            make_fetch(large.url, stream=True),
            on_message=lambda message, body: pieces.append(len(body)),
        )
        assert isinstance(outcome, Completed)
        assert sum(pieces) == size
        assert (await download(worker, small.url))[1]
    assert shared == []


@in_event_loop
async def test_a_release_of_what_was_not_shared_ends_the_worker() -> None:
    with WorkerClient(HELLO) as worker:
        await worker.ready()
        worker.connection._channel.send(SliceReleased())
        await until(lambda: worker.process.exit_status is not None)
        assert worker.process.exit_status == 70

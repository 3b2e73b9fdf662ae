"""A real worker process, spoken to over its socket."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scrapy_curl_safe._ipc.failures import CurlCode, FailureKind
from scrapy_curl_safe._ipc.framing import encode_frame, from_worker_decoder
from scrapy_curl_safe._ipc.messages import (
    Cancel,
    Cancelled,
    Completed,
    Failed,
    Fetch,
    FromWorker,
    Heartbeat,
    Hello,
    Profile,
    Ready,
    SliceReleased,
    encode_profile,
)
from scrapy_curl_safe._ipc.shared_memory import SLOT_COUNT, SLOT_SIZE_BYTES, SharedMemoryReader
from scrapy_curl_safe._pool.worker_process import WorkerProcess
from testkit.crawling import ROOT
from testkit.origins.raw import HOLD, RawOrigin
from testkit.origins.tls import TlsOrigin
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes

PLAIN = encode_profile(Profile())


class Worker:
    """The crawler's end of a worker's socket, blocking.

    Attributes:
        shared: how many bodies came through the shared memory.
        releases: whether the worker is told when they are copied.
        heartbeats: those that came so far.
    """

    def __init__(
        self, sock: socket.socket, memory: SharedMemoryReader | None, max_memory_mb: int
    ) -> None:
        self.sock = sock
        self.memory = memory
        self.shared = 0
        self.releases = True
        self.heartbeats: list[Heartbeat] = []
        self._decoder = from_worker_decoder()
        self._frames: list[tuple[FromWorker, bytes]] = []
        sock.settimeout(60)
        hello = Hello(
            profiles=[("default", PLAIN)],
            heartbeat_interval_seconds=0.1 if max_memory_mb else 1.0,
            max_sessions=8,
            max_connections=8,
            max_memory_mb=max_memory_mb,
        )
        self.send(hello)

    def send(self, message, body=b""):
        self.sock.sendall(encode_frame(message, len(body)) + body)

    def fetch(self, id, url, **fields):
        given = {"id": id, "url": url, "profile": PLAIN, "timeout_seconds": 30.0, **fields}
        self.send(Fetch(**given))

    def receive(self):
        """Return the next message that is no heartbeat, and its body."""
        while not self._frames:
            self.wait()
        message, body = self._frames.pop(0)
        shared = getattr(message, "shared", None)
        if shared is not None:
            self.shared += 1
            body = self.memory.read(shared)
            if self.releases:
                self.send(SliceReleased())
        return message, body

    def wait(self):
        """Read what comes next."""
        data = self.sock.recv(65536)
        assert data, "the worker is gone"
        for frame in self._decoder.feed(data):
            if isinstance(frame[0], Heartbeat):
                self.heartbeats.append(frame[0])
            else:
                self._frames.append(frame)


@contextlib.contextmanager
def started(max_memory_mb=0):
    """A worker and its process, which exits when the socket to it is closed."""
    process = WorkerProcess.start()
    try:
        with process.take_socket() as sock:
            yield Worker(sock, process.memory, max_memory_mb), process
        process.wait(30)
    finally:
        process.stop()


@contextlib.contextmanager
def started_by(*command, **options):
    """A worker that this command starts, followed by the number of a socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *command, str(theirs.fileno())], pass_fds=[theirs.fileno()], **options
        )
    try:
        with ours:
            yield Worker(ours, None, 0)
        process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def worker_and_process():
    with started() as (worker, process):
        ready = worker.receive()[0]
        assert isinstance(ready, Ready)
        assert ready.problem is None
        assert "libcurl" in ready.curl
        yield worker, process


@pytest.fixture
def worker(worker_and_process):
    return worker_and_process[0]


@pytest.fixture
def process(worker_and_process):
    return worker_and_process[1]


def test_it_also_starts_as_a_module():
    with started_by("-m", "scrapy_curl_safe._worker") as worker:
        assert isinstance(worker.receive()[0], Ready)


def test_it_downloads(worker):
    with TlsOrigin() as origin:
        worker.fetch(7, origin.url + "/page")
        completed, body = worker.receive()
    assert isinstance(completed, Completed)
    assert completed.id == 7
    assert completed.head.status == 200
    assert b"/page" in body


def test_it_loads_neither_scrapy_nor_twisted():
    code = "import sys; sys.path.append(sys.argv[1]); import scrapy_curl_safe._worker.server; "
    code += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "curl_cffi" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(
        {"scrapy", "twisted", "zope", "lxml", "parsel", "pydispatch"}
    )


def test_a_running_one_has_mapped_nothing_of_them(process):
    mapped = Path(f"/proc/{process.pid}/maps").read_text()
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
from scrapy_curl_safe._ipc.framing import encode_frame
from scrapy_curl_safe._ipc.messages import Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_process import WorkerProcess

process = WorkerProcess.start()
sock = process.take_socket()
hello = Hello(profiles=[("", encode_profile(Profile()))], heartbeat_interval_seconds=3600.0)
try:
    sock.sendall(encode_frame(hello))
    data = sock.recv(65536)
except (BrokenPipeError, ConnectionResetError):
    data = b""
print("ready" if data else f"died with {process.wait(30)}")
process.stop()
"""


def test_files_named_like_modules_do_not_shadow_them(tmp_path):
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text("raise ImportError('shadowed')")
    # The crawler itself imports from elsewhere first, as `scrapy crawl` does.
    code = f"import sys; sys.path[:1] = [{str(ROOT)!r}]; sys.path.append({str(tmp_path)!r})\n"
    assert crawl_in(tmp_path, code + START) == "ready\n"


def test_the_package_may_be_reachable_only_through_the_crawlers_own_path(tmp_path):
    hidden = tmp_path / "hidden"
    shutil.copytree(ROOT / "scrapy_curl_safe", hidden / "scrapy_curl_safe")
    site = [entry for entry in sys.path if entry.endswith("site-packages")]
    code = f"import sys; sys.path[:0] = [{str(hidden)!r}]; sys.path += {site!r}\n"
    code += "import scrapy_curl_safe; print(scrapy_curl_safe.__file__)\n"
    # Without -S the installed package would be found, too.
    said = crawl_in(tmp_path, code + START, "-I", "-S")
    assert said == f"{hidden}/scrapy_curl_safe/__init__.py\nready\n"


def test_a_worker_is_of_the_same_package_as_its_crawler(tmp_path):
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
    assert crawl_in(tmp_path, code + START) == "died with 42\n"


def test_its_environment_is_a_short_list(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted")
    monkeypatch.setenv("https_proxy", "http://user:planted@127.0.0.1:1")
    monkeypatch.setenv("TZ", "UTC")
    with started() as (worker, process):
        worker.receive()
        environment = Path(f"/proc/{process.pid}/environ").read_bytes()
    assert b"planted" not in environment
    assert b"TZ=UTC" in environment


def test_a_proxy_in_the_environment_is_ignored():
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    by_hand = started_by("-m", "scrapy_curl_safe._worker", env={**os.environ, **proxies})
    with TlsOrigin() as origin, by_hand as worker:
        worker.receive()
        worker.fetch(1, origin.url)
        assert isinstance(worker.receive()[0], Completed)


def test_ctrl_c_does_not_end_it(worker, process):
    os.kill(process.pid, signal.SIGINT)
    with TlsOrigin() as origin:
        worker.fetch(1, origin.url)
        assert isinstance(worker.receive()[0], Completed)


def test_it_is_in_a_session_of_its_own(process):
    assert os.getsid(process.pid) == process.pid


def test_it_ends_when_its_socket_closes(worker, process):
    with RawOrigin(lambda head: [HOLD]) as origin:
        worker.fetch(1, origin.url)
        wait_until(lambda: origin.heads)
        worker.sock.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("garbage", [b"\0\0\0\1\0\0\0\0\xc1", b"\xff" * 100, b"GET / HTTP/1.1\r\n"])
def test_wrong_bytes_end_it(worker, process, garbage):
    worker.sock.sendall(garbage)
    assert process.wait(30) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "dict://127.0.0.1:1/"])
def test_it_speaks_nothing_but_http(worker, url):
    worker.fetch(1, url)
    message, body = worker.receive()
    assert isinstance(message, Failed)
    assert message.code == CurlCode.UNSUPPORTED_PROTOCOL == 1
    assert message.kind is FailureKind.UNSUPPORTED_SCHEME
    assert body == b""


def test_a_cancel_stops_the_transfer_and_nothing_else(worker):
    with RawOrigin(lambda head: [HOLD]) as held, TlsOrigin() as origin:
        worker.fetch(1, held.url)
        wait_until(lambda: held.heads)
        worker.send(Cancel(1))
        worker.send(Cancel(99))
        wait_until(lambda: held.abandoned)
        worker.fetch(2, origin.url)
        cancelled, completed = (worker.receive()[0] for _ in range(2))
    assert cancelled == Cancelled(1)
    assert isinstance(completed, Completed)
    assert completed.id == 2


def test_heartbeats_come_unasked():
    with started(max_memory_mb=1) as (worker, _):
        while len(worker.heartbeats) < 3:
            worker.wait()
    assert all(h.memory_mb > 5 and h.descriptors > 3 for h in worker.heartbeats)
    assert not any(heartbeat.resolver_changed for heartbeat in worker.heartbeats)


def test_idle_sessions_are_closed_when_there_are_too_many(worker):
    """Each session holds a connection to the origin: the origin sees them go."""
    with TlsOrigin() as origin:
        for number in range(12):
            profile = encode_profile(Profile(interface=f"127.0.0.{number + 2}"))
            worker.fetch(number, origin.url, profile=profile)
            message, _ = worker.receive()
            assert isinstance(message, Completed), message
        wait_until(lambda: origin.open_connections <= 8)
        assert origin.accepted == 12


def test_large_bodies_come_through_the_shared_memory_while_slots_are_free(worker):
    size = 200_000
    worker.releases = False
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as origin:
        for number in range(SLOT_COUNT + 2):
            worker.fetch(number, origin.url)
            _, body = worker.receive()
            assert len(body) == body.count(b"x") == size
        assert worker.shared == SLOT_COUNT
        worker.releases = True
        worker.send(SliceReleased())
        worker.fetch(1000, origin.url)
        assert len(worker.receive()[1]) == size
        assert worker.shared == SLOT_COUNT + 1


def test_a_body_that_fits_no_slot_takes_the_socket(worker):
    size = 2 * SLOT_SIZE_BYTES + 12_345
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body) as origin:
        for number in range(3):
            worker.fetch(number, origin.url)
            assert worker.receive()[1] == body
    assert worker.shared == 0


def test_small_and_streamed_bodies_take_the_socket(worker):
    size = 1_000_000
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as origin:
        worker.fetch(1, origin.url, stream=True)
        received = 0
        while not isinstance((message := worker.receive())[0], Completed):
            received += len(message[1])
        assert received == size
    with TlsOrigin() as origin:
        worker.fetch(2, origin.url)
        assert worker.receive()[1]
    assert worker.shared == 0


def test_a_release_of_what_was_not_shared_ends_the_worker(worker, process):
    worker.send(SliceReleased())
    assert process.wait(30) == 70

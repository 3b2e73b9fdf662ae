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

from scrapy_curl_safe import wire
from scrapy_curl_safe.arena import SLAB, SLABS, Source
from scrapy_curl_safe.pool.process import start_process
from testkit.crawling import ROOT
from testkit.origins.raw import HOLD, RawOrigin
from testkit.origins.tls import TlsOrigin
from testkit.waiting import wait_until

PLAIN = wire.encode_profile(wire.Profile())


class Talk:
    """The crawler's end of a worker's socket, blocking."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        sock: socket.socket,
        memory: Source | None,
        max_memory: int,
    ) -> None:
        self.memory = memory
        #: How many bodies came by the shared memory, and whether they are acknowledged.
        self.placed = 0
        self.takes = True
        self.process = process
        self.sock = sock
        self._decoder = wire.from_worker_decoder()
        self._frames: list[tuple[wire.FromWorker, bytes]] = []
        sock.settimeout(60)
        self.pulses: list[wire.Pulse] = []
        interval = 0.1 if max_memory else 1.0
        self.send(wire.Hello(interval, 8, 8, max_memory, [("default", PLAIN)]))

    def send(self, message, body=b""):
        self.sock.sendall(wire.encode(message, len(body)) + body)

    def fetch(self, id, url, **changes):
        fields = {
            "method": "GET", "headers": [], "profile": PLAIN, "timeout": 30.0, "maxsize": 0,
            "warnsize": 0, "keep_partial": False, "stream": False, "tell_tls": False,
            "fresh": False, **changes,
        }  # fmt: skip
        self.send(wire.Fetch(id=id, url=url, **fields))

    def receive(self):
        """The next message that is no sign of life, and its body."""
        while not self._frames:
            self.wait()
        message, body = self._frames.pop(0)
        place = getattr(message, "place", None)
        if place is not None:
            self.placed += 1
            body = self.memory.read(place)
            if self.takes:
                self.send(wire.Taken())
        return message, body

    def wait(self):
        """Take what comes next, signs of life apart."""
        data = self.sock.recv(65536)
        assert data, "the worker is gone"
        for frame in self._decoder.feed(data):
            if isinstance(frame[0], wire.Pulse):
                self.pulses.append(frame[0])
            else:
                self._frames.append(frame)


@contextlib.contextmanager
def talking(process, sock, memory=None, max_memory=0):
    with sock:
        talk = Talk(process, sock, memory, max_memory)
        yield talk
    try:
        process.wait(30)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def worker():
    with talking(*start_process()) as talk:
        ready = talk.receive()[0]
        assert isinstance(ready, wire.Ready)
        assert ready.problem is None
        assert ready.pid == talk.process.pid
        assert "libcurl" in ready.curl
        yield talk


def start_by_hand(*command, **options):
    """A worker started with this command and the number of its socket."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, *command, str(theirs.fileno())], pass_fds=[theirs.fileno()], **options
        )
    return process, ours


def test_it_also_starts_as_a_module():
    with talking(*start_by_hand("-m", "scrapy_curl_safe.worker")) as talk:
        assert isinstance(talk.receive()[0], wire.Ready)


def test_it_downloads(worker):
    with TlsOrigin() as origin:
        worker.fetch(7, origin.url + "/page")
        done, body = worker.receive()
    assert isinstance(done, wire.Done)
    assert done.id == 7
    assert done.head.status == 200
    assert b"/page" in body


def test_it_loads_neither_scrapy_nor_twisted():
    code = "import sys; sys.path.append(sys.argv[1]); import scrapy_curl_safe.worker.server; "
    code += "print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", code, str(ROOT)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "curl_cffi" in loaded
    assert {name.partition(".")[0] for name in loaded}.isdisjoint(
        {"scrapy", "twisted", "zope", "lxml", "parsel", "pydispatch"}
    )


def test_a_running_one_has_mapped_nothing_of_them(worker):
    mapped = Path(f"/proc/{worker.process.pid}/maps").read_text()
    assert "curl_cffi" in mapped
    assert "lxml" not in mapped
    assert "zope" not in mapped


SHADOWS = ("ssl", "socket", "asyncio", "struct", "json", "msgspec", "curl_cffi", "certifi")


def crawl_in(directory: Path, code: str, *flags: str) -> str:
    """Start a worker from a crawler of this code in this directory; what it says."""
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
from scrapy_curl_safe.pool.process import start_process
process, sock, memory = start_process()
from scrapy_curl_safe import wire
try:
    profile = wire.encode_profile(wire.Profile())
    sock.sendall(wire.encode(wire.Hello(3600.0, 8, 8, 0, [("", profile)])))
    data = sock.recv(65536)
except (BrokenPipeError, ConnectionResetError):
    data = b""
print("ready" if data else f"died with {process.wait()}")
sock.close()
process.wait()
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
    """Though another copy can be imported, here the installed one."""
    hidden = tmp_path / "hidden"
    shutil.copytree(ROOT / "scrapy_curl_safe", hidden / "scrapy_curl_safe")
    with (hidden / "scrapy_curl_safe/worker/server.py").open("a") as server:
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
    with talking(*start_process()) as talk:
        talk.receive()
        environment = Path(f"/proc/{talk.process.pid}/environ").read_bytes()
    assert b"planted" not in environment
    assert b"TZ=UTC" in environment


def test_a_proxy_in_the_environment_is_ignored():
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:1")
    command = ("-m", "scrapy_curl_safe.worker")
    by_hand = start_by_hand(*command, env={**os.environ, **proxies})
    with TlsOrigin() as origin, talking(*by_hand) as talk:
        talk.receive()
        talk.fetch(1, origin.url)
        assert isinstance(talk.receive()[0], wire.Done)


def test_ctrl_c_does_not_end_it(worker):
    worker.process.send_signal(signal.SIGINT)
    with TlsOrigin() as origin:
        worker.fetch(1, origin.url)
        assert isinstance(worker.receive()[0], wire.Done)


def test_it_is_in_a_session_of_its_own(worker):
    assert os.getsid(worker.process.pid) == worker.process.pid


def test_it_ends_when_its_socket_closes(worker):
    with RawOrigin(lambda head: [HOLD]) as origin:
        worker.fetch(1, origin.url)
        wait_until(lambda: origin.heads)
        worker.sock.close()
        assert worker.process.wait(30) == 0


@pytest.mark.parametrize("garbage", [b"\0\0\0\1\0\0\0\0\xc1", b"\xff" * 100, b"GET / HTTP/1.1\r\n"])
def test_wrong_bytes_end_it(worker, garbage):
    worker.sock.sendall(garbage)
    assert worker.process.wait(30) == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "dict://127.0.0.1:1/"])
def test_it_speaks_nothing_but_http(worker, url):
    worker.fetch(1, url)
    message, body = worker.receive()
    assert isinstance(message, wire.Failed)
    assert message.code == 1  # CURLE_UNSUPPORTED_PROTOCOL
    assert body == b""


def test_a_cancel_stops_the_transfer_and_nothing_else(worker):
    with RawOrigin(lambda head: [HOLD]) as held, TlsOrigin() as origin:
        worker.fetch(1, held.url)
        wait_until(lambda: held.heads)
        worker.send(wire.Cancel(1))
        worker.send(wire.Cancel(99))
        wait_until(lambda: held.abandoned)
        worker.fetch(2, origin.url)
        cancelled, done = (worker.receive()[0] for _ in range(2))
    assert cancelled == wire.Cancelled(1)
    assert isinstance(done, wire.Done)
    assert done.id == 2


def test_signs_of_life_come_unasked():
    with talking(*start_process(), max_memory=1) as talk:
        while len(talk.pulses) < 3:
            talk.wait()
    assert all(p.memory > 5 and p.descriptors > 3 and p.in_flight == 0 for p in talk.pulses)
    assert not any(pulse.is_stale for pulse in talk.pulses)


def test_idle_sessions_are_closed_when_there_are_too_many(worker):
    """Each session holds a connection to the origin: the origin sees them go."""
    with TlsOrigin() as origin:
        for number in range(12):
            profile = wire.encode_profile(wire.Profile(interface=f"127.0.0.{number + 2}"))
            worker.fetch(number, origin.url, profile=profile)
            message, _ = worker.receive()
            assert isinstance(message, wire.Done), message
        wait_until(lambda: origin.open_connections <= 8)
        assert origin.accepted == 12


def test_large_bodies_come_by_the_shared_memory_as_long_as_there_is_room(worker):
    size = 200_000
    worker.takes = False
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as origin:
        for number in range(SLABS + 2):
            worker.fetch(number, origin.url)
            _, body = worker.receive()
            assert len(body) == body.count(b"x") == size
        assert worker.placed == SLABS
        worker.takes = True
        worker.send(wire.Taken())
        worker.fetch(1000, origin.url)
        assert len(worker.receive()[1]) == size
        assert worker.placed == SLABS + 1


def test_a_body_that_is_too_large_for_the_shared_memory_takes_the_socket(worker):
    size = 2 * SLAB + 12_345
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body) as origin:
        for number in range(3):
            worker.fetch(number, origin.url)
            assert worker.receive()[1] == body
    assert worker.placed == 0


def test_small_and_streamed_bodies_take_the_socket(worker):
    size = 1_000_000
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size) as origin:
        worker.fetch(1, origin.url, stream=True)
        received = 0
        while not isinstance((message := worker.receive())[0], wire.Done):
            received += len(message[1])
        assert received == size
    with TlsOrigin() as origin:
        worker.fetch(2, origin.url)
        assert worker.receive()[1]
    assert worker.placed == 0


def test_a_crawler_that_gives_back_what_it_was_not_given_ends_the_worker(worker):
    worker.send(wire.Taken())
    assert worker.process.wait(30) == 70

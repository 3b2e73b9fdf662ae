"""Windows: whole crawls, and what only Windows does. `make test-windows` runs them under Wine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

if sys.platform != "win32":
    pytest.skip("this is not Windows", allow_module_level=True)

from scrapy_curl_safe._platform import windows, windows_api, windows_poller, windows_sockets
from testkit.crawling import ROOT, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.certs import certs
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.scenario import Scenario
from testkit.waiting import wait_until

MEGABYTE = os.urandom(1 << 20)
ADDON = ("-s", 'ADDONS={"scrapy_curl_safe.Addon": 500}', "-s", "CONCURRENT_ITEMS=1")


# Crawls


@pytest.mark.processes
def test_an_origin_that_drops_handshakes(crawl: RunCrawl) -> None:
    with TlsOrigin(drop=0.2, how="mix", requests_per_connection=1) as origin:
        crawled = crawl(*urls(origin, 100), CURL_SAFE_HANDSHAKE_BACKOFF_BASE=0.01)
    assert_all_pages(crawled, 100)
    assert crawled.stat("handshake/failure_count") == origin.dropped > 0


@pytest.mark.processes
def test_large_pages(crawl: RunCrawl) -> None:
    with TlsOrigin(lambda request: Reply(body=MEGABYTE)) as origin:
        crawled = crawl(*urls(origin, 30))
    assert_all_pages(crawled, 30)
    assert {response["body"] for response in crawled.responses} == {MEGABYTE.decode("latin-1")}


@pytest.mark.processes
def test_a_body_in_a_file(crawl: RunCrawl, tmp_path: Path) -> None:
    meta = {"curl_safe": {"file": True}}
    with TlsOrigin(lambda request: Reply(body=MEGABYTE)) as origin:
        requests = [{"url": url, "meta": meta} for url in urls(origin, 4)]
        crawled = crawl(*requests, CURL_SAFE_FILES_DIR=str(tmp_path / "files"))
    assert_all_pages(crawled, 4)
    files = sorted((tmp_path / "files").iterdir())
    assert [file.read_bytes() == MEGABYTE for file in files] == [True] * 4
    assert not any(file.name.endswith(".part") for file in files)


@pytest.mark.processes
def test_a_killed_worker_is_replaced(start_crawl: StartCrawl) -> None:
    with TlsOrigin(delay=0.1) as origin:
        crawl = start_crawl(*urls(origin, 100))
        crawl.wait_for(lambda: origin.in_service > 0 and crawl.ready_workers)
        os.kill(crawl.ready_workers[0][1], signal.SIGTERM)
        crawled = crawl.finish()
    assert_all_pages(crawled, 100)
    assert crawled.stat("worker/crash_count") == 1
    assert "died (exit status 15)" in crawled.log


@pytest.mark.processes
def test_more_at_once_than_select_takes(crawl: RunCrawl) -> None:
    """Each on a connection of its own: none is answered before all have come."""
    count = 1300
    everyone = threading.Event()

    def app(request: SeenRequest) -> Reply:
        if len(origin.requests) == count:
            everyone.set()
        return Reply(body=b"x")

    with Barrier(app, count) as origin:
        crawled = crawl(
            *urls(origin, count),
            CONCURRENT_REQUESTS=count,
            CONCURRENT_REQUESTS_PER_DOMAIN=count,
            CURL_SAFE_ADAPTIVE=False,
            DOWNLOAD_TIMEOUT=240,
            LOG_LEVEL="INFO",
        )
    assert_all_pages(crawled, count)
    assert origin.accepted == count


class Barrier(TlsOrigin):
    """Answers nobody before so many requests have come."""

    def __init__(self, app: Any, count: int) -> None:
        super().__init__(app)
        self._count = count
        self._everyone: Any = None

    async def _answer(self, request: SeenRequest) -> Reply:
        if self._everyone is None:
            self._everyone = asyncio.Event()
        self._requests.append(request)
        if len(self._requests) == self._count:
            self._everyone.set()
        await self._everyone.wait()
        return self._app(request)


@pytest.mark.processes
def test_a_stopped_crawl_ends(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.05) as origin:
        crawled = crawl(*urls(origin, 200), scenario=Scenario(close_spider_at=20))
    assert crawled.stats["finish_reason"] == "enough"
    assert 20 <= len(crawled.responses) < 200


@pytest.mark.processes
def test_a_worker_is_recycled_by_its_memory(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.1) as origin:
        crawled = crawl(*urls(origin, 200), CURL_SAFE_WORKER_MAX_MEMORY_MB=1)
    assert_all_pages(crawled, 200)
    assert crawled.stat("worker/recycle_count") > 0


@pytest.mark.processes
def test_metrics_are_served_and_the_port_is_nobody_elses(start_crawl: StartCrawl) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with TlsOrigin(delay=3600) as origin:
        crawl = start_crawl(f"{origin.url}/", CURL_SAFE_PROMETHEUS_PORT=port)
        crawl.wait_for(lambda: origin.in_service > 0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
            assert b"curl_safe_requests_total 1.0" in response.read()
        with socket.socket() as rival, pytest.raises(OSError, match=r"."):
            rival.bind(("127.0.0.1", port))


# Commands


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TEMP": str(tmp_path),
        "SSL_CERT_FILE": str(certs().ca_pem),
        # A code page without the characters of boxes.
        "PYTHONIOENCODING": "cp1252",
    }
    wait_until(lambda: not worker_pids(tmp_path))


def curlsafe(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    code = "from scrapy.cmdline import execute; execute()"
    run = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", code, "curlsafe", *arguments],
        env=environment,
        cwd=environment["TEMP"],
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert not run.stderr, run.stderr
    return run.returncode, run.stdout.decode("cp1252")


@pytest.mark.processes
def test_the_doctor_in_a_pipe(environment: dict[str, str]) -> None:
    code, printed = curlsafe(environment, "doctor", "-v", *ADDON)
    assert "system: Windows, which has no shared memory, sandbox" in printed
    assert "worker: " in printed
    assert code == 0, printed
    code, printed = curlsafe(environment, "doctor", "--json", *ADDON)
    checks = {check["check"]: check for check in json.loads(printed)["checks"]}
    assert checks["local handshake"]["status"] == "ok"


@pytest.mark.processes
def test_the_probe_in_a_pipe(environment: dict[str, str]) -> None:
    with TlsOrigin() as origin:
        code, printed = curlsafe(environment, "probe", f"{origin.url}/", "-n", "16", "-c", "4")
    assert "healthy" in printed
    assert code == 0, printed


# The socket to a worker


def test_no_other_process_takes_the_place_of_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intruders connect to the port before, and while, the crawler does."""
    intruders: list[socket.socket] = []
    connect = socket.create_connection

    def connect_late(address: tuple[str, int], *arguments: Any) -> socket.socket:
        for _ in range(3):
            intruders.append(connect(address))
            intruders[-1].sendall(b"forged")
        # Nobody else can listen there.
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with pytest.raises(PermissionError):
                rival.bind(address)
        ours = connect(address, *arguments)
        intruders.append(connect(address))
        return ours

    monkeypatch.setattr(socket, "create_connection", connect_late)
    ours, theirs = windows_sockets.connected_pair()
    with ours, theirs:
        ours.sendall(b"from us")
        assert theirs.recv(100) == b"from us"
        theirs.sendall(b"from them")
        assert ours.recv(100) == b"from them"
        address = theirs.getsockname()
        with pytest.raises(OSError, match=r"."):
            connect(address, 5)
    for intruder in intruders:
        intruder.settimeout(10)
        with contextlib.suppress(ConnectionError):
            assert intruder.recv(100) == b""
        intruder.close()


def test_several_buffers_are_sent_in_order() -> None:
    ours, theirs = windows_sockets.connected_pair()
    with ours, theirs:
        send = windows.send_buffers(ours)
        parts = [memoryview(bytes([n]) * size) for n, size in enumerate((10, 70_000, 5, 6))]
        assert send(parts) == 10
        assert send(parts[1:]) == 70_000
        assert send(parts[2:]) == 11
        received = b""
        while len(received) < 70_021:
            received += theirs.recv(100_000)
        assert received == b"".join(parts)


# What is ready


def test_a_poller_beyond_the_limit_of_select() -> None:
    poller = windows_poller.WindowsPoller()
    pairs = [socket.socketpair() for _ in range(300)]
    sockets = [end for pair in pairs for end in pair]
    try:
        for number, end in enumerate(sockets):
            poller.register(end.fileno(), windows.READABLE)
            if number in (400, 599):  # one by select(), one by WSAPoll()
                assert poller.poll(0) == []
                sockets[0].send(b"x")
                assert poller.poll(60) == [(sockets[1].fileno(), windows.READABLE)]
                sockets[1].recv(10)
        poller.modify(sockets[5].fileno(), windows.READABLE | windows.WRITABLE)
        assert poller.poll(60) == [(sockets[5].fileno(), windows.WRITABLE)]
        # The last one takes the place of one that leaves.
        poller.unregister(sockets[5].fileno())
        sockets[598].send(b"x")
        assert poller.poll(60) == [(sockets[599].fileno(), windows.READABLE)]
    finally:
        for end in sockets:
            end.close()


def test_a_connection_that_fails_is_ready() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    poller = windows_poller.WindowsPoller()
    with socket.socket() as client:
        client.setblocking(False)
        client.connect_ex(address)
        poller.register(client.fileno(), windows.WRITABLE)
        assert poller.poll(60) == [(client.fileno(), windows.READABLE | windows.WRITABLE)]


# Processes and resources


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit status 0"),
        (70, "exit status 70"),
        (0xC0000005, "access violation (0xc0000005)"),
        (0xC0000409, "fatal error, such as abort() (0xc0000409)"),
        (0xC0001234, "exit status 0xc0001234"),
    ],
)
def test_exit_statuses_in_words(status: int, text: str) -> None:
    assert windows.describe_exit(status) == text


@pytest.mark.processes
def test_a_worker_of_a_virtual_environment_gets_the_socket(tmp_path: Path) -> None:
    """Its python.exe would start another process."""
    home = Path(sys.executable).parent
    (tmp_path / "pyvenv.cfg").write_text(f"home = {home}\ninclude-system-site-packages = false\n")
    launcher = str(tmp_path / "Scripts" / "python.exe")
    code = (
        f"import os, sys; sys.path.append({str(ROOT)!r})\n"
        "from scrapy_curl_safe._platform.windows import take_inherited\n"
        "sock, _ = take_inherited([])\n"
        "sock.sendall(f'{os.getpid()} {sys.executable}'.encode())\n"
    )
    environment = {"SYSTEMROOT": os.environ["SYSTEMROOT"]}
    process, sock = windows.start_worker([launcher, "-I", "-c", code], environment, None)
    with sock:
        assert sock.recv(1000).decode() == f"{process.pid} {launcher}"
    assert process.wait(60) == 0


@pytest.mark.processes
def test_a_process_of_the_group_ends_with_its_owner() -> None:
    code = (
        "import subprocess, sys\n"
        "from scrapy_curl_safe._platform.windows_api import Job\n"
        "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "group = Job()\n"
        "group.add(child.pid)\n"
        "print(child.pid, flush=True)\n"
        "input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert is_running(pid)
        owner.kill()
        wait_until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid)


def test_what_a_process_uses_is_known() -> None:
    before = windows.open_descriptors()
    files = [windows_api.open_file(os.devnull, new=False) for _ in range(10)]
    assert windows.open_descriptors() >= before + 10 or before == 0  # Wine 8 counts none
    for descriptor in files:
        os.close(descriptor)
    assert 0 < windows.resident_megabytes() < 10_000
    available = windows.available_megabytes()
    assert available is not None
    assert available > 0
    windows.trim_memory()


def test_a_file_is_written_by_one_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "body.part")
    descriptor = windows.create_locked_file(path)
    with pytest.raises(OSError, match="another download writes"):
        windows.create_locked_file(path)
    os.write(descriptor, b"a\nb")
    # While it is open, it gets its final name.
    os.replace(path, tmp_path / "body")
    os.close(descriptor)
    assert (tmp_path / "body").read_bytes() == b"a\nb"
    # What nobody writes any more makes way.
    Path(path).write_bytes(b"abandoned")
    descriptor = windows.create_locked_file(path)
    os.close(descriptor)
    assert Path(path).read_bytes() == b""

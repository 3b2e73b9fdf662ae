"""The promises of docs/security.md, kept by real workers in real crawls."""

from __future__ import annotations

import ast
import base64
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from scrapy_curl_safe._platform.landlock import landlock_version
from testkit.crawling import ROOT, Crawl, Crawled
from testkit.origins.proxies import Proxy
from testkit.origins.tls import Reply, TlsOrigin

pytestmark = pytest.mark.processes

SECRET = "hunter2-planted"


@pytest.fixture
def running(start_crawl: Callable[..., Crawl]) -> Iterator[Crawl]:
    """A crawl in the middle of a page, with secrets around it."""
    with TlsOrigin(delay=3600) as origin:
        crawl = start_crawl(
            {
                "url": f"{origin.url}/?token={SECRET}",
                "headers": {"Authorization": f"Bearer {SECRET}"},
            },
            env={"AWS_SECRET_ACCESS_KEY": SECRET, "HOME": os.environ.get("HOME", "/")},
        )
        crawl.wait_for(lambda: origin.requests and len(crawl.ready_workers) == 2)
        yield crawl


def of_worker(crawl: Crawl, name: str) -> str:
    return Path(f"/proc/{crawl.workers()[0]}/{name}").read_text()


def test_a_secret_of_the_environment_does_not_reach_a_worker(running: Crawl) -> None:
    for pid in running.workers():
        names = {
            entry.split(b"=")[0].decode()
            for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            if entry
        }
        assert "AWS_SECRET_ACCESS_KEY" not in names
        assert "HOME" not in names
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()


def test_ps_shows_no_secret(running: Crawl) -> None:
    for pid in [running.process.pid, *running.workers()]:
        assert SECRET.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_core_dumps_are_off(running: Crawl) -> None:
    (line,) = (x for x in of_worker(running, "limits").splitlines() if "core file size" in x)
    assert line.split()[4:6] == ["1", "1"]


def test_the_workers_are_in_the_sandbox(running: Crawl) -> None:
    if landlock_version() < 1:
        pytest.skip("this kernel has no Landlock")
    assert "NoNewPrivs:\t1" in of_worker(running, "status")


def test_the_socket_has_no_name_that_others_could_connect_to(running: Crawl) -> None:
    lines = Path("/proc/net/unix").read_text().splitlines()[1:]
    inodes = {line.split()[6]: line.split()[7:] for line in lines}
    for pid in running.workers():
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        ours = [inodes[link[8:-1]] for link in links if link[8:-1] in inodes]
        assert ours
        assert all(name == [] for name in ours)


def test_a_worker_has_no_descriptor_of_its_crawler(running: Crawl) -> None:
    """Beside the socket to it, the memory for large bodies, and the log."""
    theirs = {os.readlink(fd) for fd in Path(f"/proc/{running.process.pid}/fd").iterdir()}
    for pid in running.workers():
        shared = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()} & theirs
        kinds = {link.partition(":")[0] for link in shared}
        # stderr is a pipe here; each has an epoll of its own, all of one name.
        assert kinds <= {"pipe", "anon_inode", "/dev/null", "/memfd"}, shared


def test_a_netrc_is_not_read(crawl: Callable[..., Crawled], tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password hunter2\n")
    with TlsOrigin() as origin:
        crawl(origin.url, env={"HOME": str(tmp_path), "NETRC": str(tmp_path / ".netrc")})
        assert origin.requests[0].header("Authorization") is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/"])
def test_a_redirect_to_another_scheme_is_not_followed_by_a_worker(
    crawl: Callable[..., Crawled], url: str
) -> None:
    with TlsOrigin(lambda seen: Reply(status=302, headers=[(b"location", url.encode())])) as origin:
        crawled = crawl(origin.url, REDIRECT_ENABLED=False, HTTPERROR_ALLOW_ALL=True)
        assert [r["status"] for r in crawled.responses] == [302]
        assert len(origin.requests) == 1


def test_no_secret_is_logged(crawl: Callable[..., Crawled]) -> None:
    """At DEBUG, with failures of all kinds."""
    basic = base64.b64encode(f"user:{SECRET}".encode()).decode()
    with TlsOrigin() as origin, Proxy("user", "another") as proxy, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        credentials = f"user:{quote(SECRET)}@"
        crawled = crawl(
            *(
                {"url": origin.url, "meta": {"proxy": f"{scheme}://{credentials}{where}"}}
                for scheme in ("http", "socks5", "https")
                for where in (proxy.location, f"127.0.0.1:{closed.getsockname()[1]}")
            ),
            {"url": origin.url, "headers": {"Authorization": f"Basic {basic}"}},
            {"url": origin.url, "headers": {"Cookie": f"session={SECRET}", "X": "a\nb"}},
            RETRY_TIMES=1,
            DOWNLOAD_TIMEOUT=3,
            LOG_LEVEL="DEBUG",
            DOWNLOADER_CLIENT_TLS_VERBOSE_LOGGING=True,
        )
    assert len(crawled.errors) == 7
    assert SECRET not in crawled.log
    assert basic not in crawled.log
    assert not any(SECRET in error["text"] for error in crawled.errors)


UNPICKLERS = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "multiprocessing"}


def test_nothing_in_the_package_can_unpickle() -> None:
    for path in (ROOT / "scrapy_curl_safe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("eval", "exec", "compile"), path
            assert not {name.partition(".")[0] for name in names} & UNPICKLERS, path

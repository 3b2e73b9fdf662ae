"""The example project's origin, alone: what it serves, what it drops, and when it ends."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.processes
PROJECT = Path(__file__).resolve().parent.parent / "example_project"
HREF = re.compile(r'href="([^"]*)"')
UNVERIFIED = ssl._create_unverified_context()

START_AND_WAIT = """
from docs_example.local_origin import LocalOrigin

origin = LocalOrigin()
print(*origin.start(), flush=True)
input()
"""


class Client:
    """Gets paths over one connection at a time; opens the next when the origin closes it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection = http.client.HTTPSConnection(urlsplit(url).netloc, context=UNVERIFIED)

    def send(self, path: str) -> None:
        self._connection.request("GET", path)

    def receive(self) -> tuple[int, bytes]:
        response = self._connection.getresponse()
        return response.status, response.read()

    def get(self, path: str) -> tuple[int, bytes]:
        self.send(path)
        return self.receive()

    def connect(self) -> None:
        self._connection.connect()

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def origin_process(*options: str, env: dict[str, str] | None = None) -> Iterator[Any]:
    with subprocess.Popen(
        [sys.executable, "-m", "docs_example.origin", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
        env=env,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def start_origin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Starts a `LocalOrigin` and returns it with its URL and number of pages."""
    monkeypatch.syspath_prepend(PROJECT)
    local_origin = importlib.import_module("docs_example.local_origin")
    with contextlib.ExitStack() as stack:

        def start(**options: Any) -> tuple[Any, str, int]:
            origin = local_origin.LocalOrigin(**options)
            url, pages = origin.start()
            stack.callback(origin._process.kill)
            return origin, url, pages

        yield start


def first_line(process: Any) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(process.stdout.readline())
    return line


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def assert_gone(process: Any) -> None:
    """Assert that neither a process nor anything that it started is left."""
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("how", ["stdin", "sigterm"])
def test_announces_itself_and_ends_with_its_counts(how: str) -> None:
    with origin_process() as process:
        announced = first_line(process)
        url = urlsplit(announced["url"])
        assert (url.scheme, url.hostname, url.path) == ("https", "127.0.0.1", "/")
        assert announced["pages"] > 300
        if how == "sigterm":
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        output, errors = process.communicate()

        assert process.returncode == 0
        assert errors == ""
        assert json.loads(output) == {
            "pages": announced["pages"],
            "served": 0,
            "page_hits": {"total": 0, "distinct": 0, "max": 0},
            "connections": 0,
            "handshakes": 0,
            "handshakes_dropped": {"close": 0, "reset": 0},
            "handshakes_failed": 0,
        }
        assert_gone(process)


def test_ends_in_the_middle_of_a_response() -> None:
    with origin_process("--drop=0") as process:
        client = Client(first_line(process)["url"])
        client.send("/tkinter.html")
        output, errors = process.communicate()
        client.close()

        assert process.returncode == 0
        assert errors == ""
        assert json.loads(output)["connections"] <= 1
        assert_gone(process)


def test_ends_when_the_process_that_started_it_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    ) as starter:
        assert starter.stdout is not None
        url, _ = starter.stdout.readline().split()
        starter.kill()
        # The origin has inherited stderr: it ends only when both are gone.
        starter.communicate()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(url))


def test_every_page_is_reachable_and_no_link_is_dead(start_origin: Callable[..., Any]) -> None:
    origin, url, pages = start_origin(drop=0, requests_per_connection=4)
    client = Client(url)
    seen = {url}
    to_get = [url]
    sizes = []
    while to_get:
        page = to_get.pop()
        status, body = client.get(urlsplit(page).path)
        assert status == 200, page
        sizes.append(len(body))
        for href in HREF.findall(body.decode()):
            target = urldefrag(urljoin(page, href)).url
            assert target.startswith(url), f"{page} links {href}"
            if target not in seen:
                seen.add(target)
                to_get.append(target)
    client.close()
    counts = origin.stop()

    assert len(seen) == pages
    assert min(sizes) < 2_000
    assert max(sizes) > 500_000
    assert counts["page_hits"] == {"total": pages, "distinct": pages, "max": 1}
    assert counts["served"] == pages
    assert counts["connections"] == counts["handshakes"] == -(-pages // 4)


def test_every_page_is_linked_from_the_first(start_origin: Callable[..., Any]) -> None:
    _, url, pages = start_origin(drop=0)
    client = Client(url)
    _, body = client.get("/")
    client.close()
    assert len(set(HREF.findall(body.decode()))) == pages - 1


def test_a_page_is_the_same_each_time(start_origin: Callable[..., Any]) -> None:
    origin, url, _ = start_origin(drop=0)
    client = Client(url)
    assert len({client.get(f"/json.html?{number}") for number in range(5)}) == 1
    client.close()
    assert origin.stop()["page_hits"] == {"total": 5, "distinct": 1, "max": 5}


def test_what_is_no_page_is_not_counted_as_one(start_origin: Callable[..., Any]) -> None:
    origin, url, _ = start_origin(drop=0)
    client = Client(url)
    assert client.get("/robots.txt") == (200, b"User-agent: *\nAllow: /\n")
    assert client.get("/none.html")[0] == 404
    client.close()
    counts = origin.stop()
    assert counts["served"] == 2
    assert counts["page_hits"]["total"] == 0


def test_does_not_show_its_environment() -> None:
    # Few enough variables for pydoc not to cut the listing short.
    with origin_process("--drop=0", env={"MARKER": "not for the page"}) as process:
        client = Client(first_line(process)["url"])
        status, body = client.get("/os.html")
        client.close()
    assert status == 200
    assert b"environ" in body
    assert b"MARKER" not in body


def test_serves_many_connections_at_once(start_origin: Callable[..., Any]) -> None:
    origin, url, _ = start_origin(drop=0)
    clients = [Client(url) for _ in range(100)]
    for client in clients:
        client.connect()
    for client in clients:
        client.send("/")
    answers = {client.receive() for client in clients}
    for client in clients:
        client.close()
    counts = origin.stop()

    assert [status for status, _ in answers] == [200]
    assert counts["served"] == counts["connections"] == 100


def test_drops_handshakes_in_both_ways(start_origin: Callable[..., Any]) -> None:
    origin, url, _ = start_origin(drop=0.5)
    seen: Counter[str] = Counter()
    for _ in range(200):
        with socket.create_connection(address_of(url)) as connection:
            try:
                UNVERIFIED.wrap_socket(connection).close()
                seen["completed"] += 1
            except ssl.SSLEOFError:
                seen["close"] += 1
            except ConnectionResetError:
                seen["reset"] += 1
    counts = origin.stop()

    dropped = counts["handshakes_dropped"]
    assert dropped == {"close": seen["close"], "reset": seen["reset"]}
    assert 50 < sum(dropped.values()) < 150
    assert abs(dropped["close"] - dropped["reset"]) <= 1
    assert counts["handshakes"] == seen["completed"]
    assert counts["connections"] == 200
    assert counts["handshakes_failed"] == 0


def test_the_same_seed_drops_the_same_handshakes(start_origin: Callable[..., Any]) -> None:
    def completed() -> list[bool]:
        origin, url, _ = start_origin(drop=0.5, seed=7)
        outcomes = []
        for _ in range(30):
            client = Client(url)
            try:
                client.connect()
                outcomes.append(True)
            except OSError:
                outcomes.append(False)
            client.close()
        origin.stop()
        return outcomes

    assert completed() == completed()


def test_counts_clients_that_leave_before_the_handshake(start_origin: Callable[..., Any]) -> None:
    origin, url, _ = start_origin(drop=0)
    with socket.create_connection(address_of(url)):
        pass
    # The connection after it is answered only once the first one was accepted.
    client = Client(url)
    client.get("/robots.txt")
    client.close()
    counts = origin.stop()
    assert (counts["connections"], counts["handshakes"], counts["handshakes_failed"]) == (2, 1, 1)

"""The live view of a crawl in a terminal (CURL_SAFE_PROGRESS)."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scrapy_curl_safe._crawl.progress import ProgressWindow
from scrapy_curl_safe._crawl.report.points import Sample
from testkit.origins.certs import certs
from testkit.origins.holding import HoldingOrigin
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.waiting import wait_until

if sys.platform != "win32":
    from testkit.terminal import Terminal

processes = pytest.mark.processes
needs_terminals = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")

PAGES = 10
HELD = 5
SPIDER = """
import scrapy


class Shown(scrapy.Spider):
    name = "shown"
    custom_settings = {
        "ADDONS": {"scrapy_curl_safe.Addon": 500},
        "CURL_SAFE_PROGRESS": True,
        "CURL_SAFE_WORKERS": 1,
        "CURL_SAFE_HANDSHAKE_BACKOFF": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    }

    def __init__(self, urls, **kwargs):
        super().__init__(**kwargs)
        self.start_urls = urls.split(",")

    def parse(self, response):
        self.logger.info("%s [link] %s", "x" * 150, response.url)
        print("printed", response.url, "y " * 100 + "y")
"""
#: A row of the view.
ROW = re.compile(r"(shown|pages|handshakes|retries|limits) +\S")


@pytest.fixture
def spider(tmp_path: Path) -> Path:
    path = tmp_path / "shown.py"
    path.write_text(SPIDER)
    return path


def urls(origin: TlsOrigin) -> list[str]:
    free = [f"{origin.url}/{number}" for number in range(PAGES)]
    return [*free, *(f"{origin.url}/held/{number}" for number in range(HELD))]


def crawl_command(spider: Path, urls: Sequence[str], *options: str) -> list[str]:
    command = [sys.executable, "-m", "scrapy", "runspider", str(spider)]
    return [*command, "-a", f"urls={','.join(urls)}", *options]


def environment(marker: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(marker), "SSL_CERT_FILE": str(certs().ca_pem), **more}


def printed_of(url: str) -> str:
    """Return the line that the spider prints of a page."""
    return f"printed {url} {'y ' * 100}y"


def rows(lines: Sequence[str]) -> dict[str, str]:
    """Return the rows of the view. (A frame may be there in part.)"""
    return dict(line.split(maxsplit=1) for line in lines if ROW.match(line))


def is_whole(lines: Sequence[str]) -> bool:
    """Tell whether the view says what there is to say, below all else, and just once."""
    shown = [line for line in lines if ROW.match(line)]
    filled = [line for line in lines if line]
    return (
        filled[-len(shown) :] == shown
        and [line.split()[0] for line in shown][:4] == ["shown", "pages", "handshakes", "retries"]
        and re.search(rf" {PAGES}, [\d.]+ a second, {HELD} in flight$", shown[1]) is not None
        and re.search(r" \d+ done, 5 failed \(5 syscall\)$", shown[2]) is not None
        and rows(lines)["retries"] == "5"
    )


def test_the_rows() -> None:
    window = ProgressWindow("titles")
    window.add(Sample(0.0, 0, 0, {}, 0, 0, 0, None, 0))
    assert window.rows("") == [
        ("titles", "0:00:00"),
        ("pages", "0, 0.0 a second, 0 in flight"),
        ("handshakes", "0 done"),
    ]
    window.add(Sample(3725.5, 7451, 1200, {"timeout": 1, "syscall": 1040}, 1041, 64, 2, 7, 0))
    assert window.rows("https://a.example 7, https://b.example unavailable") == [
        ("titles", "1:02:05"),
        ("pages", "7,451, 2.0 a second, 64 in flight"),
        ("handshakes", "1,200 done, 1,041 failed (1,040 syscall, 1 timeout)"),
        ("retries", "1,041"),
        ("limits", "https://a.example 7, https://b.example unavailable"),
    ]


def test_the_pages_a_second_are_those_of_the_last_samples() -> None:
    window = ProgressWindow("titles")
    for second in range(30):
        pages = 100 * min(second, 15)
        window.add(Sample(float(second), pages, 0, {}, 0, 0, 0, None, 0))
        rate = dict(window.rows(""))["pages"].split(", ")[1]
        if 0 < second <= 15:
            assert rate == "100.0 a second"
    assert rate == "0.0 a second"


@processes
@needs_terminals
def test_the_view_stands_below_the_log_and_goes_away(tmp_path: Path, spider: Path) -> None:
    with (
        HoldingOrigin(drop=[True] * 5) as origin,
        Terminal(
            crawl_command(spider, urls(origin)), cwd=tmp_path, env=environment(tmp_path)
        ) as terminal,
    ):
        wait_until(lambda: is_whole(terminal.lines))
        origin.release.set()
        assert terminal.wait() == 0
        assert terminal.shows_cursor
        assert rows(terminal.lines) == {}
        text = "".join(line.ljust(terminal.columns) for line in terminal.lines)
        for url in urls(origin):
            # In one piece, though it is longer than a line.
            assert text.count(f"INFO: {'x' * 150} [link] {url} ") == 1
            assert text.count(f"printed {url} y y") == 1
        assert "INFO: Spider closed (finished)" in text
    assert worker_pids(tmp_path) == []


@processes
@needs_terminals
def test_output_into_a_file_stays_there(tmp_path: Path, spider: Path) -> None:
    printed = tmp_path / "printed"
    with (
        HoldingOrigin() as origin,
        Terminal(
            crawl_command(spider, urls(origin), "--logfile", "crawl.log"),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=printed,
        ) as terminal,
    ):
        wait_until(lambda: rows(terminal.lines).get("pages", "").startswith(f"{PAGES}, "))
        origin.release.set()
        assert terminal.wait() == 0
        assert sorted(printed.read_text().splitlines()) == sorted(map(printed_of, urls(origin)))
        assert not any(terminal.lines)
        assert (tmp_path / "crawl.log").read_text().count("[link]") == PAGES + HELD


@processes
@needs_terminals
def test_a_crawl_that_is_forced_to_end_leaves_the_terminal_in_order(
    tmp_path: Path, spider: Path
) -> None:
    with (
        HoldingOrigin() as origin,
        Terminal(
            crawl_command(spider, urls(origin)), cwd=tmp_path, env=environment(tmp_path)
        ) as terminal,
    ):
        wait_until(lambda: rows(terminal.lines).get("pages", "").startswith(f"{PAGES}, "))
        assert not terminal.shows_cursor
        terminal.process.send_signal(signal.SIGINT)
        wait_until(lambda: any("Received SIGINT" in line for line in terminal.lines))
        terminal.process.send_signal(signal.SIGINT)
        terminal.wait()
        assert terminal.shows_cursor
        assert rows(terminal.lines) == {}
    wait_until(lambda: worker_pids(tmp_path) == [])


@processes
@needs_terminals
@pytest.mark.parametrize(
    ("env", "options"),
    [
        pytest.param({"TERM": "dumb"}, [], id="a terminal that cannot move its cursor"),
        pytest.param({}, ["-s", "CURL_SAFE_PROGRESS=False"], id="off"),
    ],
)
def test_no_view(tmp_path: Path, spider: Path, env: dict[str, str], options: list[str]) -> None:
    with (
        TlsOrigin() as origin,
        Terminal(
            crawl_command(spider, [f"{origin.url}/1"], *options),
            cwd=tmp_path,
            env=environment(tmp_path, **env),
        ) as terminal,
    ):
        assert terminal.wait() == 0
        assert f"{printed_of(origin.url + '/1')}\r\n".encode() in terminal.output
        assert b"\x1b" not in terminal.output


@processes
@needs_terminals
def test_the_shell_has_the_terminal_for_itself(tmp_path: Path, spider: Path) -> None:
    with TlsOrigin() as origin:
        shell = [sys.executable, "-m", "scrapy", "shell", "-c", "print('status', response.status)"]
        settings = ["-s", "CURL_SAFE_PROGRESS=1", "-s", 'ADDONS={"scrapy_curl_safe.Addon": 500}']
        with Terminal(
            [*shell, *settings, f"{origin.url}/1"], cwd=tmp_path, env=environment(tmp_path)
        ) as terminal:
            assert terminal.wait() == 0
            assert "status 200" in terminal.lines
            assert b"\x1b" not in terminal.output


@processes
def test_nothing_changes_without_a_terminal(tmp_path: Path, spider: Path) -> None:
    """Even if rich is told that there is one."""
    with TlsOrigin() as origin:
        crawled = subprocess.run(
            crawl_command(spider, [f"{origin.url}/1"]),
            cwd=tmp_path,
            env=environment(tmp_path, FORCE_COLOR="1", TTY_COMPATIBLE="1"),
            capture_output=True,
            check=True,
        )
    assert crawled.stdout.decode() == printed_of(f"{origin.url}/1") + "\n"
    assert b"\x1b" not in crawled.stderr
    assert b"[link]" in crawled.stderr


@processes
@needs_terminals
def test_a_terminal_that_is_closed_ends_no_crawl(tmp_path: Path, spider: Path) -> None:
    printed = tmp_path / "printed"
    with HoldingOrigin() as origin:
        with Terminal(
            crawl_command(spider, urls(origin), "--logfile", "crawl.log"),
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=printed,
        ) as terminal:
            wait_until(lambda: rows(terminal.lines).get("pages", "").startswith(f"{PAGES}, "))
            terminal.hang_up()
            origin.release.set()
            assert terminal.process.wait(timeout=120) == 0
        log = (tmp_path / "crawl.log").read_text()
        assert "INFO: Spider closed (finished)" in log
        assert log.count("[link]") == PAGES + HELD
        assert "Traceback" not in log

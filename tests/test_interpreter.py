"""The Python that runs workers if `sys.executable` is none, or if no file can be executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import scrapy_curl_safe
from scrapy_curl_safe._pool.interpreter import MARKER, InterpreterError, find_interpreter
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.waiting import wait_until

pytestmark = pytest.mark.processes

PACKAGE = Path(scrapy_curl_safe.__file__).parent

# A program that notes each of its starts.
PROGRAM = """#!{python}
import json, os, sys
with open({starts!r}, "a") as starts:
    starts.write("x")
{setup}
import scrapy
from scrapy.crawler import CrawlerProcess

class Pages(scrapy.Spider):
    name = "pages"
    start_urls = ["{url}/" + str(n) for n in range(4)]

    def parse(self, response):
        pass

if __name__ == "__main__":
    process = CrawlerProcess({{
        "ADDONS": {{"scrapy_curl_safe.Addon": 500}},
        "TELNETCONSOLE_ENABLED": False,
        **json.loads({settings!r}),
    }})
    crawler = process.create_crawler(Pages)
    process.crawl(crawler)
    process.start()
    stats = crawler.stats.get_stats()
    print(json.dumps({{key: value for key, value in stats.items() if type(value) in (int, str)}}))
"""


@dataclass
class Run:
    """The traces of a program: Scrapy's stats, its log, and how often it was started."""

    stats: dict[str, Any]
    log: str
    starts: int


def write_program(directory: Path, name: str, url: str, setup: str = "", **settings: Any) -> Path:
    program = directory / name
    program.write_text(
        PROGRAM.format(
            python=sys.executable,
            starts=str(directory / "starts"),
            setup=setup,
            url=url,
            settings=json.dumps(settings),
        )
    )
    program.chmod(0o700)
    return program


def run(command: list[str], directory: Path, **environment: str) -> Run:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not worker_pids(directory))
    starts = len((directory / "starts").read_text())
    return Run(json.loads(done.stdout.splitlines()[-1]), done.stderr, starts)


AS_FROZEN = "sys.frozen, sys.executable = True, os.path.abspath(__file__)"


def test_a_frozen_program_says_what_it_needs(tmp_path: Path) -> None:
    with TlsOrigin() as origin:
        program = write_program(tmp_path, "program", origin.url, AS_FROZEN)
        ended = run([str(program)], tmp_path)
        assert origin.accepted == 0
    assert ended.starts == 1
    assert ended.stats["finish_reason"] == "curl_safe_no_worker"
    assert "this program is frozen. Set CURL_SAFE_PYTHON" in ended.log


def test_a_frozen_program_with_an_interpreter_crawls(tmp_path: Path) -> None:
    with TlsOrigin() as origin:
        program = write_program(
            tmp_path, "program", origin.url, AS_FROZEN, CURL_SAFE_PYTHON=sys.executable
        )
        ended = run([str(program)], tmp_path, LD_LIBRARY_PATH=str(tmp_path / "of-the-program"))
    assert ended.starts == 1
    assert ended.stats["curl_safe/response_count"] == 4


@pytest.mark.parametrize("by", ["setting", "sys.executable"])
def test_a_program_that_is_taken_for_an_interpreter_starts_nothing(tmp_path: Path, by: str) -> None:
    """As uWSGI and programs that embed Python are."""
    uwsgi = tmp_path / "uwsgi"
    setup, settings = "", {}
    if by == "setting":
        settings["CURL_SAFE_PYTHON"] = str(uwsgi)
    else:
        setup = f"sys.executable = {str(uwsgi)!r}"
    with TlsOrigin() as origin:
        write_program(tmp_path, "uwsgi", origin.url, setup, **settings)
        ended = run([str(uwsgi)], tmp_path)
        assert origin.accepted == 0
    assert ended.starts == 2
    assert ended.stats["finish_reason"] == "curl_safe_no_worker"
    assert f"{uwsgi} does not answer as Python does. Set CURL_SAFE_PYTHON" in ended.log


def test_workers_start_from_a_zip_archive(tmp_path: Path) -> None:
    archive = tmp_path / "deps.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in PACKAGE.rglob("*.py"):
            file.write(path, path.relative_to(PACKAGE.parent))
    setup = "import scrapy_curl_safe; assert 'deps.zip' in scrapy_curl_safe.__file__"
    with TlsOrigin() as origin:
        program = write_program(tmp_path, "program.py", origin.url, setup)
        ended = run([sys.executable, str(program)], tmp_path, PYTHONPATH=str(archive))
    assert ended.stats["curl_safe/response_count"] == 4
    assert ended.stats["curl_safe/worker/start_count"] == 2


@pytest.mark.slow
def test_a_program_of_pyinstaller_crawls(tmp_path: Path) -> None:
    """The real thing: no file of the package is on the disk, so the interpreter has its own."""
    pytest.importorskip("PyInstaller")
    with TlsOrigin() as origin:
        bare = write_program(tmp_path, "bare.py", origin.url)
        given = write_program(tmp_path, "given.py", origin.url, CURL_SAFE_PYTHON=sys.executable)
        for program in (bare, given):
            build = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level=ERROR"]
            collect = ["--collect-all=scrapy", "--collect-submodules=scrapy_curl_safe"]
            # Scrapy logs the versions of what it depends on.
            collect.append("--recursive-copy-metadata=scrapy")
            subprocess.run([*build, *collect, str(program)], cwd=tmp_path, check=True)
        refused = run([str(tmp_path / "dist" / "bare" / "bare")], tmp_path)
        assert (refused.starts, origin.accepted) == (1, 0)
        ended = run([str(tmp_path / "dist" / "given" / "given")], tmp_path)
    assert "this program is frozen" in refused.log
    assert ended.stats["curl_safe/response_count"] == 4


# The interpreter is asked


def script(directory: Path, name: str, code: str) -> str:
    path = directory / name
    path.write_text(code)
    path.chmod(0o700)
    return str(path)


def find(python: str, *, needs_package: bool = False) -> str:
    return find_interpreter(python, {**os.environ, MARKER: "1"}, needs_package=needs_package)


def test_an_interpreter_is_found_by_any_name_and_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = script(tmp_path, "snake", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    monkeypatch.chdir(tmp_path)
    assert find(path) == find("./snake") == path
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find("snake", needs_package=True) == path


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("#!/bin/false\n", "does not answer as Python does"),
        ("#!/nowhere/python\n", "cannot be run"),
        ("#!/bin/sh\necho uWSGI\n", "does not answer as Python does"),
        (f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', "No module named.*pip install"),
        ("#!/bin/sh\necho an interpreter 0.0.1\n", "has scrapy-curl-safe 0.0.1, and this program"),
    ],
)
def test_what_is_no_interpreter_is_told(tmp_path: Path, code: str, why: str) -> None:
    path = script(tmp_path, "snake", code)
    with pytest.raises(InterpreterError, match=f"{path} .*{why}"):
        find(path, needs_package=True)


def test_a_program_that_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapy_curl_safe._pool.interpreter._ANSWER_TIMEOUT_SECONDS", 1.0)
    pid = tmp_path / "pid"
    path = script(tmp_path, "snake", f"#!/bin/sh\nsleep 300 &\necho $! > {pid}\nwait\n")
    with pytest.raises(InterpreterError, match="does not answer"):
        find(path)
    wait_until(lambda: not os.path.exists(f"/proc/{pid.read_text().strip()}/exe"))


def test_a_path_to_nothing_is_told() -> None:
    with pytest.raises(InterpreterError, match=r"'/nowhere/python' is no program"):
        find("/nowhere/python")


@pytest.mark.parametrize(("executable", "frozen"), [("", False), (sys.executable, True)])
def test_an_executable_that_is_unknown_or_frozen_is_not_run(
    monkeypatch: pytest.MonkeyPatch, executable: str, frozen: bool
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    with pytest.raises(InterpreterError, match="Set CURL_SAFE_PYTHON"):
        find_interpreter(None, {}, needs_package=False)


def test_a_worker_starts_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARKER, "1")
    with pytest.raises(InterpreterError, match="started as an interpreter that runs a worker"):
        find(sys.executable)

"""The documentation, tried as it is written: each command, each block of code, each name."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._crawl.response import info_of
from scrapy_curl_safe._ipc.messages import TransferStats
from testkit.crawling import ROOT
from testkit.origins.messages import Reply
from testkit.origins.proxies import Proxy
from testkit.origins.tls import TlsOrigin
from testkit.pages import PAGES, blocks_of
from testkit.processes import worker_pids

TITLE = b"<html><title>A title</title></html>"
BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [
    pytest.param(line.removeprefix("$ "), id=f"{block}: {line}")
    for block in BLOCKS
    if block.language == "console"
    for line in block.text.splitlines()
    if line.startswith("$ ")
]


def code(*, settings: Any) -> Any:
    """Blocks that hold settings and nothing else, or the others."""
    return [
        pytest.param(block.text, id=str(block))
        for block in BLOCKS
        if block.language == "python" and are_settings(block.text) == settings
    ]


def are_settings(text: str) -> Any:
    return all(
        isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "").isupper()
        for node in ast.parse(text).body
    )


def test_every_block_is_of_a_kind_that_is_run_or_is_output() -> None:
    languages = {block.language for block in BLOCKS}
    assert languages <= {
        "console",
        "ini",
        "json",
        "python",
        "text",
        "{toctree}",
        "{include} ../CHANGELOG.md",
        "{literalinclude} ../example_project/Dockerfile",
        "{include} ../CONTRIBUTING.md",
        "{include} ../benchmarks/BUSY.md",
        "{include} ../benchmarks/README.md",
        "{include} ../benchmarks/RESULTS.md",
        "{eval-rst}",
    }
    assert not [
        str(block)
        for block in BLOCKS
        if block.language == "text" and re.search(r"^\$ ", block.text, re.MULTILINE)
    ]


@pytest.mark.parametrize("text", code(settings=True))
def test_settings_are_taken(crawl: Callable[..., Any], tmp_path: Path, text: str) -> None:
    settings: dict[str, object] = {}
    exec(text, {}, settings)
    with TlsOrigin() as origin:
        # Files that the settings name must not come between those of this project.
        crawled = crawl(origin.url, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, **settings)
    assert [response["status"] for response in crawled.responses] == [200], crawled.log
    assert crawled.stat("request_count") == 1


@pytest.mark.parametrize("text", code(settings=False))
def test_code_runs(text: str) -> None:
    exec(text, {"__name__": "docs"})


# Commands

# Those that other tests run.
BY_TEST = {
    "make demo": "test_example.py::test_the_demo_passes",
    **dict.fromkeys(
        (
            "docker build -f example_project/Dockerfile -t crawl .",
            "docker run --read-only --memory 512m --pids-limit 64 --stop-timeout 200 crawl "
            "crawl docs -a url=https://example.com/",
        ),
        # Without Docker.
        "test_containers.py::test_the_command_of_the_dockerfile",
    ),
    "make demo-distributed": "test_distributed.py::test_two_crawls_share_a_queue",
    "make demo-scrapyd": "test_distributed.py::test_scrapyd_runs_the_crawl",
    "pip install .": "test_docs.py::test_the_first_page",
    "cd example_project": "test_docs.py::test_the_first_page",
    "python demo.py": "test_docs.py::test_the_first_page",
    "proxychains4 -f proxychains.conf scrapy crawl titles": (
        "test_redirects.py::test_a_crawl_that_is_redirected"
    ),
    "scrapy curlsafe report health.json -o health.html": "test_report.py::test_no_secret_is_in_it",
    **dict.fromkeys(
        (
            "scrapy crawl orders -O before.json",
            "scrapy crawl orders -O after.json",
            "SSL_CERT_FILE=private-ca.pem scrapy crawl orders -O orders.json",
            'cat private-ca.pem "$(python -m certifi)" > authorities.pem',
            "SSL_CERT_FILE=authorities.pem scrapy crawl orders",
        ),
        "test_cookbook.py::test_a_project_that_moves_keeps_its_items",
    ),
}
# What is enough of those that take long.
ENOUGH = {
    "make test": ["PYTEST_ARGS=-n 0 tests/test_identity.py"],
    "make soak": ["PYTEST_ARGS=--collect-only tests/test_soak.py"],
    "make fuzz": ["FUZZ_ARGS=--inputs 3000 --jobs 1"],
    "make chaos": ["CHAOS_ARGS=--requests 300 --seed 1"],
}
# Those that install much, or run for long.
SLOW = {
    "make bench": ["BENCH_ARGS=--quick"],
    "make demo-busy": ["BUSY_ARGS=--quick"],
    "make demo-busy BUSY_ARGS=--quick": [],
    "make demo-crash": ["CRASH_ARGS=--rounds 1 --pages 100"],
    "make browsers": ["BROWSERS_ARGS=--stored --dry-run --handlers scrapy-curl-safe"],
    "make conformance": ["CONFORMANCE_ARGS=--dry-run --probes status"],
    "make matrix": ["-n"],
    "make package": [],
    "python -m benchmarks.flaky": ["--requests", "100", "--rounds", "1"],
    "python -m benchmarks.limit": ["--rounds", "1"],
    "python -m benchmarks.sessions": ["--quick"],
    "python -m benchmarks.scaling": ["--rounds", "1"],
    "python -m benchmarks.bound": ["--rounds", "1"],
    "python -m benchmarks.pair ../before .": ["--rounds", "1", "--loads", "post"],
    "python -m benchmarks.profile fresh-1kB": [],
}


def run(command: Any, *, cwd: Path, path: Path | str, marker: Path) -> Any:
    env = {**os.environ, "TMPDIR": str(marker), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=3000
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]} {done.stderr[-3000:]}"
    assert worker_pids(marker) == []
    return done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_run(command: Any) -> None:
    """By `test_commands`, or by the test that is named for it."""
    if command in BY_TEST:
        name, _, function = BY_TEST[command].partition("::")
        assert f"def {function}" in (ROOT / "tests" / name).read_text()
    elif not command.startswith(("scrapy ", "pip install ", "apt-get install ", "git worktree ")):
        assert command in ENOUGH or command in SLOW


def distinct(commands: Any) -> Any:
    return list(dict.fromkeys(param.values[0] for param in commands))


@pytest.mark.parametrize("command", [c for c in distinct(COMMANDS) if c in ENOUGH])
@pytest.mark.processes
def test_make(tmp_path: Path, command: Any) -> None:
    # With what runs this test, as if make had set it up.
    ours = [f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.installed"]
    run([*shlex.split(command), *ours, *ENOUGH[command]], cwd=ROOT, path="/", marker=tmp_path)


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("command", [c for c in distinct(COMMANDS) if c in SLOW])
def test_slow_commands(tmp_path: Path, command: Any) -> None:
    # "python" is the one that runs this test.
    path = Path(sys.executable).parent
    line = command.replace("../before", ".")
    run([*shlex.split(line), *SLOW[command]], cwd=ROOT, path=path, marker=tmp_path)


@pytest.mark.processes
def test_what_make_demos_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):  # of the make that runs the tests
        monkeypatch.delenv(name, raising=False)
    for target in ("demo", "demo-distributed", "demo-scrapyd"):
        dry = subprocess.run(
            ["make", "-n", target, "VENV=v"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        script = f"example_project/{target.replace('-', '_')}.py"
        assert dry.stdout.splitlines()[-1] == f"v/bin/python {script}"
        assert (ROOT / script).exists()


@pytest.mark.parametrize(
    "command", [c for c in distinct(COMMANDS) if c.startswith("scrapy ") and c not in BY_TEST]
)
@pytest.mark.processes
def test_commands_of_scrapy(tmp_path: Path, command: Any) -> None:
    """With an origin and a proxy of this machine in place of the examples'."""
    (tmp_path / "titles.py").write_text(spider_for(command))
    with TlsOrigin(lambda request: Reply(body=TITLE)) as origin, Proxy("user", "password") as proxy:
        line = command.replace("https://example.com/", f"{origin.url}/")
        line = line.replace("proxy.example:8080", proxy.location)
        out = run(
            [sys.executable, "-m", *shlex.split(line)],
            cwd=ROOT / "example_project" if "doctor" in command else tmp_path,
            path=Path(sys.executable).parent,
            marker=tmp_path,
        )
        assert ("proxy.example" not in command) or proxy.connections
    if "runspider" in command:
        assert not origin.dropped
        assert "-O" not in command or '"title": "A title"' in (tmp_path / "titles.json").read_text()
    else:
        assert "0 problems" in out or "healthy" in out or ":method" in out


@pytest.mark.processes
def test_the_readmes_spider_takes_cached_responses(tmp_path: Path) -> None:
    """Cached responses have no `curl_safe_info`."""
    spider = next(b for b in BLOCKS if b.page.name == "README.md" and "(scrapy.Spider)" in b.text)
    (tmp_path / "titles.py").write_text(spider.text)
    items = []
    with TlsOrigin(lambda request: Reply(body=TITLE)) as origin:
        options = ["-a", f"url={origin.url}", "-O", "titles.json", "-s", "HTTPCACHE_ENABLED=1"]
        for _ in range(2):
            command = [sys.executable, "-m", "scrapy", "runspider", "titles.py", *options]
            run(command, cwd=tmp_path, path="/", marker=tmp_path)
            items += json.loads((tmp_path / "titles.json").read_text())
        assert len(origin.requests) == 1
    assert [item.pop("title") for item in items] == ["A title"] * 2
    assert [set(item) for item in items] == [set(info_of(TransferStats(), 0, 1)), set()]


def spider_for(command: Any) -> Any:
    """The spider that the same page has before the command."""
    for page in PAGES:
        spider = ""
        for block in blocks_of(page):
            if block.language == "python" and "(scrapy.Spider)" in block.text:
                spider = block.text
            if block.language == "console" and command in block.text:
                return spider
    raise AssertionError(command)


# As a new user

HAS_INDEX = os.environ.get("PIP_NO_INDEX") is None


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An empty environment with the package's wheel in it."""
    directory = tmp_path_factory.mktemp("fresh")
    source = directory / "clone"
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    venv.create(directory / "venv", with_pip=True)
    pip = [str(directory / "venv/bin/python"), "-m", "pip", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", directory / "dist", source], check=True)
    (wheel,) = (directory / "dist").iterdir()
    subprocess.run([*pip, "install", wheel], check=True)
    return directory


@pytest.mark.skipif(not HAS_INDEX, reason="pip has no index")
@pytest.mark.xdist_group("fresh")
@pytest.mark.processes
def test_the_first_example_of_the_readme(fresh: Any, tmp_path: Path) -> None:
    spider, command = (
        next(b for b in BLOCKS if b.page.name == "README.md" and mark in b.text)
        for mark in ("(scrapy.Spider)", "runspider")
    )
    (tmp_path / "titles.py").write_text(spider.text)
    with TlsOrigin(lambda request: Reply(body=TITLE)) as origin:
        line = command.text.removeprefix("$ ").replace("https://example.com/", f"{origin.url}/")
        bin_ = fresh / "venv/bin"
        run([bin_ / "python", "-m", *shlex.split(line)], cwd=tmp_path, path=bin_, marker=tmp_path)
    assert '"title": "A title"' in (tmp_path / "titles.json").read_text()
    assert '"worker": 0' in (tmp_path / "titles.json").read_text()


@pytest.mark.skipif(not HAS_INDEX, reason="pip has no index")
@pytest.mark.xdist_group("fresh")
@pytest.mark.processes
def test_the_first_page(fresh: Any, tmp_path: Path) -> None:
    """Its commands in their order, in as many steps as it says."""
    page = ROOT / "docs/index.md"
    commands = [b.text.removeprefix("$ ") for b in blocks_of(page) if b.language == "console"]
    number = {3: "Three", 4: "Four", 5: "Five"}[len(commands)]
    assert f"{number} commands" in page.read_text()
    script = "\n".join(["set -e", *commands])
    out = run(["bash", "-c", script], cwd=fresh / "clone", path=fresh / "venv/bin", marker=tmp_path)
    assert "0 duplicates, 0 missing" in out

"""Deploy this project to a Scrapyd of its own, and have that run the crawl.

With a Scrapyd on each of many machines, and the settings `shared`, this is how crawls start on
all of them. The exit status is 0 if every page came. This is what `make demo-scrapyd` runs.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from docs_example.local_origin import LocalOrigin

PROJECT = Path(__file__).resolve().parent
NAME = "docs_example"


def main() -> int:
    with TemporaryDirectory() as directory, scrapyd(Path(directory)) as url:
        deploy(Path(directory) / "project", url)
        origin = LocalOrigin()
        origin_url, pages = origin.start()
        try:
            job = call(url, "schedule.json", project=NAME, spider="docs", url=origin_url)["jobid"]
            print(f"crawling as job {job}")
            while not any(one["id"] == job for one in jobs(url)["finished"]):
                time.sleep(0.2)
        finally:
            origin.stop()
        (feed,) = Path(directory).glob(f"items/**/{job}.jl")
        items = [json.loads(line)["url"] for line in feed.read_text().splitlines()]
        (log,) = Path(directory).glob(f"logs/**/{job}.log")
        handshakes = [
            line for line in log.read_text().splitlines() if "curl_safe/handshake" in line
        ]
    print("\n".join(handshakes))
    print(f"pages       {pages} at the origin, {len(items)} items, {len(set(items))} distinct")
    return 0 if len(items) == len(set(items)) == pages else 1


@contextlib.contextmanager
def scrapyd(directory: Path) -> Iterator[str]:
    """A Scrapyd with its files in this directory, and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (directory / "scrapyd.conf").write_text(
        f"[scrapyd]\nbind_address = 127.0.0.1\nhttp_port = {port}\n"
        "poll_interval = 0.2\nitems_dir = items\n"
    )
    command = [sys.executable, "-m", "scrapyd"]
    with subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}"
            while not answers(url):
                if server.poll() is not None:
                    raise SystemExit(f"scrapyd ended with status {server.returncode}")
                time.sleep(0.1)
            yield url
        finally:
            server.terminate()


def answers(url: str) -> bool:
    try:
        return bool(call(url, "daemonstatus.json")["status"] == "ok")
    except URLError:
        return False


def deploy(copy: Path, url: str) -> None:
    """As one does with `scrapyd-deploy`, which leaves a setup.py behind: so from a copy."""
    shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns("__pycache__"))
    config = copy / "scrapy.cfg"
    config.write_text(config.read_text().replace("http://127.0.0.1:6800", url))
    subprocess.run([sys.executable, "-m", "scrapyd_client.deploy"], cwd=copy, check=True)


def jobs(url: str) -> dict[str, Any]:
    return call(url, f"listjobs.json?project={NAME}")


def call(base: str, service: str, /, **arguments: str) -> dict[str, Any]:
    """
    Raises:
        URLError: nobody answers, or with an error.
    """
    data = urlencode(arguments).encode() if arguments else None
    with urlopen(f"{base}/{service}", data) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


if __name__ == "__main__":
    sys.exit(main())

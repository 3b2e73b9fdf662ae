"""Crawls in subprocesses, as tests and the conformance probes run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testkit.origins.certs import certs

ROOT = Path(__file__).parent.parent


@dataclass
class Crawled:
    """What a crawl left behind."""

    responses: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    #: (number of the request, slot of the worker that failed it), in order.
    failed_workers: list[tuple[int, int]]
    stats: dict[str, Any]
    log: str
    exit_code: int

    def stat(self, key: str) -> Any:
        return self.stats.get(f"curl_safe/{key}", 0)


class Crawl:
    """A crawl that runs in a subprocess."""

    def __init__(
        self,
        requests: list[str | dict[str, Any]],
        settings: dict[str, Any],
        way: str,
        marker: Path,
        env: dict[str, str],
        limit: tuple[str, str] | None = None,
        module: str = "testkit.runner",
    ) -> None:
        plan = {
            "requests": [{"url": r} if isinstance(r, str) else r for r in requests],
            "settings": settings,
            "way": way,
        }
        command = [sys.executable, "-m", module]
        if limit is not None:
            command = ["prlimit", f"--{limit[0]}={limit[1]}", *command]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            # Workers inherit TMPDIR, so it marks whose they are.
            env={**os.environ, "TMPDIR": str(marker), "SSL_CERT_FILE": str(certs().ca_pem), **env},
            text=True,
            encoding="utf-8",
        )
        self._marker = marker
        self._output = ""
        self.log = ""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(plan))
        self.process.stdin.close()
        self._threads = [
            threading.Thread(target=self._read_result, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read_result(self) -> None:
        assert self.process.stdout is not None
        self._output = self.process.stdout.read()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until it is true; the test's own timeout bounds it."""
        while not condition():
            assert self.process.poll() is None, self.log
            time.sleep(0.01)

    def workers(self) -> list[int]:
        return worker_pids(self._marker)

    def finish(self, timeout: float | None = None) -> Crawled:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it does not end within so many seconds.
        """
        exit_code = self.process.wait(timeout)
        for thread in self._threads:
            thread.join()
        assert self._output, self.log
        result = json.loads(self._output)
        assert result.pop("children") == []
        assert result.pop("threads") == []
        return Crawled(**result, log=self.log, exit_code=exit_code)


def worker_pids(marker: Path) -> list[int]:
    """Live worker processes whose TMPDIR is this, by /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        mine = b"TMPDIR=" + os.fsencode(marker) in environment
        if mine and b"scrapy_curl_safe/_worker" in command and state != "Z":
            found.append(int(entry.name))
    return sorted(found)

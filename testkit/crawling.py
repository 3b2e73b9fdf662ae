"""Crawls in subprocesses, for tests, conformance probes and benchmarks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from testkit.origins.certs import certs
from testkit.processes import owner_of_port, worker_pids
from testkit.scenario import Plan, Scenario, Way
from testkit.waiting import wait_until

ROOT = Path(__file__).parent.parent
_LONGEST_CRAWL_SECONDS = 280.0

#: A URL, or the arguments of a `scrapy.Request` with its body as text. `then` has the requests that
#: its callback yields, in the same form.
Wanted = str | Mapping[str, Any]


@dataclass(frozen=True)
class Crawled:
    """The results of a crawl.

    Attributes:
        responses: for each response its request's `number`, `url`, `status`, `headers`, `body`,
            `class`, `priority`, `flags`, `protocol`, `ip`, `certificate` (DER in hexadecimal
            digits) and `meta`; bytes are latin-1 text.
        errors: for each failure its request's `number`, `type`, `text` and `meta`,
            `stopped_flags`, and the attributes that this package's errors have.
        failed_workers: for each failed handshake the number of its request and the slot of the
            worker, in order.
        stats: of the crawler.
        log: everything that the crawl wrote to stderr.
        exit_code: of the process.
    """

    responses: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    failed_workers: list[tuple[int, int]]
    stats: dict[str, Any]
    log: str
    exit_code: int

    @property
    def numbers(self) -> list[int]:
        """The numbers of the requests that have a response, sorted."""
        return sorted(response["number"] for response in self.responses)

    def stat(self, key: str) -> Any:
        """Return a stat under `curl_safe/`; 0 if there is none."""
        return self.stats.get(f"curl_safe/{key}", 0)


class Crawl:
    """A crawl that runs in a subprocess.

    Args:
        requests: the requests, in order.
        settings: of the crawl.
        marker: an empty directory, which becomes TMPDIR. Workers inherit it, so it shows which
            crawl they belong to.
        way: the way in which Scrapy runs.
        env: variables of its environment.
        limit: a resource of `prlimit`, and its limit for the process.
        around: a command that runs the crawl's command, which it gets as its arguments.
        module: the module to run; `testkit.runner` or a wrapper around it.
        scenario: what else the spider does.
        cwd: the directory in which it is started.

    Attributes:
        log: what the crawl has written to stderr so far.
        ready_workers: (slot, pid) of each worker that came up, in order.
        lingers: whether the crawl is over but its process stays (`Scenario.linger`).
    """

    def __init__(
        self,
        requests: Iterable[Wanted],
        settings: Mapping[str, Any],
        *,
        marker: Path,
        way: Way = "asyncio",
        env: Mapping[str, str] | None = None,
        limit: tuple[str, str] | None = None,
        around: Sequence[str] = (),
        module: str = "testkit.runner",
        scenario: Scenario | None = None,
        cwd: Path = ROOT,
    ) -> None:
        plan = Plan(
            requests=[{"url": r} if isinstance(r, str) else dict(r) for r in requests],
            settings=dict(settings),
            way=way,
            scenario=scenario or Scenario(),
        )
        command = [sys.executable, "-m", module]
        if limit is not None:
            command = ["prlimit", f"--{limit[0]}={limit[1]}", *command]
        self.process = subprocess.Popen(
            [*around, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={
                **os.environ,
                "TMPDIR": str(marker),
                "TEMP": str(marker),
                "SSL_CERT_FILE": str(certs().ca_pem),
                # Scrapy's CookiesMiddleware asks tldextract, which else asks the network first.
                "TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS": "",
                **(env or {}),
            },
            text=True,
            encoding="utf-8",
        )
        self.log = ""
        self.ready_workers: list[tuple[int, int]] = []
        self.lingers = False
        self._marker = marker
        self._stats: dict[str, Any] = {}
        self._result: dict[str, Any] | None = None
        self._threads = [
            threading.Thread(target=self._read_output, daemon=True),
            threading.Thread(target=self._read_log, daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        assert self.process.stdin is not None
        self.process.stdin.write(plan.to_json())
        self.process.stdin.close()

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            ((key, value),) = json.loads(line).items()
            if key == "stat":
                self._stats[value[0]] = value[1]
            elif key == "ready":
                self.ready_workers.append((value[0], value[1]))
            elif key == "lingering":
                self.lingers = True
            else:
                self._result = value

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def stat(self, key: str) -> Any:
        """Return the current value of a stat under `curl_safe/`. Only those of workers and breakers
        are known before the end."""
        return self._stats.get(f"curl_safe/{key}", 0)

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until a condition is true.

        Raises:
            AssertionError: the crawl ends before that, or it takes too long (`wait_until`).
        """

        def holds() -> bool:
            ended = self.process.poll() is not None
            is_true = bool(condition())
            assert is_true or not ended, self.log
            return is_true

        wait_until(holds)

    def workers(self) -> list[int]:
        """Return the pids of the living workers."""
        return worker_pids(self._marker)

    def worker_with_port(self, port: int) -> int | None:
        """Return the pid of the worker with this local TCP port; None if it is gone."""
        return owner_of_port(self.workers(), port)

    def kill(self) -> None:
        """Kill the crawl if it runs, and wait for its end; the workers notice that and exit."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def finish(self, timeout_seconds: float = _LONGEST_CRAWL_SECONDS) -> Crawled:
        """Wait for the crawl's end.

        Raises:
            subprocess.TimeoutExpired: the crawl takes longer.
            AssertionError: there is no result, or a worker or a thread was left at the end.
        """
        exit_code = self.process.wait(timeout_seconds)
        for thread in self._threads:
            thread.join()
        assert self._result is not None, self.log
        result = dict(self._result)
        assert result.pop("children") == []
        assert result.pop("threads") == []
        result["failed_workers"] = [(number, slot) for number, slot in result["failed_workers"]]
        return Crawled(**result, log=self.log, exit_code=exit_code)


class HasUrl(Protocol):
    @property
    def url(self) -> str: ...


def urls(origin: HasUrl, *numbers: int) -> list[str]:
    """Return URLs of pages whose paths are the numbers of `range(*numbers)`."""
    return [f"{origin.url}/{number}" for number in range(*numbers)]


def assert_all_pages(crawled: Crawled, count: int) -> None:
    """Assert that each of `count` requests has exactly one response and that none failed."""
    assert crawled.errors == [], crawled.errors[:5]
    assert crawled.numbers == list(range(count))

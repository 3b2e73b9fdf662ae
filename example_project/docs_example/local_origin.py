"""Start and stop `docs_example.origin` in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent


class LocalOrigin:
    """Call `start` once, then `stop`. The origin also ends if this process dies."""

    def __init__(
        self, *, drop: float = 0.2, requests_per_connection: int = 4, seed: int | None = None
    ) -> None:
        self._command = [sys.executable, "-m", "docs_example.origin", f"--drop={drop}"]
        self._command.append(f"--requests-per-connection={requests_per_connection}")
        if seed is not None:
            self._command.append(f"--seed={seed}")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> tuple[str, int]:
        """Returns the URL of the first page, and the number of pages."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            # Ctrl-C in the terminal goes to this process alone, which may finish its crawl.
            start_new_session=True,
        )
        announcement = _read_json(self._process)
        return announcement["url"], announcement["pages"]

    def stop(self) -> dict[str, Any]:
        """Returns the counts of the origin, see `Origin.counts`."""
        if self._process is None:
            raise RuntimeError("The origin was not started")
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            return _read_json(process)


def _read_json(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The origin ended early, with exit status {process.wait()}")
    value: dict[str, Any] = json.loads(line)
    return value

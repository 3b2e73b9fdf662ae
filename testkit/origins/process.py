"""The benchmarks' origin in a separate process, so that it takes no time from a test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

SCRIPT = Path(__file__).parent.parent.parent / "benchmarks" / "origin.py"


class OriginProcess:
    """An origin as a context manager. It serves one page per connection; the page begins with the
    requested path.

    Args:
        drop: the share of handshakes that it drops.
        handshake_timeout: the seconds that it allows for a handshake.
        delay: the seconds before each answer.

    Attributes:
        counts: what it has done; available when it has ended.
    """

    def __init__(
        self,
        *,
        drop: float = 0.0,
        seed: int = 0,
        handshake_timeout: float = 60.0,
        delay: float = 0.0,
    ) -> None:
        self._command = [sys.executable, str(SCRIPT), "--drop", str(drop), "--seed", str(seed)]
        self._command += ["--handshake-timeout", str(handshake_timeout)]
        self._command += ["--delay", str(delay)]

    def __enter__(self) -> OriginProcess:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = f"https://127.0.0.1:{json.loads(self._process.stdout.readline())['port']}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.counts: dict[str, float] = json.loads(self._process.communicate(timeout=30)[0])

"""A terminal in which a test runs a command, and which it looks at."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pyte

_LINES, _COLUMNS = 30, 100
# Above the screen.
_HISTORY_LINES = 10_000
_PAUSE_SECONDS = 0.05


class Terminal:
    """Runs a command whose stdin, stdout and stderr are a terminal of 100 columns and 30 lines.

    Args:
        command: the program and its arguments.
        cwd: the directory in which it starts.
        env: its environment.
        stdout: a file that gets its standard output; None for the terminal.

    Attributes:
        process: of the command.
        output: all that it has written to the terminal.
        columns: of the terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdout: Path | None = None,
    ) -> None:
        self.output = b""
        self.columns = _COLUMNS
        self._screen = pyte.HistoryScreen(_COLUMNS, _LINES, history=_HISTORY_LINES, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        with open(os.devnull if stdout is None else stdout, "wb") as file:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={"TERM": "xterm-256color", **env},
                stdin=slave,
                stdout=slave if stdout is None else file,
                stderr=slave,
                start_new_session=True,
            )
        os.close(slave)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._closing.is_set():
            # A call of read() that waits would keep the terminal open.
            if not select.select([self._master], [], [], _PAUSE_SECONDS)[0]:
                continue
            try:
                data = os.read(self._master, 65536)
            except OSError:  # nobody has the terminal open any more; on macOS, nothing is read
                return
            if not data:
                return
            with self._lock:
                self.output += data
                self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen and above it, without the blanks at their ends."""
        with self._lock:
            above = [
                "".join(line[column].data for column in range(_COLUMNS))
                for line in self._screen.history.top
            ]
            return [line.rstrip() for line in [*above, *self._screen.display]]

    @property
    def shows_cursor(self) -> bool:
        with self._lock:
            return not self._screen.cursor.hidden

    def hang_up(self) -> None:
        """Close the terminal, as when a connection to another machine breaks."""
        self._closing.set()
        self._thread.join()
        master, self._master = self._master, -1
        os.close(master)

    def wait(self) -> int:
        """Wait until the command has ended and all its output is read; return its exit code."""
        code = self.process.wait(timeout=120)
        self._thread.join(timeout=120)
        return code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        if self._master >= 0:
            self.hang_up()

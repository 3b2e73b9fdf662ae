"""A virtual screen, keyboard and mouse: Xvfb and xdotool."""

from __future__ import annotations

import os
import subprocess
from types import TracebackType

WIDTH, HEIGHT = 1280, 900
_CENTRE = (str(WIDTH // 2), str(HEIGHT * 2 // 3))


class Desktop:
    """A screen as a context manager. What runs with its `environment` shows its windows there."""

    environment: dict[str, str]

    def __enter__(self) -> Desktop:
        read, write = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{WIDTH}x{HEIGHT}x24"],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as numbers:
            number = numbers.readline().strip()
        if not number:
            raise RuntimeError(f"Xvfb has ended with exit code {self._server.wait()}")
        self.environment = {**os.environ, "DISPLAY": f":{number}"}
        self.environment.pop("WAYLAND_DISPLAY", None)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.terminate()
        self._server.wait()

    def type_address(self, url: str) -> None:
        """Type a URL into the address bar. Delete removes what the browser has added by itself."""
        self._do("key", "--clearmodifiers", "ctrl+l")
        self._do("type", "--delay", "4", url)
        self._do("key", "Delete")
        self._do("key", "Return")

    def press(self, key: str) -> None:
        self._do("key", key)

    def click(self) -> None:
        """Click on whatever fills the window."""
        self._do("mousemove", *_CENTRE, "click", "1")

    def shows(self, title: str) -> bool:
        """Tell whether a window's title contains this text."""
        return title in self.titles()

    def titles(self) -> str:
        """Return the titles of all windows."""
        found = self._run("search", "--onlyvisible", "--name", ".").stdout.split()
        return "\n".join(self._run("getwindowname", window).stdout.strip() for window in found)

    def focus(self, title: str) -> None:
        """Give the keyboard to the window with this title."""
        for window in self._run("search", "--onlyvisible", "--name", title).stdout.split():
            self._run("windowmove", window, "0", "0")
            self._run("windowsize", window, str(WIDTH), str(HEIGHT))
            self._run("windowfocus", window)

    def _do(self, *command: str) -> None:
        subprocess.run(["xdotool", *command], check=True, env=self.environment)

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["xdotool", *command], check=False, capture_output=True, text=True, env=self.environment
        )

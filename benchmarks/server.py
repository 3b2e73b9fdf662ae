"""A program that serves, as a context manager with a directory and free ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from testkit.waiting import wait_until

_T = TypeVar("_T", bound="Server")


class Server:
    """A context manager that runs a program until its block ends.

    Raises:
        FileNotFoundError: there is no such program on this machine.
    """

    #: The program, and the package that has it.
    name: str
    package: str

    def __init__(self) -> None:
        found = shutil.which(self.name) or shutil.which(self.name, path="/usr/sbin")
        if found is None:
            raise FileNotFoundError(
                f"{self.name} is not installed (apt-get install {self.package})"
            )
        self._program = found

    def _prepare(self, directory: Path) -> tuple[Sequence[str | Path], Sequence[int]]:
        """Write the configuration; return the program's arguments, and its ports."""
        raise NotImplementedError

    def __enter__(self: _T) -> _T:
        self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        arguments, ports = self._prepare(self._directory)
        self._process = subprocess.Popen([self._program, *arguments])
        for port in ports:
            _wait_for(port, self._process)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        shutil.rmtree(self._directory)


def free_ports(count: int) -> list[int]:
    """Return ports that were free just now, for servers that cannot choose one and report it."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server takes connections."""

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            return False
        return True

    wait_until(answers)

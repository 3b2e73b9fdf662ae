"""tinyproxy as an HTTP proxy that tunnels for any user."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.server import Server, free_ports

# It has a thread for each connection.
CONFIG = """
Listen 127.0.0.1
Port {port}
MaxClients 4096
Timeout 600
LogLevel Critical
LogFile "{directory}/log"
"""


class Tinyproxy(Server):
    """A context manager. `location` is its address.

    Raises:
        FileNotFoundError: there is no tinyproxy on this machine.
    """

    name, package = "tinyproxy", "tinyproxy-bin"

    @property
    def version(self) -> str:
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=True)
        return said.stdout.strip().replace(" ", "/")

    def _prepare(self, directory: Path) -> tuple[Sequence[str | Path], Sequence[int]]:
        ports = free_ports(1)
        self.location = f"127.0.0.1:{ports[0]}"
        path = directory / "tinyproxy.conf"
        path.write_text(CONFIG.format(port=ports[0], directory=directory))
        return ["-d", "-c", path], ports

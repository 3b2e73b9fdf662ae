"""tinyproxy as an HTTP proxy that tunnels for any user."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.server import Server, free_ports

# It has a thread for each connection.
CONFIG = """
Listen {address}
Allow 127.0.0.0/8
Port {port}
MaxClients 16384
Timeout 600
LogLevel Critical
LogFile "{directory}/log"
"""


class Tinyproxy(Server):
    """A context manager. `location` is its address.

    Args:
        address: to listen at; "0.0.0.0" for all of this machine, of which only 127.0.0.0/8 may use
            it.

    Raises:
        FileNotFoundError: there is no tinyproxy on this machine.
    """

    name, package = "tinyproxy", "tinyproxy-bin"

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__()
        self._address = address

    @property
    def version(self) -> str:
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=True)
        return said.stdout.strip().replace(" ", "/")

    def _prepare(self, directory: Path) -> tuple[Sequence[str | Path], Sequence[int]]:
        ports = free_ports(1)
        self.location = f"127.0.0.1:{ports[0]}"
        path = directory / "tinyproxy.conf"
        path.write_text(CONFIG.format(address=self._address, port=ports[0], directory=directory))
        return ["-d", "-c", path], ports

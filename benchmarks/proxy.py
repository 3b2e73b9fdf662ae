"""tinyproxy as an HTTP proxy that tunnels for any user."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from benchmarks.nginx import free_ports, wait_for

# It has a thread for each connection.
CONFIG = """
Listen 127.0.0.1
Port {port}
MaxClients 4096
Timeout 600
LogLevel Critical
LogFile "{directory}/log"
"""


class Tinyproxy:
    """A context manager. `location` is its address.

    Raises:
        FileNotFoundError: there is no tinyproxy on this machine.
    """

    def __init__(self) -> None:
        found = shutil.which("tinyproxy") or shutil.which("tinyproxy", path="/usr/sbin")
        if found is None:
            raise FileNotFoundError("tinyproxy is not installed (apt-get install tinyproxy-bin)")
        self._program = found

    @property
    def version(self) -> str:
        said = subprocess.run([self._program, "-v"], capture_output=True, text=True, check=True)
        return said.stdout.strip().replace(" ", "/")

    def __enter__(self) -> Tinyproxy:
        self._directory = tempfile.mkdtemp(prefix="tinyproxy-")
        (port,) = free_ports(1)
        self.location = f"127.0.0.1:{port}"
        path = Path(self._directory, "tinyproxy.conf")
        path.write_text(CONFIG.format(port=port, directory=self._directory))
        self._process = subprocess.Popen([self._program, "-d", "-c", path])
        wait_for(port, self._process)
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

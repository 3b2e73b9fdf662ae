"""User, network and mount namespaces, in which a test may change the whole machine."""

from __future__ import annotations

import fcntl
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

from testkit.crawling import ROOT

_COMMAND = ("unshare", "-Urmn")


def can_isolate(*command: str) -> bool:
    """Tell whether a command succeeds in new namespaces."""
    if not all(map(shutil.which, (_COMMAND[0], command[0]))):
        return False
    run = subprocess.run([*_COMMAND, *command], capture_output=True, check=False)
    return run.returncode == 0


def run_isolated(module: str, *arguments: str) -> None:
    """Run a Python module in new namespaces.

    Raises:
        AssertionError: it fails.
    """
    run = subprocess.run(
        [*_COMMAND, sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


# Within the namespaces


def raise_loopback() -> None:
    siocsifflags, iff_up = 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh", b"lo", iff_up))


def bind(path: str, text: str) -> None:
    """Replace the content of a system file."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        subprocess.run(["mount", "--bind", file.name, path], check=True)

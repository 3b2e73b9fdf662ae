"""An isolated network: nothing but the loopback interface, and the names of the sites."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

_INSIDE = "BROWSERS_NAMESPACE"
_HOSTS = "127.0.0.1 localhost www.site-a.test api.site-a.test www.site-b.test\n"


class NamespaceError(Exception):
    """Says why the network cannot be isolated."""


def enter(arguments: list[str]) -> None:
    """Start the program again in such a network, unless it runs in one.

    There the sites can have the ports of http and https, and nothing that a browser does by itself
    leaves the machine.

    Raises:
        NamespaceError: the system does not allow it.
    """
    if os.environ.get(_INSIDE):
        name_the_sites()
        return
    unshare = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise NamespaceError("unshare is missing, which is in the package util-linux") from None
    except subprocess.CalledProcessError as error:
        raise NamespaceError(error.stderr.strip()) from None
    os.execvpe(
        "unshare",
        [*unshare, sys.executable, "-m", "browsers", *arguments],
        {**os.environ, _INSIDE: "1"},
    )


def name_the_sites() -> None:
    """Give the sites their names, within the network and a mount namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as directory:
        hosts = Path(directory) / "hosts"
        hosts.write_text(_HOSTS)
        subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)

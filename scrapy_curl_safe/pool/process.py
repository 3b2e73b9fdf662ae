"""Starting and ending the subprocess of a worker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .. import worker
from ..arena import Source, make_memory

_MAIN = str(Path(worker.__file__).with_name("__main__.py"))

# All that a worker gets of the crawler's environment: how to find the system's libraries
# and authorities. No proxies, no credentials, nothing else.
_ENVIRONMENT = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
)


Process = tuple["subprocess.Popen[bytes]", socket.socket, "Source | None"]


def start_process() -> Process:
    """A worker's process, the crawler's end of the socket to it, and what they share of memory.

    A fresh interpreter, not a fork: it inherits no thread, no socket, no TLS state and,
    in a session of its own, no Ctrl-C.

    Raises:
        OSError: no process or no descriptor can be had.
    """
    ours, theirs = socket.socketpair()
    memory = None
    try:
        memory = make_memory()
        shared = [theirs.fileno()] + ([memory] if memory is not None else [])
        process = subprocess.Popen(
            [sys.executable, "-I", _MAIN, *map(str, shared)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=shared,
            env=_environment(),
            start_new_session=True,
        )
        return process, ours, Source(memory) if memory is not None else None
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
        if memory is not None:
            os.close(memory)


def _environment() -> dict[str, str]:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    environment["CURL_SAFE_PATH"] = os.pathsep.join(_import_path())
    return environment


def _import_path() -> list[str]:
    """Where the crawler imports from; the directory it was started in, where a crawl keeps
    files of any name, comes last."""
    here = os.getcwd()
    entries = [os.path.abspath(entry) for entry in sys.path]
    return [e for e in entries if e != here] + [e for e in entries if e == here]


def exit_text(status: int) -> str:
    """How a process ended, in words: the status is that of `subprocess.Popen`."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"

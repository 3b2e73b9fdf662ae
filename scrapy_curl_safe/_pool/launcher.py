"""What starts a worker, remembered when the crawl starts.

A crawl may outlive the directory it was started in, and the files it was started from may change.
So the interpreter, the environment and the import path are captured once, and each worker says in
its Ready which version of the package it runs.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .. import _worker
from .._ipc.shared_memory import SHARED_MEMORY_BYTES, SharedMemoryReader
from .._platform.memory import create_shared_memory
from .._platform.process import signals_held_back
from .worker_process import WorkerProcess

# Set in a worker's environment: a program that is no Python interpreter would otherwise start its
# crawl again in place of a worker.
MARKER = "CURL_SAFE_WORKER"

# What a worker gets of the crawler's environment: what finds the system's libraries and
# certificate authorities, and what redirects sockets and name lookups. No proxies, no credentials.
_NAMES = frozenset(
    {
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TZ",
        "TMPDIR",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LOCALDOMAIN",
        "RES_OPTIONS",
        "HOSTALIASES",
        "SSLKEYLOGFILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }
)
_PREFIXES = ("PROXYCHAINS_", "TORSOCKS_")
# A worker runs in the root directory, so relative paths have to be made absolute.
_PATHS = frozenset(
    {
        "TMPDIR",
        "HOSTALIASES",
        "SSLKEYLOGFILE",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    }
)
_INTERPRETER_NAME = re.compile(r"(python|pypy)[\d.]*[a-z]?w?(\.exe)?", re.IGNORECASE)
_ANSWER = "an interpreter"
_ANSWER_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerLauncher:
    """Starts workers.

    Attributes:
        command: what to run; the inherited descriptors follow as arguments.
        environment: of each worker.
    """

    command: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def capture(cls, python: str | None = None) -> WorkerLauncher:
        """Remember how workers are started.

        Args:
            python: path of the interpreter (CURL_SAFE_PYTHON); None for `sys.executable`.

        Raises:
            ValueError: no interpreter can be had. The message says why.
        """
        interpreter = _interpreter(python)
        main = Path(_worker.__file__).with_name("__main__.py")
        # In a zip archive there is no file that an interpreter could run by its path.
        program = (str(main),) if main.is_file() else ("-c", _source_of_main())
        root = str(Path(_worker.__file__).parents[2])
        return cls((interpreter, "-I", *program), _environment(root))

    def start(self) -> WorkerProcess:
        """Start a worker: a fresh interpreter, not a fork, so that it inherits no thread, no
        socket, no TLS state and, in a session of its own, no Ctrl-C.

        Raises:
            OSError: no process or no descriptor can be had.
        """
        ours, theirs = socket.socketpair()
        memory = None
        try:
            memory = create_shared_memory(SHARED_MEMORY_BYTES)
            inherited = [theirs.fileno()] + ([memory] if memory is not None else [])
            with signals_held_back():
                process = subprocess.Popen(
                    [*self.command, *map(str, inherited)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=inherited,
                    env=self.environment,
                    cwd=os.path.abspath(os.sep),
                    start_new_session=True,
                )
            reader = SharedMemoryReader(memory) if memory is not None else None
            return WorkerProcess(process, ours, reader)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if memory is not None:
                os.close(memory)


def _interpreter(python: str | None) -> str:
    if os.environ.get(MARKER):
        raise ValueError(
            "this process was started as a worker, but it is no Python interpreter. Set "
            "CURL_SAFE_PYTHON to the path of one"
        )
    if python is None:
        if getattr(sys, "frozen", False):
            raise ValueError(
                "the program is frozen, so that sys.executable is no Python interpreter. Set "
                "CURL_SAFE_PYTHON to the path of one that has this package's dependencies"
            )
        if not sys.executable:
            raise ValueError("sys.executable is unknown. Set CURL_SAFE_PYTHON to a Python")
        if _INTERPRETER_NAME.fullmatch(os.path.basename(sys.executable)):
            return sys.executable
    return _checked(python or sys.executable)


def _checked(python: str) -> str:
    """Run an interpreter once, to see that it is one."""
    command = [python, "-I", "-c", f"print({_ANSWER!r})"]
    environment = {**os.environ, MARKER: "1"}
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_ANSWER_TIMEOUT_SECONDS,
            env=environment,
            check=False,
            text=True,
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ValueError(f"{python!r} cannot be run as a Python interpreter: {error}") from None
    if answer.strip() != _ANSWER:
        raise ValueError(
            f"{python!r} is no Python interpreter. Set CURL_SAFE_PYTHON to the path of one"
        )
    return python


def _source_of_main() -> str:
    spec = find_spec(f"{_worker.__name__}.__main__")
    loader = spec.loader if spec is not None else None
    source: str | None = loader.get_source(spec.name) if hasattr(loader, "get_source") else None  # type: ignore[union-attr]
    if source is None:
        raise ValueError("the source of the worker's program cannot be found")
    return source


def _environment(root: str) -> dict[str, str]:
    environment = {
        name: os.path.abspath(value) if name in _PATHS and value else value
        for name, value in os.environ.items()
        if name in _NAMES or name.startswith(_PREFIXES)
    }
    environment[MARKER] = "1"
    environment["CURL_SAFE_ROOT"] = root
    environment["CURL_SAFE_PATH"] = os.pathsep.join(_import_path())
    return environment


def _import_path() -> list[str]:
    """Return where the crawler imports from; the directory that it was started in, where a crawl
    keeps files of any name, comes last."""
    try:
        here = os.getcwd()
    except OSError:  # removed
        return [entry for entry in sys.path if os.path.isabs(entry)]
    entries = [os.path.abspath(entry) for entry in sys.path]
    return [e for e in entries if e != here] + [e for e in entries if e == here]

"""Starts workers the way that was captured when the crawl started.

A crawl may outlive the directory that it was started in, and the package's files may change. So the
interpreter, the environment and the import path are captured once, and each worker reports in its
Ready which version of the package it runs.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from .. import _worker
from .._ipc.shared_memory import SHARED_MEMORY_BYTES, SharedMemoryReader
from .._platform.environment import OTHER_VARIABLES, PATH_VARIABLES, absolute_path
from .._platform.redirects import redirects_for_child
from .._platform.refusals import Facility, note_refusal
from .._platform.system import system
from .._version import __version__
from .interpreter import MARKER, find_interpreter, is_frozen
from .worker_process import WorkerProcess

# A worker runs in another directory, so relative paths have to be made absolute.
_PATHS = PATH_VARIABLES | system.PATH_VARIABLES
# The variables that a worker gets from the crawler's environment, besides those that redirect
# connections and name lookups.
_NAMES = _PATHS | OTHER_VARIABLES | system.OTHER_VARIABLES


@dataclass(frozen=True)
class WorkerLauncher:
    """Starts workers.

    Attributes:
        command: the program; the inherited descriptors follow as arguments.
        environment: of each worker.
    """

    command: tuple[str, ...]
    environment: dict[str, str]

    @classmethod
    def capture(cls, python: str | None = None) -> WorkerLauncher:
        """Capture how workers are started.

        Args:
            python: path of the interpreter (CURL_SAFE_PYTHON); None for `sys.executable`.

        Raises:
            InterpreterError: there is none.
        """
        main = Path(_worker.__file__).with_name("__main__.py")
        root: str | None = str(main.parents[2])
        if main.is_file():
            program = [str(main)]
        elif source := _source_of_main():
            # In a zip archive, where an interpreter finds no file by its path.
            program = ["-c", source]
        else:
            # In a frozen program, which contains no sources.
            root, program = None, ["-m", _worker.__name__]
        environment = _environment(root)
        interpreter = find_interpreter(python, environment, needs_package=root is None)
        return cls((interpreter, "-I", *program), environment)

    def start(self) -> WorkerProcess:
        """Start a worker: a fresh interpreter, not a fork, so it inherits no threads, sockets or
        TLS state. It has a session of its own, so Ctrl-C does not reach it.

        Raises:
            OSError: no process or no descriptor is available.
        """
        memory, reader = system.create_shared_memory(SHARED_MEMORY_BYTES), None
        inherited = None
        try:
            if memory is not None:
                try:
                    reader = SharedMemoryReader(memory)
                    inherited = memory
                except OSError as error:
                    note_refusal(Facility.SHARED_MEMORY, error)
            process, sock = system.start_worker(self.command, self.environment, inherited)
            return WorkerProcess(process, sock, reader)
        except BaseException:
            if reader is not None:
                reader.close()
            raise
        finally:
            if memory is not None:
                os.close(memory)


def _source_of_main() -> str | None:
    spec = find_spec(f"{_worker.__name__}.__main__")
    loader = spec.loader if spec is not None else None
    get_source = getattr(loader, "get_source", None)
    source: str | None = get_source(f"{_worker.__name__}.__main__") if get_source else None
    return source


def _environment(root: str | None) -> dict[str, str]:
    """Return the environment of a worker.

    Args:
        root: where the package is; None if the worker's interpreter has its own.
    """
    environment = {
        name: absolute_path(value) if name in _PATHS and value else value
        for name, value in os.environ.items()
        if name in _NAMES
    } | redirects_for_child()
    environment[MARKER] = "1"
    environment["CURL_SAFE_VERSION"] = __version__
    if is_frozen():
        # It points to the libraries inside the program; PyInstaller keeps the original value.
        original = os.environ.get("LD_LIBRARY_PATH_ORIG")
        environment.pop("LD_LIBRARY_PATH", None)
        environment |= {"LD_LIBRARY_PATH": original} if original else {}
    else:
        # The modules inside a frozen program are of no use to another interpreter.
        environment["CURL_SAFE_PATH"] = os.pathsep.join(_import_path())
    if root is not None:
        environment["CURL_SAFE_ROOT"] = root
    return environment


def _import_path() -> list[str]:
    """Return the crawler's import path. The directory that it was started in, where a crawl may
    keep files of any name, comes last."""
    try:
        here = os.getcwd()
    except OSError:  # removed
        return [entry for entry in sys.path if os.path.isabs(entry)]
    entries = [os.path.abspath(entry) for entry in sys.path]
    return [e for e in entries if e != here] + [e for e in entries if e == here]

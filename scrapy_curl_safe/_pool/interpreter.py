"""Which Python interpreter runs the workers.

`sys.executable` is no interpreter in a frozen program (PyInstaller, py2exe), under uWSGI and in
other programs that embed Python. Run as if it were one, such a program would start its crawl once
more for each worker.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache

from .._version import __version__

#: Set in the environment of a worker. A program that finds it there was taken for an interpreter.
MARKER = "CURL_SAFE_WORKER"

_NAME = re.compile(r"(python|pypy)[\d.]*[a-z]?w?(\.exe)?", re.IGNORECASE)
_ANSWER = "an interpreter"
_ASK = f"print({_ANSWER!r})"
_ASK_FOR_PACKAGE = (
    f"import curl_cffi, msgspec, scrapy_curl_safe; print({_ANSWER!r}, scrapy_curl_safe.__version__)"
)
_ANSWER_TIMEOUT_SECONDS = 30.0
_ADVICE = "Set CURL_SAFE_PYTHON to the path of a Python interpreter"


class InterpreterError(Exception):
    """Why no interpreter can be had, and what to do about it."""


def is_frozen() -> bool:
    """Tell whether this program has its own interpreter inside it."""
    return bool(getattr(sys, "frozen", False))


def find_interpreter(
    python: str | None, environment: Mapping[str, str], *, needs_package: bool
) -> str:
    """Return the absolute path of the interpreter that runs the workers.

    One whose name does not say that it is Python is run once, to see whether it answers as Python.

    Args:
        python: its path, or its name on the PATH (CURL_SAFE_PYTHON); None for `sys.executable`.
        environment: of a worker.
        needs_package: whether it has to have this package, since its files are in the program.

    Raises:
        InterpreterError: none can be had.
    """
    if os.environ.get(MARKER):
        raise InterpreterError(
            f"this program was started as an interpreter that runs a worker, and is none. {_ADVICE}"
        )
    if python is None:
        if is_frozen():
            raise InterpreterError(f"this program is frozen. {_ADVICE} that has this package")
        if not sys.executable:
            raise InterpreterError(f"sys.executable is empty. {_ADVICE}")
        if _NAME.fullmatch(os.path.basename(sys.executable)):
            return sys.executable
    path = _absolute(python or sys.executable)
    wanted = f"{_ANSWER} {__version__}" if needs_package else _ANSWER
    code = _ASK_FOR_PACKAGE if needs_package else _ASK
    answer, error = _ask(path, code, tuple(sorted(environment.items())))
    if answer == wanted:
        return path
    if answer.startswith(_ANSWER):
        version = answer.removeprefix(_ANSWER).strip()
        raise InterpreterError(
            f"{path} has scrapy-curl-safe {version}, and this program has {__version__}"
        )
    if needs_package and "Error: No module named" in error:
        raise InterpreterError(
            f"{path} cannot run workers: {error}. Run {path} -m pip install "
            f"scrapy-curl-safe=={__version__}"
        )
    raise InterpreterError(f"{path} does not answer as Python does. {_ADVICE}")


def _absolute(python: str) -> str:
    """Find a path or a name on the PATH, since workers run in another directory."""
    found = shutil.which(python)
    if found is None:
        raise InterpreterError(f"{python!r} is no program that can be run. {_ADVICE}")
    with contextlib.suppress(OSError):  # the current directory was removed
        return os.path.abspath(found)
    return found


@lru_cache
def _ask(python: str, code: str, environment: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Run code, once for all handlers, and return what it printed and the last line of its errors.

    Args:
        environment: pairs of names and values.
    """
    try:
        process = subprocess.Popen(
            [python, "-I", "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise InterpreterError(f"{python} cannot be run: {error}. {_ADVICE}") from None
    try:
        answer, errors = process.communicate(timeout=_ANSWER_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        _kill_with_children(process)
        return "", ""
    return answer.strip(), errors.strip().rpartition("\n")[2]


def _kill_with_children(process: subprocess.Popen[str]) -> None:
    """Kill what may be a program of any kind."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.communicate()

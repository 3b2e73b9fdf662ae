"""Finds the Python interpreter that runs the workers.

In a frozen program (PyInstaller, py2exe), under uWSGI and in other programs that embed Python,
`sys.executable` is not an interpreter. Such a program, if run as one, would start its crawl again
for each worker.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache

from .._platform.system import system
from .._version import __version__

#: Set in the environment of a worker. A program that finds it was mistaken for an interpreter.
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
    """Says why there is no interpreter, and what to do about it."""


def is_frozen() -> bool:
    """Tell whether this program contains its own interpreter."""
    return bool(getattr(sys, "frozen", False))


def find_interpreter(
    python: str | None, environment: Mapping[str, str], *, needs_package: bool
) -> str:
    """Return the absolute path of the interpreter that runs the workers.

    If its name does not say that it is Python, it is run once, to see whether it answers as Python
    does.

    Args:
        python: its path, or its name on the PATH (CURL_SAFE_PYTHON); None for `sys.executable`.
        environment: of a worker.
        needs_package: whether it must have this package, since the files are inside the program.

    Raises:
        InterpreterError: there is none.
    """
    if os.environ.get(MARKER):
        raise InterpreterError(
            "this program was started as an interpreter that runs a worker, but is not one. "
            f"{_ADVICE}"
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
    """Make a path, or a name on the PATH, absolute, since workers run in another directory."""
    found = shutil.which(python)
    if found is None:
        raise InterpreterError(f"{python!r} is no program that can be run. {_ADVICE}")
    with contextlib.suppress(OSError):  # the current directory was removed
        return os.path.abspath(found)
    return found


@lru_cache
def _ask(python: str, code: str, environment: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Run code, once for all handlers; return what it printed and the last line of its errors.

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
            **system.APART,
        )
    except OSError as error:
        raise InterpreterError(f"{python} cannot be run: {error}. {_ADVICE}") from None
    try:
        answer, errors = process.communicate(timeout=_ANSWER_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        system.kill_with_children(process)  # it may be any program
        process.communicate()
        return "", ""
    return answer.strip(), errors.strip().rpartition("\n")[2]

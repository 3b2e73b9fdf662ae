"""Starts and ends processes on Windows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

assert sys.platform == "win32"

from . import windows_api  # noqa: E402
from .refusals import Facility, note_refusal  # noqa: E402
from .windows_sockets import connected_pair, give_socket, take_socket  # noqa: E402

#: Arguments of `subprocess.Popen` for a process without a window that Ctrl-C does not reach.
APART: Mapping[str, Any] = {
    "creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
}

# The statuses with which Windows ends a process (NTSTATUS).
_EXIT_STATUSES = {
    0xC0000005: "access violation",
    0xC0000006: "I/O error in a mapped file",
    0xC0000017: "no memory",
    0xC000001D: "illegal instruction",
    0xC0000094: "division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL is missing",
    0xC000013A: "Ctrl-C",
    0xC0000142: "a DLL did not start",
    0xC0000374: "heap corruption",
    0xC0000409: "fatal error, such as abort()",
}

_job: windows_api.Job | None = None


def start_worker(
    command: Sequence[str], environment: Mapping[str, str], memory: int | None
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker, and give it one of two connected sockets.

    Args:
        command: the program.
        environment: its whole environment.
        memory: None, see `create_shared_memory`.

    Returns:
        The process, and the other socket.

    Raises:
        OSError: no process or no socket is available.
    """
    command, environment = _without_launcher(command, environment)
    ours, theirs = connected_pair()
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
            cwd=os.path.abspath(os.sep),
            **APART,
        )
        _end_with_this_process(process.pid)
        give_socket(theirs, process)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours


def _without_launcher(
    command: Sequence[str], environment: Mapping[str, str]
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Have a command run the interpreter itself.

    In a virtual environment, python.exe is a launcher: it starts the interpreter as another
    process, which the socket would not reach. `pyvenv.cfg` says where the interpreter is, and that
    finds the virtual environment by a variable, as from the launcher.
    """
    launcher = command[0]
    configuration = os.path.join(os.path.dirname(launcher), os.pardir, "pyvenv.cfg")
    try:
        with open(configuration, encoding="utf-8") as file:
            lines = dict(line.split("=", 1) for line in file if "=" in line)
    except (OSError, ValueError):
        return command, environment
    home = next((value.strip() for name, value in lines.items() if name.strip() == "home"), "")
    interpreter = os.path.join(home, os.path.basename(launcher))
    if not home or not os.path.isfile(interpreter):
        return command, environment
    return [interpreter, *command[1:]], {**environment, "__PYVENV_LAUNCHER__": launcher}


def _end_with_this_process(pid: int) -> None:
    global _job  # noqa: PLW0603
    try:
        _job = _job or windows_api.Job()
        _job.add(pid)
    except OSError as error:
        note_refusal(Facility.PARENT_DEATH_SIGNAL, error)


def take_inherited(arguments: Sequence[str]) -> tuple[socket.socket, int | None]:
    """Return the socket that `start_worker` has given to this process, and no shared memory.

    Args:
        arguments: that followed the command.
    """
    return take_socket(), None


def tie_to_parent() -> None:
    """Have this process end with its parent, whose job it is in, and not before."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK):
        signal.signal(number, signal.SIG_IGN)


def kill_with_children(process: subprocess.Popen[Any]) -> None:
    """Kill a process, and those that it has started."""
    subprocess.run(
        ["taskkill", "/f", "/t", "/pid", str(process.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        **APART,
    )
    process.kill()


def describe_exit(status: int) -> str:
    """Describe how a process ended.

    Args:
        status: as `subprocess.Popen.returncode` has it.
    """
    if status < 0x80000000:
        return f"exit status {status}"
    name = _EXIT_STATUSES.get(status)
    return f"{name} ({status:#010x})" if name else f"exit status {status:#010x}"

"""A worker's operating-system process and how it ends. `launcher` starts it."""

from __future__ import annotations

import logging
import socket
import subprocess
import time
from collections.abc import Callable

from .._ipc.shared_memory import SharedMemoryReader
from .._platform.system import system
from .event_loop import EventLoop

logger = logging.getLogger(__name__)

# How long a process may take to exit by itself after its socket was closed, and to die when killed.
_EXIT_GRACE_SECONDS, _DEATH_GRACE_SECONDS = 2.0, 10.0
# What `subprocess.Popen.returncode` is for a process that SIGKILL has ended.
_KILLED = -9
_POLL_INTERVAL_SECONDS = 0.01


class WorkerProcess:
    """A subprocess, the crawler's end of the socket to it, and the memory that both share.

    The process waits for its Hello and exits by itself if none comes, so it can be started before
    it is needed (prewarmed).

    Attributes:
        memory: where the worker puts large bodies; None if the system has no such memory.

    Args:
        process: a running worker.
        sock: the crawler's end of the socket to it.
        memory: see above.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        sock: socket.socket,
        memory: SharedMemoryReader | None,
    ) -> None:
        self._process = process
        self._socket = sock
        self.memory = memory

    def __repr__(self) -> str:
        status = self._process.returncode
        state = "running" if status is None else system.describe_exit(status)
        return f"<WorkerProcess {self.pid} {state}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The status as `subprocess.Popen.returncode` has it; None while the process runs."""
        return self._process.poll()

    def take_socket(self) -> socket.socket:
        """Return the socket, which the caller owns from now on."""
        return self._socket

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> int:
        """Kill the process, wait for its end and free its resources.

        Returns:
            The exit status.
        """
        self._socket.close()
        self._process.kill()
        status = self._process.wait()
        self._free()
        return status

    def reap(self, loop: EventLoop, on_exit: Callable[[int], None]) -> None:
        """Wait for a process whose socket is closed, kill it if it takes too long, and free its
        resources.

        Args:
            on_exit: called with the exit status; with that of a killed process if it does not end.
        """
        deadline = time.monotonic() + _EXIT_GRACE_SECONDS

        def poll() -> None:
            status = self.exit_status
            overdue = time.monotonic() - deadline
            if status is None and overdue > _DEATH_GRACE_SECONDS:
                # The kernel ends no process that waits in it, say for a disk.
                logger.error(
                    "Process %d of a worker was killed and does not end. It is left behind",
                    self.pid,
                )
                status = _KILLED
            if status is not None:
                self._free()
                on_exit(status)
                return
            if overdue > 0:
                self.kill()
            loop.call_later(_POLL_INTERVAL_SECONDS, poll)

        poll()

    def _free(self) -> None:
        if self.memory is not None:
            self.memory.close()

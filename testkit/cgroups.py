"""Control groups with limits, for processes of a test."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from testkit.waiting import wait_until

_MOUNTED = Path("/sys/fs/cgroup")
# By version 2's name of a limit: the controller and the file of version 1.
_FILES_OF_V1 = {
    "memory.max": ("memory", "memory.limit_in_bytes"),
    "pids.max": ("pids", "pids.max"),
    "cpu.max": ("cpu", "cpu.cfs_quota_us"),
}


class NoGroupsError(Exception):
    """No group can be made here."""


@dataclass(frozen=True)
class Group:
    """A group of processes.

    Attributes:
        directories: of which it consists; of version 1 one for each controller.
    """

    directories: list[Path]

    def around(self) -> list[str]:
        """Return the words to put before a command that is to run in the group."""
        joins = " && ".join(f"echo $$ > '{d}/cgroup.procs'" for d in self.directories)
        return ["sh", "-c", f'{joins} && exec "$@"', "sh"]

    def pids(self) -> list[int]:
        """Return the processes of the group, zombies included."""
        return sorted({int(pid) for d in self.directories for pid in _pids(d)})


def _pids(directory: Path) -> list[str]:
    return (directory / "cgroup.procs").read_text().split()


@contextlib.contextmanager
def control_group(**limits: int | str) -> Iterator[Group]:
    """Make a group, which must be empty in the end.

    Args:
        limits: by the names of version 2, with `_` in place of the dot: `pids_max=64`.

    Raises:
        NoGroupsError: says why there cannot be one.
    """
    wanted = {name.replace("_", "."): str(value) for name, value in limits.items()}
    name = f"curl-safe-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    group = Group([])
    try:
        try:
            for limit, value in wanted.items():
                directory, file = _place(limit)
                if directory / name not in group.directories:
                    (directory / name).mkdir()
                    group.directories.append(directory / name)
                (directory / name / file).write_text(
                    value.split()[0] if file.startswith("cpu.cfs") else value
                )
        except OSError as error:
            raise NoGroupsError(f"no control group can be made here: {error}") from error
        yield group
        # The last process has been waited for, and is about to leave.
        wait_until(lambda: not any(map(psutil.pid_exists, group.pids())))
    finally:
        for directory in group.directories:
            directory.rmdir()


def _place(limit: str) -> tuple[Path, str]:
    """Return the group in which one with a limit can be made, and the file of the limit."""
    if (_MOUNTED / "cgroup.controllers").exists():
        # Below the group of this process, which has processes, none with limits can be made.
        return _MOUNTED, limit
    controller, file = _FILES_OF_V1[limit]
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return _MOUNTED / controllers / path.lstrip("/"), file
    raise NoGroupsError(f"no control group here has {controller}")

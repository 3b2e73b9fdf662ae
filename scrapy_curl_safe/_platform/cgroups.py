"""The limits of the control groups that this process is in, of which containers are made.

Two versions of control groups exist (cgroups(7)), and a system may have both at once. Which group a
process is in stands in /proc/self/cgroup, and where groups are visible in /proc/self/mountinfo. A
group can use no more than the groups around it, so the tightest limit of them all counts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Version 1 has no word for the absence of a limit, but a number of bytes that no machine has.
_NO_MEMORY_LIMIT = 2**60
# The controllers of version 1 whose limits are read.
_LIMITING = frozenset({"cpu", "memory", "pids"})


@dataclass(frozen=True)
class GroupLimit:
    """A limit of a group of processes.

    Attributes:
        most: that the group may use.
        left: that it could still use; None if unknown. Another group around it may leave less than
            the group with the lowest limit.
        unit: in which these are counted.
        file: which has the limit.
    """

    most: float
    left: float | None
    unit: str
    file: str


@dataclass(frozen=True)
class GroupLimits:
    """The limits that apply to this process; each is None if there is none.

    Attributes:
        memory: in MB. Files in memory that the system can drop count as unused.
        cpus: CPU time in each unit of time. What is left is unknown.
        tasks: processes, with each of their threads.
    """

    memory: GroupLimit | None = None
    cpus: GroupLimit | None = None
    tasks: GroupLimit | None = None


class _Mount(NamedTuple):
    """A mounted hierarchy of groups, or a part of one (proc_pid_mountinfo(5)).

    Attributes:
        options: among which are the controllers of version 1; None for version 2, whose only
            hierarchy has all controllers.
        group: the group at the mount point.
        point: the mount point.
    """

    options: frozenset[str] | None
    group: PurePosixPath
    point: PurePosixPath

    def has(self, controllers: frozenset[str]) -> bool:
        """Tell whether this hierarchy has these controllers, of which version 2 names none."""
        if self.options is None:
            return not controllers
        return bool(controllers) and controllers <= self.options


def read_group_limits(root: Path) -> GroupLimits:
    """Read the limits that apply to this process. Without control groups there are none.

    Args:
        root: of the file system.
    """
    try:
        groups = list(_groups(root))
    except (OSError, ValueError):
        return GroupLimits()
    return GroupLimits(
        memory=_tightest(groups, _memory),
        cpus=_tightest(groups, _cpus),
        tasks=_tightest(groups, _tasks),
    )


# The groups


def _groups(root: Path) -> Iterator[Path]:
    """Yield the directories of the groups of this process, and of the groups around these.

    Raises:
        OSError: the system does not reveal its groups, or has none.
        ValueError: a file is not as Linux writes it.
    """
    mounts = list(_mounts((root / "proc/self/mountinfo").read_text()))
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        controllers = frozenset(filter(None, names.split(",")))
        if controllers and not controllers & _LIMITING:
            continue
        group = PurePosixPath(path)
        hierarchy = [mount for mount in mounts if mount.has(controllers)]
        # Others may be mounted as well: the group of a container is no limit of the machine's.
        around = [mount for mount in hierarchy if group.is_relative_to(mount.group)]
        for mount in around or hierarchy:
            for directory in _directories(mount, group):
                yield root / directory.relative_to("/")


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        group, point = (PurePosixPath(_unescaped(field)) for field in before.split(" ")[3:5])
        kind, *_, options = after.split(" ")
        if kind == "cgroup":
            yield _Mount(frozenset(options.split(",")), group, point)
        elif kind == "cgroup2":
            yield _Mount(None, group, point)


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), field)


def _directories(mount: _Mount, path: PurePosixPath) -> Iterator[PurePosixPath]:
    """Yield the directories of a group and of those around it, as far as they are visible."""
    if ".." in path.parts:  # outside of this process's namespace of groups
        return
    # A container without a namespace of groups is told its path on the machine, and may see no
    # other group than its own.
    inner = path.relative_to(mount.group) if path.is_relative_to(mount.group) else PurePosixPath()
    yield from (mount.point / part for part in (inner, *inner.parents))


# The limits


def _tightest(groups: list[Path], read: Callable[[Path], GroupLimit | None]) -> GroupLimit | None:
    limits = []
    for group in groups:
        try:
            limit = read(group)
        except (OSError, ValueError):  # the group has no such limit
            continue
        if limit is not None:
            limits.append(limit)
    if not limits:
        return None
    left = [limit.left for limit in limits if limit.left is not None]
    return replace(min(limits, key=lambda limit: limit.most), left=min(left, default=None))


def _memory(group: Path) -> GroupLimit | None:
    file, usage, droppable = "memory.max", "memory.current", "inactive_file"
    if not (group / file).exists():
        file, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        droppable = "total_inactive_file"
    most = _number(group / file)
    if most is None or most >= _NO_MEMORY_LIMIT:
        return None
    left = None
    with contextlib.suppress(OSError, ValueError):
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        used = int((group / usage).read_text()) - int(stat.get(droppable, 0))
        left = max(0, most - used) / 2**20
    return GroupLimit(most / 2**20, left, "MB", str(group / file))


def _cpus(group: Path) -> GroupLimit | None:
    file = group / "cpu.max"
    if file.exists():
        quota, period = file.read_text().split()
    else:
        file = group / "cpu.cfs_quota_us"
        quota, period = file.read_text().strip(), (group / "cpu.cfs_period_us").read_text()
    if quota in ("max", "-1"):
        return None
    most = int(quota) / int(period)
    return GroupLimit(most, None, "CPU" if most == 1 else "CPUs", str(file))


def _tasks(group: Path) -> GroupLimit | None:
    file = group / "pids.max"
    most = _number(file)
    if most is None:
        return None
    left = None
    with contextlib.suppress(OSError, ValueError):
        left = max(0, most - int((group / "pids.current").read_text()))
    return GroupLimit(float(most), left, "processes and threads", str(file))


def _number(file: Path) -> int | None:
    """Read the only number of a file; None if it says that there is no limit."""
    text = file.read_text().strip()
    return None if text == "max" else int(text)

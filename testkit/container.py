"""Runs a command as Docker would, without Docker: `python -m testkit.container USER -- COMMAND...`
in namespaces of its own (`around`).

The command runs as PID 1 without an init, as an unprivileged user without any capability. All file
systems are read-only, and the shared memory in /dev/shm cannot be used. Limits of memory and
processes come from a group around this (`testkit.cgroups`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from testkit.cgroups import Group as ControlGroup
from testkit.cgroups import NoGroupsError, control_group
from testkit.crawling import ROOT

#: Of Docker's "nobody", which owns no file.
NOBODY = 65534
MEMORY_MB = 512
PIDS = 64

_PROGRAMS = ("unshare", "setpriv", "mount")
_NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
_UNPRIVILEGED = ("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all")
_FOR_FILES = Path("/mnt")
# It finds its files, and can be run by itself.
_TRIAL = (
    "import subprocess, sys; "
    "subprocess.run([sys.executable, '-c', 'import scrapy_curl_safe'], check=True)"
)


class NoContainerError(Exception):
    """No container can be made here."""


@contextlib.contextmanager
def container(user: int = NOBODY) -> Iterator[tuple[list[str], ControlGroup]]:
    """Make the limits of a container, and return the words to put before its command, and its
    group.

    Raises:
        NoContainerError: says why there can be none.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        raise NoContainerError(f"containers need root and {', '.join(missing or _PROGRAMS)}")
    with contextlib.ExitStack() as stack:
        limits = {"memory_max": MEMORY_MB * 2**20, "pids_max": PIDS}
        try:
            group = stack.enter_context(control_group(**limits))
        except NoGroupsError as error:
            raise NoContainerError(str(error)) from error
        this = (sys.executable, "-m", "testkit.container", str(user), "--")
        around = [*group.around(), *_NAMESPACES, *this]
        tried = subprocess.run(
            [*around, sys.executable, "-c", _TRIAL],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if tried.returncode:
            raise NoContainerError(f"user {user} cannot run this in a container: {tried.stderr}")
        yield around, group


# Within the namespaces


def main() -> None:
    user, command = sys.argv[1], sys.argv[3:]
    _mount("-t", "proc", "proc", "/proc")
    _mount("-t", "tmpfs", "-o", "ro,mode=000,size=4k", "none", "/dev/shm")
    _mount("-t", "tmpfs", "none", str(_FOR_FILES))
    _uncover([Path(sys.prefix), Path(sys.base_prefix), ROOT])
    # The user may not read the directories of tests.
    if path := os.environ.get("SSL_CERT_FILE"):
        copy = _FOR_FILES / "authorities.pem"
        copy.write_bytes(Path(path).read_bytes())
        os.environ["SSL_CERT_FILE"] = str(copy)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    for point in {line.split(" ")[4] for line in mounts}:
        if point != "/proc" and Path(point).is_dir():
            _mount("-o", "remount,bind,ro", point)
    os.environ["HOME"] = "/"
    identity = [f"--reuid={user}", f"--regid={user}", "--pdeathsig=KILL"]
    os.execvp("setpriv", ["setpriv", *identity, *_UNPRIVILEGED, *command])


def _uncover(directories: list[Path]) -> None:
    """Have directories readable that are in another user's home, as they would be in an image."""
    covers = {}
    for number, directory in enumerate(directories):
        closed = [p for p in directory.parents if not p.stat().st_mode & stat.S_IXOTH]
        if closed:
            place = _FOR_FILES / str(number)
            place.mkdir()
            _mount("--bind", str(directory), str(place))
            covers[directory] = (closed[-1], place)
    for cover in {cover for cover, _ in covers.values()}:
        _mount("-t", "tmpfs", "-o", "mode=755", "none", str(cover))
    for directory, (_, place) in covers.items():
        directory.mkdir(parents=True, exist_ok=True)
        _mount("--bind", str(place), str(directory))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()

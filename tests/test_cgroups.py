"""The limits of containers: what is read, and what follows for a crawl."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._platform.cgroups import GroupLimit, GroupLimits, read_group_limits
from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe._pool.worker_count import default_worker_count
from scrapy_curl_safe.commands.doctor.checks import run_checks
from scrapy_curl_safe.commands.doctor.facts import Facts
from scrapy_curl_safe.commands.doctor.finding import CheckStatus, Finding
from scrapy_curl_safe.settings import default_workers
from testkit.cgroups import Group, NoGroupsError, control_group
from testkit.crawling import ROOT

MB = 2**20
V2 = "31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHERS = (
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    r"27 1 254:0 / /with\040space rw - ext4 /dev/vda rw,discard" + "\n"
)


def v1(*controllers: str, group: str = "/") -> str:
    """Return the mounts of hierarchies of version 1."""
    return "".join(
        f"4{n} 31 0:3{n} {group} /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
        for n, name in enumerate(controllers)
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def lay_out(root: Path, mounts: str, groups: str, files: Mapping[str, str] = {}) -> None:
    """Write what the kernel would show: the mounts, the groups of this process, and files."""
    (root / "proc/self/mountinfo").write_text(OTHERS + mounts)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


def at(root: Path, name: str) -> str:
    return str(root / "sys/fs/cgroup" / name)


def test_without_groups_there_are_no_limits(root: Path) -> None:
    assert read_group_limits(root / "nothing") == GroupLimits()
    lay_out(root, "", "")
    assert read_group_limits(root) == GroupLimits()
    lay_out(root, "", "0::/\n")
    assert read_group_limits(root) == GroupLimits()
    lay_out(root, V2, "0::/\n")
    assert read_group_limits(root) == GroupLimits()
    lay_out(root, V2, "what is this\n")
    assert read_group_limits(root) == GroupLimits()


def test_version_2(root: Path) -> None:
    files = {
        "memory.max": str(512 * MB),
        "memory.current": str(300 * MB),
        "memory.stat": f"anon {100 * MB}\ninactive_file {150 * MB}",
        "cpu.max": "150000 100000",
        "pids.max": "64",
        "pids.current": "10",
    }
    lay_out(root, V2, "0::/\n", files)
    assert read_group_limits(root) == GroupLimits(
        memory=GroupLimit(512, 362, "MB", at(root, "memory.max")),
        cpus=GroupLimit(1.5, None, "CPUs", at(root, "cpu.max")),
        tasks=GroupLimit(64, 54, "processes and threads", at(root, "pids.max")),
    )


def test_version_2_without_limits(root: Path) -> None:
    files = {"memory.max": "max", "cpu.max": "max 100000", "pids.max": "max"}
    lay_out(root, V2, "0::/a\n", {f"a/{name}": text for name, text in files.items()})
    assert read_group_limits(root) == GroupLimits()


def test_the_tightest_group_counts(root: Path) -> None:
    """And of what is left, that of the group that leaves the least."""
    files = {
        "out/pids.max": "500",
        "out/pids.current": "495",
        "out/in/pids.max": "100",
        "out/in/pids.current": "20",
        "out/in/own/pids.max": "max",
        "beside/pids.max": "2",
        "beside/pids.current": "1",
    }
    lay_out(root, V2, "0::/out/in/own\n", files)
    tasks = read_group_limits(root).tasks
    assert tasks == GroupLimit(100, 5, "processes and threads", at(root, "out/in/pids.max"))


def test_a_group_that_is_only_mounted_does_not_count(root: Path) -> None:
    """As that of a container, seen from the machine."""
    mounts = V2 + V2.replace(" / ", " /box ").replace("/fs/cgroup", "/fs/cgroup/seen")
    files = {"own/pids.max": "100", "seen/pids.max": "5"}
    lay_out(root, mounts, "0::/own\n", files)
    tasks = read_group_limits(root).tasks
    assert tasks == GroupLimit(100, None, "processes and threads", at(root, "own/pids.max"))


def test_a_limit_counts_whose_use_is_not_known(root: Path) -> None:
    lay_out(root, V2, "0::/\n", {"memory.max": str(512 * MB), "pids.max": "64"})
    limits = read_group_limits(root)
    assert limits.memory == GroupLimit(512, None, "MB", at(root, "memory.max"))
    assert limits.tasks is not None
    assert limits.tasks.left is None


def test_more_in_use_than_allowed_leaves_nothing(root: Path) -> None:
    """As after a limit was lowered."""
    lay_out(root, V2, "0::/\n", {"pids.max": "5", "pids.current": "9"})
    tasks = read_group_limits(root).tasks
    assert tasks is not None
    assert tasks.left == 0


def test_version_1(root: Path) -> None:
    """In a container with a namespace of groups, or in a service on the machine."""
    groups = "4:memory:/own\n3:cpu,cpuacct:/own\n2:pids:/own\n1:name=systemd:/own\n"
    files = {
        "memory/own/memory.limit_in_bytes": str(256 * MB),
        "memory/own/memory.usage_in_bytes": str(100 * MB),
        "memory/own/memory.stat": f"inactive_file 0\ntotal_inactive_file {20 * MB}",
        "memory/memory.limit_in_bytes": "9223372036854771712",
        "cpu,cpuacct/own/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/own/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
        "pids/own/pids.max": "32",
        "pids/own/pids.current": "2",
    }
    lay_out(root, v1("memory", "cpu,cpuacct", "pids", "name=systemd"), groups, files)
    assert read_group_limits(root) == GroupLimits(
        memory=GroupLimit(256, 176, "MB", at(root, "memory/own/memory.limit_in_bytes")),
        cpus=GroupLimit(0.5, None, "CPUs", at(root, "cpu,cpuacct/own/cpu.cfs_quota_us")),
        tasks=GroupLimit(32, 30, "processes and threads", at(root, "pids/own/pids.max")),
    )


def test_version_1_in_a_container_that_sees_its_own_group_only(root: Path) -> None:
    """Docker's, without a namespace: the path is that of the machine."""
    files = {"pids/pids.max": "32", "pids/pids.current": "2"}
    lay_out(root, v1("pids", group="/docker/abc"), "2:pids:/docker/abc\n", files)
    tasks = read_group_limits(root).tasks
    assert tasks is not None
    assert (tasks.most, tasks.file) == (32, at(root, "pids/pids.max"))
    # The process may be in a group within.
    files = {"pids/sub/pids.max": "8", "pids/sub/pids.current": "2"}
    lay_out(root, v1("pids", group="/docker/abc"), "2:pids:/docker/abc/sub\n", files)
    tasks = read_group_limits(root).tasks
    assert tasks is not None
    assert tasks.most == 8
    # The path says nothing about what is mounted.
    lay_out(root, v1("pids", group="/docker/abc"), "2:pids:/elsewhere\n")
    tasks = read_group_limits(root).tasks
    assert tasks is not None
    assert tasks.most == 32


def test_a_process_outside_of_its_namespace_has_no_known_limits(root: Path) -> None:
    lay_out(root, V2, "0::/../other\n", {"pids.max": "8", "pids.current": "2"})
    assert read_group_limits(root) == GroupLimits()


def test_both_versions_at_once(root: Path) -> None:
    """With systemd's hybrid layout the controllers may be in either."""
    mounts = v1("memory", "pids") + V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    groups = "3:memory:/a\n2:pids:/a\n0::/a\n"
    files = {
        "memory/a/memory.limit_in_bytes": str(512 * MB),
        "memory/a/memory.usage_in_bytes": "0",
        "memory/a/memory.stat": "",
        "pids/a/pids.max": "max",
        "unified/a/cpu.max": "200000 100000",
    }
    lay_out(root, mounts, groups, files)
    limits = read_group_limits(root)
    assert limits.memory is not None
    assert limits.memory.most == 512
    assert limits.cpus == GroupLimit(2, None, "CPUs", at(root, "unified/a/cpu.max"))
    assert limits.tasks is None


# What follows for a crawl


def limit(most: float, unit: str = "x", left: float | None = None) -> GroupLimit:
    return GroupLimit(most, left, unit, f"/{unit}.max")


@pytest.mark.parametrize(
    ("limits", "cpus", "count"),
    [
        (GroupLimits(), 1, 2),
        (GroupLimits(), 3, 3),
        (GroupLimits(), 16, 4),
        (GroupLimits(cpus=limit(0.2)), 16, 1),
        (GroupLimits(cpus=limit(1)), 16, 1),
        (GroupLimits(cpus=limit(1.2)), 16, 2),
        (GroupLimits(cpus=limit(8)), 2, 2),
        (GroupLimits(cpus=limit(8)), 16, 4),
        (GroupLimits(memory=limit(64)), 16, 1),
        (GroupLimits(memory=limit(200)), 16, 2),
        (GroupLimits(memory=limit(512)), 16, 4),
        (GroupLimits(tasks=limit(10)), 16, 1),
        (GroupLimits(tasks=limit(22)), 16, 2),
        (GroupLimits(tasks=limit(64)), 16, 4),
        (GroupLimits(cpus=limit(3), memory=limit(200), tasks=limit(24)), 16, 2),
    ],
)
def test_the_default_number_of_workers(limits: GroupLimits, cpus: int, count: int) -> None:
    chosen = default_worker_count(cpus, limits)
    assert chosen.count == count
    # A limit is named only where there are fewer because of it.
    assert (chosen.limit is not None) == (count < default_worker_count(cpus, GroupLimits()).count)


def test_the_default_setting_follows_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    tight = GroupLimits(cpus=limit(0.5))
    monkeypatch.setattr(system, "group_limits", lambda: tight)
    # It is remembered for the other tests of this process.
    assert default_workers.__wrapped__() == 1


def findings(**facts: Any) -> dict[str, Finding]:
    fixes = {"memory": "memory {wanted}", "tasks": "tasks {wanted}", "CPU quota": "more"}
    found = run_checks(Facts(**{"cpus": 4, "workers": 4, "fixes": fixes, **facts}))
    return {finding.check: finding for finding in found}


def test_the_doctor_names_the_limit_that_decides() -> None:
    found = findings(group_limits=GroupLimits(cpus=limit(1.5, "CPUs")), workers=2)
    assert found["CPU quota"].status is CheckStatus.OK
    assert found["workers"].status is CheckStatus.OK
    value = "2 workers on 4 CPUs, by default no more because of a limit (1.5 CPUs by /CPUs.max)"
    assert found["workers"].value == value
    assert found["workers"].why == "raise that limit for more workers, or set CURL_SAFE_WORKERS"
    without = findings(workers=2)
    assert without["workers"].value == "2 workers on 4 CPUs"
    assert not {"CPU quota", "memory", "tasks"} & without.keys()


def test_the_doctor_warns_of_more_workers_than_a_quota_runs() -> None:
    found = findings(group_limits=GroupLimits(cpus=limit(0.5, "CPUs")))
    assert found["workers"].status is CheckStatus.WARNING
    assert found["workers"].value == "4 workers on 4 CPUs (0.5 CPUs by /CPUs.max)"
    assert found["workers"].fix == "CURL_SAFE_WORKERS = 1"
    assert (found["CPU quota"].status, found["CPU quota"].fix) == (CheckStatus.WARNING, "more")


def test_the_doctor_compares_memory_with_the_container() -> None:
    limits = GroupLimits(memory=limit(256, "MB", 200.0))
    tight = findings(memory=9000, group_limits=limits, group_memory=220)["memory"]
    assert tight.status is CheckStatus.PROBLEM
    assert tight.value.startswith("220 MB free of 256 MB by /MB.max, about 281 MB needed ")
    assert tight.fix == "lower CONCURRENT_REQUESTS, or memory 317"
    fits = findings(memory=9000, group_limits=limits, group_memory=220, workers=2)["memory"]
    assert fits.status is CheckStatus.OK
    # The machine itself has less.
    machine = findings(memory=100, group_limits=limits, group_memory=220)["memory"]
    assert machine.status is CheckStatus.PROBLEM
    assert (machine.value[:11], machine.fix) == ("100 MB free", "lower CONCURRENT_REQUESTS")


@pytest.mark.parametrize(
    ("free", "status"),
    [(26, CheckStatus.OK), (25, CheckStatus.WARNING), (5, CheckStatus.PROBLEM)],
)
def test_the_doctor_compares_tasks_with_the_container(free: int, status: CheckStatus) -> None:
    limits = GroupLimits(tasks=limit(30, "tasks"))
    found = findings(group_limits=limits, group_tasks=free)["tasks"]
    assert found.status is status
    assert found.value == f"{free} free of 30 tasks by /tasks.max, up to 26 needed"
    if status is not CheckStatus.OK:
        assert found.fix == f"lower CURL_SAFE_WORKERS, or tasks {56 - free}"


# Real groups


@pytest.fixture
def group() -> Iterator[Group]:
    try:
        with control_group(memory_max=200 * MB, pids_max=64, cpu_max="250000 100000") as group:
            yield group
    except NoGroupsError as error:
        pytest.skip(str(error))


READ = """
import json
from dataclasses import asdict
from scrapy_curl_safe._platform.system import system
from scrapy_curl_safe.settings import default_workers
print(json.dumps([asdict(system.group_limits()), default_workers()]))
"""


@pytest.mark.processes
def test_a_real_group(group: Group) -> None:
    done = subprocess.run(
        [*group.around(), sys.executable, "-c", READ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    limits, workers = json.loads(done.stdout)
    assert workers == 2  # more do not fit into the memory
    assert limits["memory"]["most"] == 200
    assert 0 < limits["memory"]["left"] < 200
    assert limits["cpus"]["most"] == 2.5
    assert (limits["tasks"]["most"], limits["tasks"]["left"]) == (64, 63)
    directories = {Path(found["file"]).parent for found in limits.values()}
    assert directories <= set(group.directories)

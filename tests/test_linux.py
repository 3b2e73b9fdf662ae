"""Facilities that Linux may lack or refuse, and that the package does without."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

if sys.platform != "linux":
    pytest.skip("this is not Linux", allow_module_level=True)

from scrapy_curl_safe._platform import c_library, linux, posix
from scrapy_curl_safe._pool.affinity import WorkerAffinity

SIZE_BYTES = 1 << 20


def refuse(error: type[Exception]) -> Callable[..., NoReturn]:
    def call(*_: object, **__: object) -> NoReturn:
        raise error(errno.EPERM, "refused") if error is OSError else error("refused")

    return call


@pytest.fixture(params=["lacks", "refuses"])
def without(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any, str], None]:
    """Take a function away from a module, or have it fail as the system's refusal would."""

    def take_away(module: Any, name: str) -> None:
        if request.param == "lacks":
            monkeypatch.delattr(module, name)
        else:
            monkeypatch.setattr(module, name, refuse(OSError))

    return take_away


def test_without_affinity_all_cpus_count(without: Callable[[Any, str], None]) -> None:
    without(os, "sched_getaffinity")
    assert linux.usable_cpus() == os.cpu_count()
    chosen = WorkerAffinity()
    chosen.apply(os.getpid())
    chosen.review([os.getpid()])


@pytest.mark.processes
def test_usable_cpus_are_those_of_the_process() -> None:
    allowed = os.sched_getaffinity(0)
    code = "from scrapy_curl_safe._platform.linux import usable_cpus; print(usable_cpus())"
    alone = f"import os; os.sched_setaffinity(0, {{{min(allowed)}}}); {code}"
    counts = [
        int(subprocess.run([sys.executable, "-c", c], capture_output=True, check=True).stdout)
        for c in (code, alone)
    ]
    assert counts == [len(allowed), 1]


def test_without_memfd_nothing_is_shared(without: Callable[[Any, str], None]) -> None:
    without(os, "memfd_create")
    assert linux.create_shared_memory(SIZE_BYTES) is None


def test_memory_that_cannot_be_sealed_is_not_shared(
    without: Callable[[Any, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[int] = []
    create = os.memfd_create

    def note(*arguments: Any) -> int:
        created.append(create(*arguments))
        return created[-1]

    monkeypatch.setattr(os, "memfd_create", note)
    without(fcntl, "fcntl")
    assert linux.create_shared_memory(SIZE_BYTES) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(created[0])


def test_without_epoll_poll_is_used(without: Callable[[Any, str], None]) -> None:
    assert isinstance(linux.create_poller()[0], select.epoll)
    without(select, "epoll")
    found, units = linux.create_poller()
    assert type(found) is type(select.poll())
    assert units == 1000  # milliseconds


def test_without_the_batch_class_a_process_goes_on(without: Callable[[Any, str], None]) -> None:
    without(os, "sched_setscheduler")
    linux.use_batch_scheduling()


@pytest.mark.parametrize("error", [OSError, ValueError])
def test_limits_that_are_refused_stay(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "setrlimit", refuse(error))
    posix.forbid_core_dumps()
    assert linux.raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def run_limited(code: str, *prefix: str, **limit: int) -> str:
    """Run code in a process with these hard limits, and return what it prints."""
    set_limits = "".join(
        f"resource.setrlimit(resource.RLIMIT_{name.upper()}, ({value}, {value}));"
        for name, value in limit.items()
    )
    setup = f"import resource; {set_limits}\nfrom scrapy_curl_safe._platform import linux, posix\n"
    run = subprocess.run(
        [*prefix, sys.executable, "-c", setup + code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.processes
def test_the_descriptor_limit_is_raised_as_far_as_it_goes() -> None:
    code = "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128)); "
    code += "print(linux.max_descriptors(), linux.raise_descriptor_limit(), "
    code += "resource.getrlimit(resource.RLIMIT_NOFILE))"
    assert run_limited(code) == "128 128 (128, 128)"


@pytest.mark.processes
def test_a_hard_core_limit_of_zero_is_no_error() -> None:
    """As an administrator sets it, for a process that may not raise it (in a user namespace)."""
    code = "posix.forbid_core_dumps(); print(resource.getrlimit(resource.RLIMIT_CORE))"
    unshare = ["unshare", "--user", "--map-root-user"]
    if subprocess.run([*unshare, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system has no user namespaces")
    assert run_limited(code, *unshare, core=0) == "(0, 0)"
    assert run_limited(code, *unshare) == "(1, 1)"


def test_without_proc_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builtins.open", refuse(OSError))
    monkeypatch.setattr(os, "listdir", refuse(OSError))
    monkeypatch.setattr(Path, "read_text", refuse(OSError))
    assert linux.resident_megabytes() == 0
    assert linux.available_megabytes() is None
    assert linux.open_descriptors() == 0
    assert linux.read_sysctl("net.ipv4.ip_local_port_range") is None


def test_the_kernels_parameters() -> None:
    ports = linux.read_sysctl("net.ipv4.ip_local_port_range")
    assert ports is not None
    assert 0 < ports[0] < ports[1] < 65536
    assert linux.read_sysctl("kernel.ostype") is None  # no number
    assert linux.read_sysctl("net.no_such_thing") is None


def test_available_memory_is_less_than_all_of_it() -> None:
    available = linux.available_megabytes()
    assert available is not None
    pages = os.sysconf("SC_PHYS_PAGES")
    assert 0 < available <= pages * os.sysconf("SC_PAGE_SIZE") // 2**20


def test_a_function_that_the_c_library_lacks_fails() -> None:
    assert c_library.call("no_such_function", 1, b"x", None) == -1
    assert c_library.call("abs", 7) == 7

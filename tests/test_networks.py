"""Bad networks and exhausted machines, in namespaces of their own."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from testkit.crawling import ROOT


def can(*command: str) -> bool:
    if not all(map(shutil.which, ("unshare", command[0]))):
        return False
    run = subprocess.run(["unshare", "-Urmn", *command], capture_output=True, check=False)
    return run.returncode == 0


pytestmark = pytest.mark.processes
needs_namespaces = pytest.mark.skipif(not can("true"), reason="no namespaces can be made here")
needs_nft = pytest.mark.skipif(
    not can("nft", "add", "table", "inet", "t"), reason="no packet filter can be made here"
)


@needs_namespaces
@pytest.mark.parametrize(
    "kind",
    [
        "dns",
        "resolver",
        "ports",
        "threads",
        pytest.param("loss", marks=needs_nft),
        pytest.param("half-open", marks=needs_nft),
    ],
)
def test_a_crawl_on_a_bad_machine(kind: str) -> None:
    run = subprocess.run(
        ["unshare", "-Urmn", sys.executable, "-m", "tests.in_namespace", kind],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr

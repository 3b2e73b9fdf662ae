"""`scrapy curlsafe`: what it says to arguments that it cannot use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from testkit.crawling import ROOT

pytestmark = pytest.mark.processes


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["probe"], "probe takes a URL"),
        (["show"], "show takes a URL"),
        (["show", "https://a.test/", "https://b.test/"], "show takes a URL and no more"),
        (
            ["report"],
            "report takes the file of data that a crawl with CURL_SAFE_REPORT has written",
        ),
        (["doctor", "one", "two"], "doctor takes the name of a spider and no more"),
        (["prob", "https://a.test/"], "there is no program 'prob': did you mean probe?"),
        (["docter"], "there is no program 'docter': did you mean doctor?"),
        (["https://a.test/"], "the first argument is one of doctor, probe, show, report"),
        (["probe", "https://a.test/", "--wait=secret"], "there is no option --wait"),
    ],
)
def test_a_line_says_what_is_wrong(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = run(arguments, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"scrapy curlsafe: {says}\n"


def test_without_arguments_there_is_help(tmp_path: Path) -> None:
    done = run([], tmp_path)
    assert done.returncode == 2
    assert "--impersonate TARGET" in done.stdout


def run(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scrapy", "curlsafe", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

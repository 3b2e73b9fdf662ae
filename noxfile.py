"""The versions that this package works with, each with each: `make matrix`."""

from __future__ import annotations

import os

import nox

nox.options.default_venv_backend = "venv"

# The oldest that is supported, and the newest. What else a version needs stands beside it.
SCRAPY = {
    # 2.15 imports a private name that Twisted 26 has no more, its own handler needs httpx where
    # there is no reactor, and without zstandard it decodes no zstd.
    "oldest": ["Scrapy==2.15.0", "Twisted==24.11.0", "httpx>=0.28", "zstandard>=0.22"],
    "newest": ["Scrapy>=2.19"],
}
CURL_CFFI = {"oldest": "curl_cffi==0.15.0", "newest": "curl_cffi>=0.16"}
# Read by nox: the pip that comes with Python 3.10 to 3.12 knows no dependency groups.
TEST_GROUP = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
# Crawls in each way that Scrapy runs, each kind of failed handshake as each curl tells it, and the
# worker.
TESTS = [
    "tests/test_crawl.py::test_the_same_crawl_passes_in_each_way_that_scrapy_runs",
    "tests/test_crawl.py::test_http_2_multiplexes",
    "tests/test_failures.py::test_a_failed_handshake",
    "tests/test_worker.py",
]


@nox.session(python=["3.10", "3.11", "3.12", "3.13", "3.14", "3.15"])
@nox.parametrize("curl_cffi", list(CURL_CFFI))
@nox.parametrize("scrapy", list(SCRAPY))
def matrix(session: nox.Session, scrapy: str, curl_cffi: str) -> None:
    session.install(
        "--quiet", *SCRAPY[scrapy], CURL_CFFI[curl_cffi], *TEST_GROUP, "--editable", "."
    )
    jobs = str(2 * (os.cpu_count() or 1))
    pytest = ["python", "-m", "pytest", "--quiet", "-n", jobs, "-m"]
    # These take a minute, and a mixed pair is the same to nearly all of them.
    if scrapy == curl_cffi and not session.posargs:
        session.run(*pytest, "not slow and not processes")
    session.run(*pytest, "not slow", *(session.posargs or TESTS))

"""Optional facilities that the system refuses, in any way: the crawl goes on without them."""

from __future__ import annotations

import pytest

from scrapy_curl_safe._platform.landlock import landlock_version
from scrapy_curl_safe._platform.refusals import Facility
from testkit import refusing
from testkit.crawling import Crawled, assert_all_pages
from testkit.fixtures import RunCrawl
from testkit.origins.messages import Reply
from testkit.origins.tls import TlsOrigin

from .test_networks import needs_namespaces

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not refusing.IS_SUPPORTED, reason="seccomp by this machine's numbers"),
]

# What is refused, and what the crawl then goes without.
REFUSALS = [
    (["memfd_create=EPERM"], ["shared memory"]),
    (["memfd_create=ENOSYS"], ["shared memory"]),
    (["ftruncate=EPERM"], ["shared memory"]),
    (["RLIMIT_FSIZE=0"], ["shared memory"]),
    (["RLIMIT_CORE=0"], ["core limit"]),
    (["prlimit64=EPERM"], ["core limit", "descriptor limit"]),
    (["prctl=EPERM"], ["parent-death signal"]),
    (["prctl=ENOSYS"], ["parent-death signal"]),
    (["sched_setscheduler=EPERM"], ["batch scheduling"]),
    (["sched_setscheduler=ENOSYS"], ["batch scheduling"]),
    (["sched_setaffinity=EPERM"], ["CPU affinity"]),
    (["sched_getaffinity=ENOSYS"], ["CPU affinity"]),
    (["landlock_create_ruleset=EPERM"], ["sandbox"]),
    (["landlock_create_ruleset=ENOSYS"], ["sandbox"]),
    (["landlock_create_ruleset=EOPNOTSUPP"], ["sandbox"]),
    (["landlock_add_rule=EPERM"], ["sandbox"]),
    (["landlock_restrict_self=EPERM"], ["sandbox"]),
    (["epoll_create1=EPERM"], ["epoll"]),
    (["epoll_create1=ENOSYS"], ["epoll"]),
    (["madvise=EPERM"], []),
    (
        [
            "memfd_create=EPERM",
            "prlimit64=EPERM",
            "prctl=EPERM",
            "sched_setscheduler=EPERM",
            "sched_setaffinity=EPERM",
            "landlock_create_ruleset=EPERM",
            "epoll_create1=EPERM",
        ],
        [f.value for f in Facility if f not in (Facility.PROC, Facility.TASK_INFO)],
    ),
]
every_refusal = pytest.mark.parametrize(
    ("what", "missing"), REFUSALS, ids=[" ".join(what) for what, _ in REFUSALS[:-1]] + ["all"]
)

LARGE = b"x" * 300_000


def crawl_with(crawl: RunCrawl, around: list[str]) -> Crawled:
    with TlsOrigin(lambda request: Reply(body=LARGE)) as origin:
        crawled = crawl(*[f"{origin.url}/{n}" for n in range(8)], around=around)
        assert len(origin.requests) == 8
    assert_all_pages(crawled, 8)
    assert all(len(response["body"]) == len(LARGE) for response in crawled.responses)
    assert crawled.stat("worker/crash_count") == 0
    return crawled


def assert_said_once(crawled: Crawled, missing: list[str]) -> None:
    said = [line for line in crawled.log.splitlines() if "the crawl goes on without" in line]
    assert len(said) == (1 if missing else 0), said
    for name in missing:
        assert f"{name} (" in said[0]
    if missing:
        assert said[0].count(" (") == len(missing)


@every_refusal
def test_a_crawl_goes_on_and_says_without_what(
    crawl: RunCrawl, what: list[str], missing: list[str]
) -> None:
    if landlock_version() < 1:
        missing = [*missing, "sandbox"]
    assert_said_once(crawl_with(crawl, refusing.command(*what)), missing)


@needs_namespaces
def test_a_crawl_without_proc(crawl: RunCrawl) -> None:
    around = ["unshare", "-Urm", *refusing.command("/proc")]
    crawled = crawl_with(crawl, around)
    said = next(line for line in crawled.log.splitlines() if "the crawl goes on without" in line)
    assert "/proc (proc(5): ENOENT)" in said
    assert "CPU affinity (" in said


def test_nothing_is_said_where_nothing_is_refused(crawl: RunCrawl) -> None:
    if landlock_version() < 1:
        pytest.skip("this kernel has no Landlock")
    assert_said_once(crawl_with(crawl, []), [])

"""macOS. `make test-macos` runs these tests, and others, in a simulation of it on Linux."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys

import pytest

if sys.platform != "darwin":
    pytest.skip("this is not macOS", allow_module_level=True)

from scrapy_curl_safe._platform import macos
from scrapy_curl_safe._platform.refusals import Facility, noted_refusals
from scrapy_curl_safe._platform.system import system
from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.messages import Reply
from testkit.origins.tls import TlsOrigin


def test_this_is_the_system() -> None:
    assert system is macos


def test_the_descriptor_limit_is_raised_as_far_as_it_goes() -> None:
    """The hard limit may be infinite, which the soft one may not."""
    limit = macos.max_descriptors()
    assert limit < sys.maxsize
    assert macos.confine_worker() == limit
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit
    assert Facility.DESCRIPTOR_LIMIT not in noted_refusals()


def test_what_a_process_uses_is_known() -> None:
    before = macos.open_descriptors()
    assert before > 2
    with open(os.devnull) as _:
        assert macos.open_descriptors() == before + 1
    assert 0 < macos.resident_megabytes() < 10_000


def test_local_ports() -> None:
    ports = macos.network_limits().ports
    assert ports is not None
    assert 0 < ports[0] < ports[1] < 65536


# kqueue


def test_a_poller_by_kqueue() -> None:
    poller, units = macos.create_poller()
    assert units == 1
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = ours.fileno()
        poller.register(fd, macos.READABLE)
        assert poller.poll(0) == []
        poller.modify(fd, macos.READABLE | macos.WRITABLE)
        assert poller.poll(60) == [(fd, macos.WRITABLE)]
        theirs.send(b"x")
        assert poller.poll(60) == [(fd, macos.READABLE | macos.WRITABLE)]
        poller.modify(fd, macos.READABLE)
        assert poller.poll(60) == [(fd, macos.READABLE)]
        poller.modify(fd, 0)
        assert poller.poll(0) == []
        poller.modify(fd, macos.WRITABLE)
        poller.unregister(fd)
        assert poller.poll(0) == []


def test_a_descriptor_of_the_same_number_is_another_one() -> None:
    poller, _ = macos.create_poller()
    first, other = socket.socketpair()
    fd = first.fileno()
    poller.register(fd, macos.READABLE)
    first.close()  # and the system forgets it
    with pytest.raises(OSError, match=r"."):
        poller.unregister(fd)
    other.close()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.register(ours.fileno(), macos.WRITABLE)
        assert poller.poll(60) == [(ours.fileno(), macos.WRITABLE)]


# Crawls


@pytest.mark.processes
def test_a_killed_worker_is_replaced(start_crawl: StartCrawl) -> None:
    with TlsOrigin(delay=0.1) as origin:
        crawl = start_crawl(*urls(origin, 100))
        crawl.wait_for(lambda: origin.in_service > 0 and crawl.ready_workers)
        os.kill(crawl.ready_workers[0][1], signal.SIGKILL)
        crawled = crawl.finish()
    assert_all_pages(crawled, 100)
    assert crawled.stat("worker/crash_count") == 1


@pytest.mark.processes
def test_a_worker_is_recycled_by_its_memory(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.1) as origin:
        crawled = crawl(*urls(origin, 200), CURL_SAFE_WORKER_MAX_MEMORY_MB=1)
    assert_all_pages(crawled, 200)
    assert crawled.stat("worker/recycle_count") > 0


@pytest.mark.processes
def test_large_pages(crawl: RunCrawl) -> None:
    body = os.urandom(1 << 20)
    with TlsOrigin(lambda request: Reply(body=body)) as origin:
        crawled = crawl(*urls(origin, 20))
    assert_all_pages(crawled, 20)
    assert {response["body"] for response in crawled.responses} == {body.decode("latin-1")}
    assert "goes on without" not in crawled.log

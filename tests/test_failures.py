"""The table of failures: an origin produces each, and a real crawl meets it."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.crawling import Crawled, assert_all_pages, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins import faults
from testkit.origins.certs import certs
from testkit.origins.holding import HoldingOrigin
from testkit.origins.loop import Origin
from testkit.origins.messages import SeenRequest
from testkit.origins.tls import Reply, TlsOrigin

TRIES_OF_A_DEAD_ORIGIN = 3  # RETRY_TIMES is 2


def failure_stats(crawled: Crawled, kind: str) -> dict[str, int]:
    return {
        "failed": crawled.stat("handshake/failure_count"),
        kind: crawled.stat(f"handshake/failure_count/{kind}"),
        "tried": crawled.stat("handshake/count"),
        "retried": crawled.stat("handshake/retry_count"),
        "gave up": crawled.stat("handshake/gave_up_count"),
        "recovered": crawled.stat("handshake/recovered_count"),
    }


@pytest.mark.parametrize(
    ("origin_of", "code", "kind", "tries", "reason", "settings"),
    [
        (faults.close_on_accept, 35, "syscall", 3, "ssl_error_syscall", {}),
        (faults.close_after_hello, 35, "syscall", 3, "ssl_error_syscall", {}),
        (faults.reset_after_hello, 35, "syscall", 3, "ssl_error_syscall", {}),
        (faults.silent_after_hello, 28, "timeout", 3, "tls_timeout", {"DOWNLOAD_TIMEOUT": 0.5}),
        (faults.sends_alert, 35, "alert", 2, "tls_alert", {}),
        (lambda: faults.sends_alert(109), 35, "alert", 2, "tls_alert", {}),
        (faults.speaks_plain_http, 35, "protocol", 1, None, {}),
        (faults.garbage_after_hello, 35, "protocol", 1, None, {}),
        (
            faults.refused_certificate,
            60,
            "certificate",
            1,
            None,
            {"DOWNLOAD_VERIFY_CERTIFICATES": True},
        ),
    ],
    ids=[
        "closes on accept",
        "closes after the ClientHello",
        "resets after the ClientHello",
        "never answers the ClientHello",
        "sends an alert",
        "sends an alert without a name",
        "speaks plain HTTP",
        "speaks garbage",
        "certificate refused",
    ],
)
def test_a_failed_handshake(
    crawl: RunCrawl,
    origin_of: Callable[[], Origin],
    code: int,
    kind: str,
    tries: int,
    reason: str | None,
    settings: dict[str, Any],
) -> None:
    with origin_of() as origin:
        crawled = crawl(origin.url, CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1, **settings)
    (error,) = crawled.errors
    assert error["type"] == ("HandshakeTimeoutError" if kind == "timeout" else "HandshakeError")
    assert (error["kind"], error["curl_code"]) == (kind, code)
    assert error["origin"] == origin.url.rstrip("/")
    assert error["detail"]
    assert error["detail"] in error["text"]
    assert origin.accepted == tries
    assert failure_stats(crawled, kind) == {
        "failed": tries,
        kind: tries,
        "tried": tries,
        "retried": tries - 1,
        "gave up": 1,
        "recovered": 0,
    }
    assert crawled.stats.get("retry/count", 0) == tries - 1
    if reason is not None:
        assert crawled.stats[f"retry/reason_count/{reason}"] == tries - 1


def test_an_alert_is_retried_on_another_worker(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=0.2) as busy, faults.sends_alert() as origin:
        # By the time these are done both workers are up.
        first = [{"url": url, "priority": 1} for url in urls(busy, 40)]
        crawled = crawl(*first, origin.url, CURL_SAFE_WORKERS=2, CONCURRENT_REQUESTS=8)
        assert {r["meta"]["curl_safe_info"]["worker"] for r in crawled.responses} == {0, 1}
    assert origin.accepted == 2
    assert sorted(crawled.failed_workers) == [(40, 0), (40, 1)]


def test_an_origin_that_once_completed_a_handshake_gets_all_retries(crawl: RunCrawl) -> None:
    drops = [False] + [True] * 30
    with TlsOrigin(drop=drops, requests_per_connection=1) as origin:
        first = {"url": f"{origin.url}/first", "priority": 1}
        crawled = crawl(
            first,
            f"{origin.url}/second",
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_HANDSHAKE_RETRY_TIMES=6,
            CURL_SAFE_HANDSHAKE_BACKOFF=0.01,
        )
        accepted = origin.accepted
    assert len(crawled.responses) == len(crawled.errors) == 1
    assert accepted == 1 + 1 + 6
    assert crawled.stat("handshake/retry_count") == 6
    assert crawled.stat("handshake/gave_up_count") == 1


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Keep a port on which nothing listens."""
    with socket.socket() as sock:
        # So that an origin may listen there later.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_a_server_that_starts_after_the_crawl_loses_no_page(start_crawl: StartCrawl) -> None:
    with refusing_port() as port:
        pages = [f"https://127.0.0.1:{port}/{number}" for number in range(4)]
        # So many, since nobody knows how long the origin takes to start on this machine.
        crawl = start_crawl(*pages, RETRY_TIMES=100)
        crawl.wait_for(lambda: "Retrying <GET" in crawl.log)
        with TlsOrigin(port=port):
            crawled = crawl.finish()
    assert_all_pages(crawled, 4)
    assert crawled.stats["retry/count"] < 100


def test_one_that_never_starts_is_given_up_by_scrapy_after_some_seconds(crawl: RunCrawl) -> None:
    with refusing_port() as port:
        crawled = crawl(f"https://127.0.0.1:{port}/")
    (error,) = crawled.errors
    assert error["type"] == "DownloadConnectionRefusedError"
    assert crawled.stats["retry/count"] == 2
    key = "retry/reason_count/scrapy.exceptions.DownloadConnectionRefusedError"
    assert crawled.stats[key] == 2
    assert crawled.stats["elapsed_time_seconds"] >= 3


def test_handshake_retries_leave_scrapys_own_untouched(crawl: RunCrawl) -> None:
    drops = [False, True, True, True, True, False, False, False]
    replies = iter([200, 503, 503, 200])
    with TlsOrigin(
        lambda request: Reply(status=next(replies)), drop=drops, requests_per_connection=1
    ) as origin:
        first = {"url": f"{origin.url}/first", "priority": 1}
        crawled = crawl(
            first,
            f"{origin.url}/second",
            CONCURRENT_REQUESTS=1,
            CURL_SAFE_HANDSHAKE_BACKOFF=0.01,
        )
    assert [r["status"] for r in crawled.responses] == [200, 200]
    assert crawled.stats["retry/reason_count/503 Service Unavailable"] == 2
    assert crawled.stats["retry/reason_count/ssl_error_syscall"] == 4
    assert crawled.responses[1]["meta"]["curl_safe_info"]["attempt"] == 3


@pytest.mark.parametrize(
    ("meta", "settings", "accepted"),
    [
        ({"dont_retry": True}, {}, 1),
        ({"max_retry_times": 1}, {}, 2),
        ({"max_retry_times": 0}, {}, 1),
        ({}, {"RETRY_ENABLED": False}, 1),
        ({}, {"CURL_SAFE_HANDSHAKE_RETRY_TIMES": 0}, 1),
        ({}, {"RETRY_TIMES": 4, "CURL_SAFE_HANDSHAKE_BACKOFF": 0.01}, 5),
    ],
)
def test_what_the_user_says_of_retries_counts(
    crawl: RunCrawl, meta: dict[str, Any], settings: dict[str, Any], accepted: int
) -> None:
    with faults.close_after_hello() as origin:
        crawled = crawl(
            {"url": origin.url, "meta": meta}, CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1, **settings
        )
    assert len(crawled.errors) == 1
    assert origin.accepted == accepted


@pytest.mark.parametrize(
    ("meta", "settings", "change"),
    [({}, {}, -1), ({"priority_adjust": 7}, {}, 7), ({}, {"RETRY_PRIORITY_ADJUST": 3}, 3)],
)
def test_retries_change_priority_as_scrapys_do(
    crawl: RunCrawl, meta: dict[str, Any], settings: dict[str, Any], change: int
) -> None:
    with TlsOrigin(drop=[True, False], requests_per_connection=1) as origin:
        request = {"url": origin.url, "meta": meta, "priority": 10}
        crawled = crawl(request, **settings)
    assert crawled.responses[0]["priority"] == 10 + change


def test_http_2_that_dies_as_the_request_goes_out_is_no_failed_handshake(crawl: RunCrawl) -> None:
    with faults.h2_dies_with_request() as origin:
        crawled = crawl(origin.url)
    (error,) = crawled.errors
    assert error["type"] == "ConnectionDiedError"
    assert "Connection died" in error["text"]
    assert crawled.stats["retry/reason_count/connection_died"] == 2
    assert crawled.stat("handshake/failure_count") == 0
    assert crawled.stat("handshake/success_count") == origin.accepted
    # libcurl sends a GET once more by itself, and connects to send it for a third time.
    assert crawled.stat("connection/resent_count") == 3
    assert origin.accepted == 9


def test_no_descriptor_left_is_this_machines_fault(start_crawl: StartCrawl) -> None:
    """No page is lost: the workers are replaced, and requests retried until they pass."""
    with HoldingOrigin(requests_per_connection=1) as origin:
        crawl = start_crawl(
            *(f"{origin.url}/held/{n}" for n in range(80)),
            limit=("nofile", "48:48"),
            CONCURRENT_REQUESTS=80,
            CONCURRENT_REQUESTS_PER_DOMAIN=80,
            CURL_SAFE_WORKERS=1,
        )
        # No connection ends before, so they use all descriptors up.
        crawl.wait_for(lambda: crawl.stat("worker/recycle_count"))
        origin.release.set()
        crawled = crawl.finish()
    assert_all_pages(crawled, 80)
    assert crawled.stat("handshake/failure_count/local") > 0
    assert crawled.stats["retry/reason_count/local_resources"] > 0
    assert crawled.stat("worker/recycle_count") > 0


def test_the_host_that_has_no_address(crawl: RunCrawl) -> None:
    crawled = crawl("https://does-not-exist.invalid/")
    assert crawled.errors[0]["type"] == "CannotResolveHostError"
    assert crawled.stat("handshake/count") == 0


def test_the_port_where_nobody_listens(crawl: RunCrawl) -> None:
    with contextlib.closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        crawled = crawl(f"https://127.0.0.1:{sock.getsockname()[1]}/")
    assert crawled.errors[0]["type"] == "DownloadConnectionRefusedError"
    assert crawled.stat("handshake/count") == 0


def test_an_answer_that_does_not_come_in_time_is_no_failed_handshake(crawl: RunCrawl) -> None:
    with TlsOrigin(delay=30) as origin:
        crawled = crawl(
            {"url": origin.url, "meta": {"download_timeout": 0.5, "max_retry_times": 0}}
        )
    assert crawled.errors[0]["type"] == "DownloadTimeoutError"
    assert crawled.stat("handshake/failure_count") == 0
    assert crawled.stat("handshake/success_count") == 1


def test_certificates_are_verified_by_setting_and_by_request(crawl: RunCrawl) -> None:
    with (
        TlsOrigin() as good,
        TlsOrigin(context=certs().server_context(trusted=False)) as unknown,
        TlsOrigin(context=certs().server_context(names=("other.test",))) as other,
        TlsOrigin(context=certs().server_context(expired=True)) as expired,
    ):
        trusting = {"curl_safe": {"verify": False}}
        crawled = crawl(
            good.url,
            unknown.url,
            other.url,
            expired.url,
            {"url": unknown.url, "meta": trusting},
            DOWNLOAD_VERIFY_CERTIFICATES=True,
        )
    assert crawled.numbers == [0, 4]
    assert sorted((e["number"], e["kind"]) for e in crawled.errors) == [
        (1, "certificate"),
        (2, "certificate"),
        (3, "certificate"),
    ]
    hint = "; SSL_CERT_FILE names the file of a private authority"
    assert [e["number"] for e in crawled.errors if e["text"].endswith(hint)] == [1]


AUTHORITY_VARIABLES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


@pytest.mark.parametrize("number", range(len(AUTHORITY_VARIABLES)))
def test_the_first_variable_that_names_a_file_has_the_authorities(
    crawl: RunCrawl, number: int
) -> None:
    env = dict.fromkeys(AUTHORITY_VARIABLES, "")
    env |= dict.fromkeys(AUTHORITY_VARIABLES[number:], os.devnull)
    env[AUTHORITY_VARIABLES[number]] = str(certs().ca_pem)
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, env=env, DOWNLOAD_VERIFY_CERTIFICATES=True)
    assert crawled.numbers == [0]


def test_a_file_of_authorities_that_is_not_there_is_a_warning(
    crawl: RunCrawl, tmp_path: Path
) -> None:
    env = {**dict.fromkeys(AUTHORITY_VARIABLES, ""), "CURL_CA_BUNDLE": str(tmp_path / "ca.pem")}
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, env=env, DOWNLOAD_VERIFY_CERTIFICATES=True)
    warning = f"WARNING: CURL_CA_BUNDLE names {tmp_path / 'ca.pem'}, which cannot be read"
    assert crawled.log.count(warning) == 1
    assert [error["kind"] for error in crawled.errors] == ["certificate"]


def redirects(request: SeenRequest) -> Reply:
    """Redirect each page twice, and then answer."""
    page, _, step = request.path.partition("/step")
    if step == "2":
        return Reply(200, body=page.encode())
    location = f"{page}/step{int(step or 0) + 1}"
    return Reply(302, headers=[(b"Location", location.encode())])


def test_an_origin_whose_answers_are_redirects_counts_as_proven(crawl: RunCrawl) -> None:
    """With only RETRY_TIMES, 0, none of the retries that an origin which answers gets would be
    left for the second page."""
    dropped = [False, True, True, True]
    with TlsOrigin(redirects, drop=dropped, requests_per_connection=1) as origin:
        crawled = crawl(
            f"{origin.url}/0",
            RETRY_TIMES=0,
            CURL_SAFE_HANDSHAKE_BACKOFF=0,
            CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1,
        )
    assert [response["status"] for response in crawled.responses] == [200]
    assert crawled.stat("handshake/recovered_count") == 1


def test_each_url_of_a_chain_of_redirects_has_its_own_retries(crawl: RunCrawl) -> None:
    dropped = [False, True, True, False, True, True]
    with TlsOrigin(redirects, drop=dropped, requests_per_connection=1) as origin:
        crawled = crawl(
            f"{origin.url}/0",
            CURL_SAFE_HANDSHAKE_RETRY_TIMES=2,
            CURL_SAFE_HANDSHAKE_BACKOFF=0,
            CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1,
        )
    assert [response["status"] for response in crawled.responses] == [200]
    assert crawled.stat("handshake/retry_count") == 4
    assert crawled.stat("handshake/recovered_count") == 2

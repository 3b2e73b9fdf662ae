"""The metrics for Prometheus, scraped from real crawls, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from scrapy_curl_safe._crawl.metrics import limit_metrics
from scrapy_curl_safe._ipc.failures import FailureKind
from scrapy_curl_safe._pool.origins import HandshakeFailure, Origin, Route
from testkit.crawling import ROOT, Crawl, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.holding import HoldingOrigin
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way

needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="there is no promtool")


@pytest.fixture
def port() -> Iterator[int]:
    """Return a port that nobody else gets meanwhile: a socket that is bound and does not listen
    keeps off all but those that ask for this very port."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]


Samples = dict[tuple[str, ...], float]


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        text: bytes = response.read()
        return text.decode()


def samples(text: str) -> Samples:
    """Return what was scraped by name and label values, in the order of the labels' names."""
    return {
        (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape_when(crawl: Crawl, port: int, wanted: Samples) -> str:
    """Scrape until these samples are as wanted; return what was scraped last."""
    text = ""

    def are_as_wanted() -> bool:
        nonlocal text
        try:
            text = scrape(port)
        except OSError:  # at first not even the port may be there
            return False
        return wanted.items() <= samples(text).items()

    crawl.wait_for(are_as_wanted)
    return text


def refuses(host: str, port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((host, port)) != 0


@pytest.mark.parametrize("way", WAYS)
def test_the_metrics_of_a_crawl_that_runs(start_crawl: StartCrawl, port: int, way: Way) -> None:
    with HoldingOrigin(drop=[False, True, True, False, True], requests_per_connection=1) as origin:
        crawl = start_crawl(
            *urls(origin, 10),
            f"{origin.url}/held",
            way=way,
            CONCURRENT_REQUESTS=2,
            CURL_SAFE_PROMETHEUS_PORT=port,
        )
        crawl.wait_for(lambda: not refuses("127.0.0.1", port))
        assert refuses("127.0.0.2", port)
        with socket.create_connection(("127.0.0.1", port)):  # and says nothing, to the end
            wanted: Samples = {
                ("curl_safe_responses_total", "new"): 10,
                ("curl_safe_in_flight_requests",): 1,
                ("curl_safe_workers",): 2,
            }
            found = samples(scrape_when(crawl, port, wanted))
            origin.release.set()
            crawled = crawl.finish()
    assert len(crawled.responses) == 11
    assert refuses("127.0.0.1", port)
    assert found["curl_safe_handshakes_total", "syscall", "failed"] == 3
    assert found["curl_safe_handshakes_total", "timeout", "failed"] == 0
    done = found["curl_safe_handshakes_total", "", "done"]
    assert done == 10 == found["curl_safe_handshake_duration_seconds_count",]
    assert found["curl_safe_handshake_duration_seconds_bucket", "+Inf"] == done
    assert found["curl_safe_handshake_duration_seconds_bucket", "100.0"] == done
    assert 0 < found["curl_safe_handshake_duration_seconds_sum",] < 100
    assert found["curl_safe_retries_total", "ssl_error_syscall"] == 3
    assert found["curl_safe_handshake_retries_total",] == 3
    assert found["curl_safe_requests_total",] == 14
    assert found["curl_safe_wire_bytes_total", "received"] > 0
    assert found["curl_safe_limit_decreases_total",] == crawled.stat("throttle/decrease_count")


def scrape_of_a_crawl(start_crawl: StartCrawl, port: int) -> str:
    """Scrape a crawl that has every metric."""
    with HoldingOrigin(drop=0.5, requests_per_connection=1) as origin:
        crawl = start_crawl(
            *urls(origin, 40),
            f"{origin.url}/held",
            RETRY_TIMES=100,
            CURL_SAFE_HANDSHAKE_RETRY_TIMES=100,
            CURL_SAFE_PROMETHEUS_PORT=port,
        )
        text = scrape_when(crawl, port, {("curl_safe_responses_total", "new"): 40})
        origin.release.set()
        crawl.finish()
    return text


@needs_promtool
def test_promtool_finds_no_fault(start_crawl: StartCrawl, port: int) -> None:
    text = scrape_of_a_crawl(start_crawl, port)
    assert samples(text)["curl_safe_limited_origins",] == 1
    check = ["promtool", "check", "metrics"]
    run = subprocess.run(check, input=text, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def queries() -> list[str]:
    dashboard: dict[str, Any] = json.loads((ROOT / "docs/grafana.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_asks_for_what_there_is(start_crawl: StartCrawl, port: int) -> None:
    there = {name for name, *_ in samples(scrape_of_a_crawl(start_crawl, port))}
    asked = {name for query in queries() for name in re.findall(r"\bcurl_safe_\w+", query)}
    assert asked
    assert asked - there == set()


def test_the_dashboard_shows_every_metric(start_crawl: StartCrawl, port: int) -> None:
    families = text_string_to_metric_families(scrape_of_a_crawl(start_crawl, port))
    unseen = [f.name for f in families if not any(f.name in query for query in queries())]
    assert unseen == []


@pytest.mark.processes
@needs_promtool
@pytest.mark.processes
def test_the_queries_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries())
    ]
    # (YAML takes JSON.)
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    check = ["promtool", "check", "rules", str(tmp_path / "rules.yml")]
    run = subprocess.run(check, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_only_so_many_origins_have_a_label() -> None:
    failure = HandshakeFailure(FailureKind.SYSCALL, 35, "reset")
    origins = []
    for number in range(100):
        origin = Origin(Route(f"https://{number}.example:443", None), most=200, floor=3)
        origin.acquire(now=0.0).failure(failure, now=0.0)
        origins.append(origin)
    samples = limit_metrics(origins)
    assert samples["curl_safe_limited_origins"] == {(): 100}
    assert list(samples["curl_safe_origin_limit"]) == [
        (f"https://{number}.example:443", "") for number in range(20)
    ]


@pytest.mark.parametrize("way", WAYS)
def test_a_crawl_does_not_start_without_its_port(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin() as origin, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        crawled = crawl(origin.url, way=way, CURL_SAFE_PROMETHEUS_PORT=port)
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    assert (
        f"ValueError: CURL_SAFE_PROMETHEUS_PORT is {port}: it takes a port of 127.0.0.1 that "
        "can be had: [Errno 98] Address already in use"
    ) in crawled.log
    assert "Spider opened" not in crawled.log


def test_nor_without_the_package(crawl: RunCrawl, tmp_path: Path, port: int) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('it is not here')")
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url, env={"PYTHONPATH": str(tmp_path)}, CURL_SAFE_PROMETHEUS_PORT=port
        )
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    assert (
        f"ValueError: CURL_SAFE_PROMETHEUS_PORT is {port}: it takes the package "
        "prometheus-client, which is not there (pip install scrapy-curl-safe[prometheus])"
    ) in crawled.log
    assert "Spider opened" not in crawled.log


@pytest.mark.parametrize("way", ["asyncio", "epoll"])
def test_two_crawls_at_once_need_two_ports(crawl: RunCrawl, port: int, way: Way) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            way=way,
            scenario=Scenario(second_crawl="at once"),
            CURL_SAFE_PROMETHEUS_PORT=port,
        )
    assert crawled.exit_code == 1
    assert len(crawled.responses) == 1
    assert f"ValueError: CURL_SAFE_PROMETHEUS_PORT is {port}: it takes a port" in crawled.log


@pytest.mark.parametrize("way", WAYS)
def test_two_crawls_in_turn_have_the_same_port(crawl: RunCrawl, port: int, way: Way) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            way=way,
            scenario=Scenario(second_crawl="in turn"),
            CURL_SAFE_PROMETHEUS_PORT=port,
        )
    assert crawled.exit_code == 0
    assert len(crawled.responses) == 2

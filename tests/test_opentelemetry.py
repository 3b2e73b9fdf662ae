"""Spans and metrics for OpenTelemetry, of real crawls with its SDK."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions
from scrapy import Request
from scrapy.settings import Settings as ScrapySettings
from scrapy.utils.test import get_crawler

from scrapy_curl_safe._crawl import observed_metrics
from scrapy_curl_safe._crawl.download_spans import DownloadSpans, parent_of, redacted
from scrapy_curl_safe._crawl.meta import RETRIES
from scrapy_curl_safe._crawl.metrics import METRICS
from scrapy_curl_safe._crawl.observed_metrics import instrument_name
from scrapy_curl_safe._ipc.failures import HANDSHAKE_KINDS
from scrapy_curl_safe.settings import Settings
from testkit.crawling import Crawled, Wanted, urls
from testkit.fixtures import RunCrawl
from testkit.origins.faults import silent_after_hello
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.tls import TlsOrigin
from testkit.scenario import WAYS, Scenario, Way
from testkit.telemetry import FILE, Telemetry

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CARRIER = {"traceparent": f"00-{TRACE}-{PARENT}-01"}

Observe = Callable[..., tuple[Crawled, Telemetry]]


@pytest.fixture
def observe(crawl: RunCrawl, tmp_path: Path) -> Observe:
    """Run a crawl, and return also what it told OpenTelemetry."""

    def run(*requests: Wanted, **options: Any) -> tuple[Crawled, Telemetry]:
        file = tmp_path / "telemetry.json"
        crawled = crawl(
            *requests,
            module="testkit.telemetry",
            env={FILE: str(file)},
            **{"CURL_SAFE_OPENTELEMETRY": True, **options},
        )
        return crawled, Telemetry.read(file)

    return run


def port_of(origin: Any) -> int:
    return int(origin.url.rpartition(":")[2])


@pytest.mark.parametrize("way", WAYS)
def test_a_good_page(observe: Observe, way: Way) -> None:
    with TlsOrigin(alpn=("h2",)) as origin:
        _, telemetry = observe(f"{origin.url}/a?sig=secret&b=1", way=way)
    (span,) = telemetry.spans
    assert (span["name"], span["kind"], span["parent_id"]) == ("GET", "SpanKind.CLIENT", None)
    assert span["status"] == {"status_code": "UNSET"}
    attributes = span["attributes"]
    assert 0 < attributes.pop("curl_safe.handshake.duration") < 300
    assert attributes.pop("curl_safe.worker") in (0, 1)
    request = {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "server.port": port_of(origin),
        "http.response.status_code": 200,
        "network.protocol.version": "2",
    }
    assert attributes == {
        **request,
        "url.full": f"{origin.url}/a?sig=REDACTED&b=1",
        "network.peer.address": "127.0.0.1",
        "scrapy.spider.name": "plan",
        "curl_safe.connection_reused": False,
    }
    (point,) = telemetry.metrics["http.client.request.duration"]
    assert point["attributes"] == request
    assert point["count"] == 1
    assert 0 < point["sum"] < 300


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_handshake_and_its_retry(observe: Observe, way: Way) -> None:
    with TlsOrigin(drop=[True]) as origin:
        crawled, telemetry = observe({"url": origin.url, "meta": of(CARRIER)}, way=way)
    assert len(crawled.responses) == 1
    failed, good = telemetry.spans
    for span in telemetry.spans:
        assert (span["context"]["trace_id"], span["parent_id"]) == (f"0x{TRACE}", f"0x{PARENT}")
    assert failed["attributes"]["error.type"] == "scrapy_curl_safe.HandshakeError"
    assert failed["attributes"]["curl_safe.handshake.failure_kind"] == "syscall"
    assert "http.request.resend_count" not in failed["attributes"]
    assert failed["status"]["status_code"] == "ERROR"
    assert "failed (syscall)" in failed["status"]["description"]
    assert good["attributes"]["http.request.resend_count"] == 1
    assert good["attributes"]["http.response.status_code"] == 200
    points = telemetry.metrics["http.client.request.duration"]
    assert sorted(point["attributes"].get("error.type", "") for point in points) == [
        "",
        "scrapy_curl_safe.HandshakeError",
    ]
    assert telemetry.value("curl_safe.handshakes", result="failed", kind="syscall") == 1
    assert telemetry.value("curl_safe.handshakes", result="done") == 1
    assert telemetry.value("curl_safe.handshake_outcomes", outcome="recovered") == 1


def of(carrier: object) -> dict[str, Any]:
    return {"curl_safe": {"trace_context": carrier}}


def test_a_redirect_and_a_missing_page(observe: Observe) -> None:
    def app(request: SeenRequest) -> Reply:
        if request.path == "/old":
            return Reply(status=301, headers=[(b"Location", b"/new")])
        return Reply(status=404)

    with TlsOrigin(app) as origin:
        _, telemetry = observe(
            {"url": f"{origin.url}/old", "meta": {**of(CARRIER), "handle_httpstatus_list": [404]}}
        )
    moved, missing = telemetry.spans
    assert moved["attributes"]["url.full"] == f"{origin.url}/old"
    assert moved["attributes"]["http.response.status_code"] == 301
    assert "error.type" not in moved["attributes"]
    assert missing["attributes"]["url.full"] == f"{origin.url}/new"
    assert missing["attributes"]["http.request.resend_count"] == 1
    assert missing["attributes"]["error.type"] == "404"
    assert missing["attributes"]["curl_safe.connection_reused"] is True
    assert missing["status"] == {"status_code": "ERROR"}
    assert moved["parent_id"] == missing["parent_id"] == f"0x{PARENT}"


def test_a_timeout(observe: Observe) -> None:
    with silent_after_hello() as origin:
        request = {"url": f"{origin.url}/?sig=secret", "meta": {"download_timeout": 0.5}}
        crawled, telemetry = observe(request, RETRY_ENABLED=False)
    assert [error["type"] for error in crawled.errors] == ["HandshakeTimeoutError"]
    (span,) = telemetry.spans
    attributes = span["attributes"]
    assert attributes["error.type"].endswith(".HandshakeTimeoutError")
    assert attributes["curl_safe.handshake.failure_kind"] == "timeout"
    assert "http.response.status_code" not in attributes
    assert "secret" not in str(span)
    assert telemetry.value("curl_safe.handshakes", result="failed", kind="timeout") == 1


def test_an_unusual_method(observe: Observe) -> None:
    with TlsOrigin() as origin:
        _, telemetry = observe({"url": origin.url, "method": "PURGE"})
    (span,) = telemetry.spans
    assert span["name"] == "HTTP"
    assert span["attributes"]["http.request.method"] == "_OTHER"
    assert span["attributes"]["http.request.method_original"] == "PURGE"


def test_a_download_by_scrapys_own_handler_has_a_span_too(observe: Observe) -> None:
    with TlsOrigin() as origin:
        _, telemetry = observe({"url": origin.url, "meta": {"curl_safe": False}})
    (span,) = telemetry.spans
    assert span["attributes"]["http.response.status_code"] == 200
    assert "curl_safe.worker" not in span["attributes"]


def test_a_carrier_must_have_strings(observe: Observe) -> None:
    with TlsOrigin() as origin:
        crawled, telemetry = observe({"url": origin.url, "meta": of({"traceparent": 1})})
    (error,) = crawled.errors
    assert error["text"] == (
        "meta[\"curl_safe\"]['trace_context'] is {'traceparent': 1}: it takes a dict of strings"
    )
    (span,) = telemetry.spans
    assert (span["parent_id"], span["attributes"]["error.type"]) == (None, "ValueError")


@pytest.mark.parametrize("way", WAYS)
def test_the_metrics_are_the_stats(observe: Observe, way: Way) -> None:
    """Also when the crawl is over, as the SDK reads them a last time."""
    with TlsOrigin(drop=0.3, requests_per_connection=3) as origin:
        crawled, telemetry = observe(
            *urls(origin, 60), way=way, CURL_SAFE_HANDSHAKE_RETRY_TIMES=50, RETRY_TIMES=50
        )
    assert len(crawled.responses) == 60
    assert crawled.stat("handshake/failure_count") > 0
    value, stat = telemetry.value, crawled.stat
    for kind in HANDSHAKE_KINDS:
        failed = value("curl_safe.handshakes", result="failed", kind=kind.value)
        assert failed == stat(f"handshake/failure_count/{kind.value}")
    assert value("curl_safe.handshakes", result="done") == stat("handshake/success_count")
    assert value("curl_safe.requests") == stat("request_count") == len(telemetry.spans)
    assert value("curl_safe.responses", on="reused") == stat("connection/reused_count")
    assert value("curl_safe.handshake_retries") == stat("handshake/retry_count")
    assert value("curl_safe.worker_starts") == stat("worker/start_count")
    assert value("curl_safe.wire_bytes", direction="sent") == stat("wire_bytes_sent")
    assert value("curl_safe.retries", reason="ssl_error_syscall") == crawled.stats["retry/count"]
    (point,) = telemetry.metrics["curl_safe.handshake_duration"]
    assert point["count"] == stat("handshake/success_count")
    points = telemetry.metrics["http.client.request.duration"]
    assert sum(point["count"] for point in points) == len(telemetry.spans)
    assert not {"curl_safe.workers", "curl_safe.in_flight_requests"} & telemetry.metrics.keys()


def test_counters_go_on_in_the_next_crawl_of_the_process(observe: Observe) -> None:
    with TlsOrigin() as origin:
        crawled, telemetry = observe(*urls(origin, 3), scenario=Scenario(second_crawl="in turn"))
    assert len(crawled.responses) == 6
    assert telemetry.value("curl_safe.requests") == 6
    assert len(telemetry.spans) == 6


@pytest.fixture
def without_the_package(tmp_path: Path) -> dict[str, str]:
    """The environment of a crawl that can import nothing of OpenTelemetry's."""
    package = tmp_path / "modules" / "opentelemetry"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is not here')")
    return {"PYTHONPATH": str(package.parent)}


def test_off_it_is_not_even_imported(crawl: RunCrawl, without_the_package: dict[str, str]) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, env=without_the_package)
    assert len(crawled.responses) == 1


def test_nothing_is_told_unless_it_is_asked_for(observe: Observe) -> None:
    with TlsOrigin() as origin:
        crawled, telemetry = observe(origin.url, CURL_SAFE_OPENTELEMETRY=False)
    assert len(crawled.responses) == 1
    assert telemetry == Telemetry([], {})


def test_a_crawl_does_not_start_without_the_package(
    crawl: RunCrawl, without_the_package: dict[str, str]
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, env=without_the_package, CURL_SAFE_OPENTELEMETRY=True)
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    assert (
        "CURL_SAFE_OPENTELEMETRY is True: it takes the package opentelemetry-api, which is not "
        "there (pip install scrapy-curl-safe[opentelemetry]): it is not here"
    ) in crawled.log
    assert "Spider opened" not in crawled.log


def test_a_propagator_that_is_not_there_stops_the_crawl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As opentelemetry-api 1.30 says what OTEL_PROPAGATORS has wrong."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    package = tmp_path / "opentelemetry"
    package.mkdir()
    for name in ("__init__", "metrics", "trace"):
        (package / f"{name}.py").touch()
    (package / "propagate.py").write_text("raise ValueError('Propagator b4 not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="cannot begin: Propagator b4 not found"):
        Settings.load(ScrapySettings({"CURL_SAFE_OPENTELEMETRY": True}))


def test_an_old_package_stops_the_crawl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its histograms take no buckets."""
    found = tmp_path / "opentelemetry_api-1.29.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Name: opentelemetry-api\nVersion: 1.29.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"takes opentelemetry-api 1\.30 or newer, and 1\.29\.0"):
        Settings.load(ScrapySettings({"CURL_SAFE_OPENTELEMETRY": True}))


class BusyLoop:
    """A loop that gets to nothing, and counts what it is asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def call_soon_threadsafe(self, callback: object) -> None:
        self.asked += 1


def test_a_busy_loop_is_waited_for_once_for_all_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed_metrics, "_READ_TIMEOUT_SECONDS", 0.01)
    crawls: Any = observed_metrics._AllCrawls()
    crawls._loop = loop = BusyLoop()
    crawls._running = [None]
    for _ in range(2):
        for metric in METRICS:
            assert crawls._observe(metric.name, CallbackOptions()) == []
    assert loop.asked == 2


def test_counts_of_a_user_in_the_meta_do_no_harm() -> None:
    crawler = get_crawler()
    spans = DownloadSpans(crawler, lambda request: None)  # type: ignore[arg-type, return-value]
    meta = {"retry_times": None, "redirect_times": "2", RETRIES: 3}
    attributes = spans._more_attributes(Request("https://a.test/", meta=meta))
    assert attributes["http.request.resend_count"] == 3


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.test/?a=1#sig=2", "https://a.test/?a=1#sig=2"),
        ("https://u:p@a.test/", "https://REDACTED:REDACTED@a.test/"),
        ("https://u@r:p@a.test/@b", "https://REDACTED:REDACTED@a.test/@b"),
        ("https://a.test/@b?sig=", "https://a.test/@b?sig=REDACTED"),
        (
            "https://a.test/?X-Amz-Signature=1&Sig=2&AWSAccessKeyId=3&sig=4#f",
            "https://a.test/?X-Amz-Signature=REDACTED&Sig=2&AWSAccessKeyId=REDACTED&sig=REDACTED#f",
        ),
    ],
)
def test_no_secret_of_a_url_is_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize("options", [None, False, {}, {"trace_context": "00-1"}])
def test_a_request_without_a_parent(options: object) -> None:
    assert parent_of(Request("https://a.test/", meta={"curl_safe": options})) is None


def test_the_names_of_the_instruments() -> None:
    assert instrument_name("curl_safe_wire_bytes") == ("curl_safe.wire_bytes", "By")
    assert instrument_name("curl_safe_longest_loop_lag_seconds") == (
        "curl_safe.longest_loop_lag",
        "s",
    )
    assert len({instrument_name(metric.name) for metric in METRICS}) == len(METRICS)

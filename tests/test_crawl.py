"""Whole crawls, from Scrapy's command to the origin and back."""

from __future__ import annotations

from typing import Any

import pytest

from testkit.crawling import assert_all_pages, urls
from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import WAYS, Way


def echo(request: SeenRequest) -> Reply:
    return Reply(body=f"{request.method} {request.path} ".encode() + request.body)


@pytest.mark.parametrize("way", WAYS)
def test_the_same_crawl_passes_in_each_way_that_scrapy_runs(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(echo, drop=0.2, how="mix", requests_per_connection=3) as origin:
        crawled = crawl(*urls(origin, 100), way=way)
    bodies = {r["number"]: r["body"] for r in crawled.responses}
    assert bodies == {n: f"GET /{n} " for n in range(100)}
    assert crawled.errors == []
    assert crawled.stats["finish_reason"] == "finished"
    assert crawled.stat("handshake/failure_count/syscall") == origin.dropped > 0
    assert crawled.stat("handshake/success_count") == origin.handshakes
    assert crawled.stat("response_count") == 100


def test_nothing_is_lost_at_30_percent_of_drops(crawl: RunCrawl) -> None:
    with TlsOrigin(echo, drop=0.3, requests_per_connection=1) as origin:
        crawled = crawl(
            *urls(origin, 2000),
            CONCURRENT_REQUESTS=64,
            CONCURRENT_REQUESTS_PER_DOMAIN=64,
            LOG_LEVEL="INFO",
        )
    assert_all_pages(crawled, 2000)
    assert len(origin.requests) == 2000
    assert crawled.stat("handshake/gave_up_count") == 0
    retried = crawled.stat("handshake/retry_count")
    assert retried == crawled.stats["retry/reason_count/ssl_error_syscall"] == origin.dropped
    assert crawled.stat("in_flight_max") <= 64


def test_the_info_of_all_responses_adds_up_to_what_the_origin_counted(crawl: RunCrawl) -> None:
    with TlsOrigin(echo, drop=0.2, how="mix", requests_per_connection=4) as origin:
        crawled = crawl(*urls(origin, 200))
    infos = [r["meta"]["curl_safe_info"] for r in crawled.responses]
    new = [i for i in infos if not i["connection_reused"]]
    assert len(new) == origin.handshakes
    assert len(infos) - len(new) == crawled.stat("connection/reused_count") > 0
    assert all(i["handshake_time"] > 0 for i in new)
    assert all(i["handshake_time"] is None for i in infos if i["connection_reused"])
    assert sum(i["attempt"] - 1 for i in infos) == origin.dropped > 0
    assert sum(i["wire_bytes_received"] for i in infos) == crawled.stat("wire_bytes_received")
    assert sum(i["wire_bytes_sent"] for i in infos) == crawled.stat("wire_bytes_sent")
    assert {i["worker"] for i in infos} == set(range(crawled.stat("worker/start_count")))
    assert all(i["time_to_first_byte"] > 0 for i in infos)
    assert all(r["meta"]["download_latency"] > 0 for r in crawled.responses)


def test_connections_are_kept_through_every_lull(crawl: RunCrawl) -> None:
    """Each worker opens at most one connection a request in flight, however the load varies."""
    with TlsOrigin(echo, delay=0.01) as origin:
        crawled = crawl(
            *urls(origin, 1000),
            CONCURRENT_REQUESTS=32,
            CONCURRENT_REQUESTS_PER_DOMAIN=32,
            CURL_SAFE_WORKERS=2,
            LOG_LEVEL="INFO",
        )
    assert_all_pages(crawled, 1000)
    assert origin.handshakes <= 64


def test_http_2_multiplexes(crawl: RunCrawl) -> None:
    with TlsOrigin(echo, alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(*urls(origin, 50))
    assert_all_pages(crawled, 50)
    assert {r["protocol"] for r in crawled.responses} == {"HTTP/2"}
    infos = [r["meta"]["curl_safe_info"] for r in crawled.responses]
    assert sum(not i["connection_reused"] for i in infos) == origin.handshakes < 50


def test_plain_http_goes_through_the_pool_and_is_no_handshake(crawl: RunCrawl) -> None:
    with TlsOrigin(echo, tls=False) as origin:
        crawled = crawl(f"{origin.url}/page")
    assert crawled.responses[0]["body"] == "GET /page "
    info = crawled.responses[0]["meta"]["curl_safe_info"]
    assert info["handshake_time"] is None
    assert not info["connection_reused"]
    assert crawled.stat("handshake/count") == 0
    assert crawled.stat("response_count") == 1


def test_a_post_whose_handshake_failed_is_retried_and_sent_once(crawl: RunCrawl) -> None:
    with TlsOrigin(echo, drop=[False, True, True, False], requests_per_connection=1) as origin:
        proof = {"url": f"{origin.url}/proof", "priority": 1}
        post = {"url": f"{origin.url}/form", "method": "POST", "body": "a=1"}
        crawled = crawl(proof, post, CONCURRENT_REQUESTS=1)
    assert [r["body"] for r in crawled.responses] == ["GET /proof ", "POST /form a=1"]
    assert [r.path for r in origin.requests] == ["/proof", "/form"]
    assert crawled.responses[1]["meta"]["curl_safe_info"]["attempt"] == 3
    assert crawled.stat("handshake/recovered_count") == 1


@pytest.mark.parametrize("way", WAYS)
def test_false_leaves_a_request_to_scrapys_own_handler(crawl: RunCrawl, way: Way) -> None:
    with TlsOrigin(echo) as origin:
        request = {"url": f"{origin.url}/own", "meta": {"curl_safe": False}}
        crawled = crawl(request, way=way)
    assert crawled.responses[0]["body"] == "GET /own "
    assert "curl_safe_info" not in crawled.responses[0]["meta"]
    assert crawled.stat("request_count") == 0
    assert len(origin.requests) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"impersonat": "chrome"}, "unknown key 'impersonat'"),
        ({"impersonate": "netscape4"}, "cannot impersonate 'netscape4'"),
        ({"impersonate": 4}, "['impersonate'] is 4: it takes the name of a curl_cffi target"),
        ({"http_version": "v9"}, "['http_version'] is 'v9': it takes one of v1"),
        ({"verify": "no"}, "['verify'] is 'no': it takes True or False"),
        ({"raw_headers": "Accept"}, "['raw_headers'] is 'Accept': it takes a list"),
        ({"ja3": "771,nonsense"}, "not enough values to unpack"),
        ({"impersonate": {"tls_cipher": []}}, "no field 'tls_cipher' of a fingerprint: did you"),
        ({"impersonate": {"tls_grease": "x"}}, "Expected `bool`, got `str` - at `$.tls_grease`"),
        ({"impersonate": {"headers": 1}}, "the fingerprint's headers are not text: "),
        ({"extra_fp": {"tls_grease": "x"}}, "extra_fp is not one of curl_cffi "),
        ("chrome", "is 'chrome': it takes a dict or False"),
    ],
)
@pytest.mark.parametrize("headers", ["context", "static"])
def test_a_bad_meta_value_fails_that_request_alone(
    crawl: RunCrawl, options: object, text: str, headers: str
) -> None:
    with TlsOrigin(echo) as origin:
        bad = {"url": f"{origin.url}/bad", "meta": {"curl_safe": options}}
        crawled = crawl(bad, f"{origin.url}/good", CURL_SAFE_BROWSER_HEADERS=headers)
    assert [r["body"] for r in crawled.responses] == ["GET /good "]
    (error,) = crawled.errors
    assert error["type"] == "ValueError"
    assert text in error["text"]
    assert [r.path for r in origin.requests] == ["/good"]


def test_a_bad_value_of_a_key_of_scrapys_fails_that_request_alone(crawl: RunCrawl) -> None:
    bad: list[tuple[dict[str, Any], str]] = [
        ({"download_maxsize": -1}, 'meta["download_maxsize"] is -1: it takes a number of bytes'),
        ({"download_warnsize": "x"}, "meta[\"download_warnsize\"] is 'x': it takes a number of by"),
        ({"download_timeout": -1}, 'meta["download_timeout"] is -1: it takes a number of seconds'),
        ({"download_timeout": "nan"}, "meta[\"download_timeout\"] is 'nan': it takes a number of"),
    ]
    with TlsOrigin(echo) as origin:
        crawled = crawl(
            *urls(origin, 3),
            *({"url": f"{origin.url}/bad{n}", "meta": meta} for n, (meta, _) in enumerate(bad)),
            *urls(origin, 9)[3:],
        )
        assert not any(r.path.startswith("/bad") for r in origin.requests)
    assert len(crawled.responses) == 9
    assert [error["type"] for error in crawled.errors] == ["ValueError"] * len(bad)
    for _, text in bad:
        assert any(text in error["text"] for error in crawled.errors)


def test_a_large_value_of_a_key_of_scrapys_is_no_limit(crawl: RunCrawl) -> None:
    keys = ("download_maxsize", "download_warnsize", "download_timeout")
    metas = [{key: value} for key in keys for value in (None, 2**70, 1e300, "7000")]
    with TlsOrigin(echo) as origin:
        crawled = crawl(
            *({"url": f"{origin.url}/{n}", "meta": meta} for n, meta in enumerate(metas))
        )
    assert_all_pages(crawled, len(metas))


@pytest.mark.parametrize("value", ["a\rb", "a\nX-Injected: 1", "a\0b"])
def test_a_header_with_a_line_break_is_refused_for_that_request(
    crawl: RunCrawl, value: str
) -> None:
    with TlsOrigin(echo) as origin:
        bad = {"url": f"{origin.url}/bad", "headers": {"X-Test": value}}
        crawled = crawl(bad, f"{origin.url}/good")
    assert [r["body"] for r in crawled.responses] == ["GET /good "]
    assert crawled.errors[0]["type"] == "ValueError"
    assert [r.path for r in origin.requests] == ["/good"]


def test_a_crawl_of_nothing_ends_clean(crawl: RunCrawl) -> None:
    crawled = crawl()
    assert crawled.stats["finish_reason"] == "finished"
    assert crawled.exit_code == 0


def test_info_of_an_earlier_download_does_not_stay(crawl: RunCrawl) -> None:
    def app(request: SeenRequest) -> Reply:
        if request.path == "/moved":
            return Reply(status=302, headers=[(b"Location", b"/here")], body=b"x" * 5000)
        return Reply()

    stale = {"curl_safe_info": {"worker": 99}}
    with TlsOrigin(app) as origin:
        crawled = crawl(
            {"url": f"{origin.url}/own", "meta": {"curl_safe": False, **stale}},
            {"url": f"{origin.url}/moved", "meta": stale},
        )
    own, moved = sorted(crawled.responses, key=lambda r: r["number"])
    assert "curl_safe_info" not in own["meta"]
    assert moved["url"].endswith("/here")
    assert moved["meta"]["curl_safe_info"]["worker"] != 99
    assert moved["meta"]["curl_safe_info"]["wire_bytes_received"] < 5000

"""Probes of what comes back."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from typing import Any

import brotli

from conformance.probe import Run, must, probe
from testkit.crawling import assert_all_pages, urls
from testkit.origins.certs import served_certificate
from testkit.origins.raw import RESET, Piece, RawOrigin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

SECTION = "Responses"
TEXT = b"some text " * 20


def values_of(response: dict[str, Any], name: str) -> list[str]:
    return [value for key, value in response["headers"] if key == name]


@probe(SECTION, "headers that come several times")
def repeated(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(headers=[(b"x-a", b"1"), (b"x-a", b"2")])) as origin:
        crawled = run.crawl(origin.url)
    must(values_of(crawled.responses[0], "X-A") == ["1", "2"], crawled.responses)


@probe(SECTION, "header values that are not UTF-8, as bytes")
def latin(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(headers=[(b"x-a", b"\xe9")])) as origin:
        crawled = run.crawl(origin.url)
    must(values_of(crawled.responses[0], "X-A") == ["\xe9"], crawled.responses)


@probe(SECTION, "4,000 header lines")
def many(run: Run) -> None:
    lines = b"".join(b"X-A: %d\r\n" % n for n in range(4000))
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok") as origin:
        crawled = run.crawl(origin.url)
    must(len(values_of(crawled.responses[0], "X-A")) == 4000)


@probe(SECTION, "1 MB of headers")
def huge(run: Run) -> None:
    lines = b"X-A: %s\r\n" % (b"v" * 1000) * 1000
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + lines + b"\r\nok") as origin:
        crawled = run.crawl(origin.url, RETRY_ENABLED=False)
    must(len(values_of(crawled.responses[0], "X-A")) == 1000)


@probe(SECTION, "a header line without a colon: skipped, or a failure that says so")
def no_colon(run: Run) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok") as origin:
        crawled = run.crawl(origin.url, RETRY_ENABLED=False)
    if not crawled.responses:
        must("colon" in crawled.errors[0]["text"].lower(), crawled.errors)


@probe(SECTION, "a header line that begins with `HTTP/` takes no other with it")
def like_a_status(run: Run) -> None:
    lines = b"X-A: 1\r\nHTTP/1.1: x\r\nX-B: 2\r\nContent-Length: 2\r\n"
    with RawOrigin(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nok") as origin:
        crawled = run.crawl(origin.url, RETRY_ENABLED=False)
    (response,) = crawled.responses
    must(values_of(response, "X-A") == ["1"] and values_of(response, "X-B") == ["2"], response)


@probe(SECTION, "the blank of `Location : /x` is no part of the name")
def blank_before_colon(run: Run) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nLocation : /x\r\nContent-Length: 2\r\n\r\nok") as origin:
        crawled = run.crawl(origin.url)
    must(values_of(crawled.responses[0], "Location") == ["/x"], crawled.responses)


@probe(SECTION, "an answer that is no HTTP is retried as Scrapy's settings say")
def no_http(run: Run) -> None:
    with RawOrigin(b"<html>no head</html>\r\n\r\n") as origin:
        crawled = run.crawl(origin.url, RETRY_TIMES=2)
        must(len(origin.heads) == 3, f"{len(origin.heads)} times sent")
    must(crawled.errors, crawled.responses)


@probe(SECTION, "an answer (413) that comes before the body of a large POST was read")
def early(run: Run) -> None:
    def script(head: bytes) -> Iterator[Piece]:
        yield b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge"
        yield RESET

    with RawOrigin(script) as origin:
        crawled = run.crawl(
            *({"url": url, "method": "POST", "body": "x" * 3_000_000} for url in urls(origin, 20)),
            CONCURRENT_REQUESTS=1,
            RETRY_ENABLED=False,
            HTTPERROR_ALLOW_ALL=True,
        )
    # libcurl may lose one.
    must(len(crawled.responses) >= 19, crawled.errors)
    must({r["body"] for r in crawled.responses} == {"large"}, crawled.responses)


@probe(SECTION, "`response.url` without the fragment")
def fragment(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(f"{origin.url}/a#b")
    must([r["url"] for r in crawled.responses] == [f"{origin.url}/a"], crawled.responses)


@probe(SECTION, "interim answers (103) are passed over")
def interim(run: Run) -> None:
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nX-A: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    with RawOrigin(answer) as origin:
        crawled = run.crawl(origin.url)
    must([(r["status"], r["body"]) for r in crawled.responses] == [(200, "ok")], crawled.errors)
    must(values_of(crawled.responses[0], "X-A") == [], crawled.responses)


@probe(SECTION, "chunked bodies and bodies without a length")
def framing(run: Run) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    with RawOrigin(chunked) as one, RawOrigin(b"HTTP/1.1 200 OK\r\n\r\nok") as other:
        crawled = run.crawl(one.url, other.url)
    must([r["body"] for r in crawled.responses] == ["ok", "ok"], crawled.errors)


@probe(SECTION, "the body as it came with `COMPRESSION_ENABLED = False`")
def undecoded(run: Run) -> None:
    packed = gzip.compress(TEXT)
    with TlsOrigin(lambda seen: Reply(headers=[(b"content-encoding", b"gzip")], body=packed)) as o:
        crawled = run.crawl(o.url, COMPRESSION_ENABLED=False)
    must(crawled.responses[0]["body"].encode("latin-1") == packed, crawled.responses)
    must(values_of(crawled.responses[0], "Content-Encoding") == ["gzip"], crawled.responses)


def always(reply: Reply, seen: SeenRequest) -> Reply:
    return reply


@probe(SECTION, "gzip and br are unpacked, once")
def decoded(run: Run) -> None:
    for name, packed in ((b"gzip", gzip.compress(TEXT)), (b"br", brotli.compress(TEXT))):
        reply = Reply(headers=[(b"content-encoding", name)], body=packed)
        with TlsOrigin(partial(always, reply)) as origin:
            crawled = run.crawl(origin.url)
        must(crawled.responses[0]["body"].encode() == TEXT, crawled.responses)


@probe(SECTION, "the class that Scrapy chooses")
def classes(run: Run) -> None:
    types = {"/x": b"text/xml", "/j": b"application/json", "/o": b"application/octet-stream"}

    def app(seen: SeenRequest) -> Reply:
        return Reply(headers=[(b"content-type", types[seen.path])], body=b"\0\1\2")

    with TlsOrigin(app) as origin:
        crawled = run.crawl(*(f"{origin.url}{path}" for path in types))
    found = {r["number"]: r["class"] for r in crawled.responses}
    must(found == {0: "XmlResponse", 1: "JsonResponse", 2: "Response"}, found)


@probe(SECTION, "`response.protocol`")
def protocol(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url)
    must(crawled.responses[0]["protocol"] == "HTTP/1.1", crawled.responses)


@probe(SECTION, "`response.ip_address`")
def ip_address(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url)
    must(crawled.responses[0]["ip"] == "127.0.0.1", crawled.responses)


@probe(SECTION, "`response.certificate`")
def certificate(run: Run) -> None:
    with TlsOrigin(requests_per_connection=2) as origin:
        crawled = run.crawl(*urls(origin, 6), CONCURRENT_REQUESTS=1)
        expected = served_certificate(origin.port)
    assert_all_pages(crawled, 6)
    for response in crawled.responses:
        must(response["certificate"] == expected, response["certificate"])


@probe(SECTION, "`download_latency` in the meta")
def latency(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(origin.url)
    must(crawled.responses[0]["meta"].get("download_latency", 0) > 0, crawled.responses)

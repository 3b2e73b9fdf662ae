"""Probes of what goes out."""

from __future__ import annotations

from conformance.probe import Run, must, probe
from testkit.crawling import assert_all_pages, urls
from testkit.origins.leaving import LeavingOrigin
from testkit.origins.raw import RawOrigin
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

SECTION = "Requests"


def values_of(seen: SeenRequest, name: str) -> list[bytes]:
    return [value for key, value in seen.headers if key.lower() == name.encode()]


@probe(SECTION, "every method, with and without a body")
def methods(run: Run) -> None:
    with TlsOrigin() as origin:
        crawled = run.crawl(
            *(
                {"url": f"{origin.url}/{method}", "method": method, "body": "a=1"}
                for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")
            ),
            *(
                {"url": f"{origin.url}/empty-{method}", "method": method}
                for method in ("GET", "POST", "DELETE", "PROPFIND")
            ),
        )
    assert_all_pages(crawled, 9)
    for seen in origin.requests:
        must(seen.method == seen.path[1:].removeprefix("empty-"), seen)
        must(seen.body == (b"" if "empty" in seen.path else b"a=1"), seen)


@probe(SECTION, "HEAD does not wait for a body")
def head(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(body=b"x" * 1000)) as origin:
        crawled = run.crawl({"url": origin.url, "method": "HEAD"})
    must([r["body"] for r in crawled.responses] == [""], crawled.errors)


@probe(SECTION, "an empty POST has one `Content-Length: 0`, and no `Content-Type`")
def empty_post(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "method": "POST"})
    must(values_of(origin.requests[0], "content-length") == [b"0"], origin.requests)
    must(values_of(origin.requests[0], "content-type") == [], origin.requests)


@probe(SECTION, "a `Content-Length` of one's own is sent once")
def own_length(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(
            {"url": origin.url, "method": "POST", "body": "123", "headers": {"Content-Length": "3"}}
        )
    must(values_of(origin.requests[0], "content-length") == [b"3"], origin.requests)


@probe(SECTION, "10 MB up")
def upload(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(body=b"%d" % len(seen.body))) as origin:
        crawled = run.crawl({"url": origin.url, "method": "POST", "body": "x" * 10_000_000})
    must(crawled.responses[0]["body"] == "10000000", crawled.responses)


@probe(SECTION, "a header several times")
def repeated(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"X-A": ["1", "2", "1"]}})
    must(values_of(origin.requests[0], "x-a") == [b"1", b"2", b"1"], origin.requests)


@probe(SECTION, "a header with an empty value")
def empty_value(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"X-A": ""}})
    must(values_of(origin.requests[0], "x-a") == [b""], origin.requests)


@probe(SECTION, "a header of None is not sent, not even the browser's own")
def none_value(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"X-A": None, "Accept-Language": None}})
    must(values_of(origin.requests[0], "x-a") == [], origin.requests)
    must(values_of(origin.requests[0], "accept-language") == [], origin.requests)


@probe(SECTION, "header values in UTF-8")
def utf8(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"X-A": "ünï"}})
    must(values_of(origin.requests[0], "x-a") == ["ünï".encode()], origin.requests)


@probe(SECTION, "header values that are not UTF-8")
def latin(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"X-A": "é"}, "encoding": "latin-1"})
    must(values_of(origin.requests[0], "x-a") == [b"\xe9"], origin.requests)


@probe(SECTION, "a value with CR and LF smuggles no header")
def smuggling(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(
            {"url": origin.url, "headers": {"X-A": "1\r\nX-B: 2"}}, origin.url, RETRY_ENABLED=False
        )
    must(origin.requests, "nothing came")
    for seen in origin.requests:
        must(values_of(seen, "x-b") == [], seen)


@probe(SECTION, "a method with CR and LF smuggles no header")
def smuggling_by_method(run: Run) -> None:
    with RawOrigin(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as origin:
        run.crawl(
            {"url": origin.url, "method": "GET / HTTP/1.1\r\nX-B: 2\r\nX-C:"},
            {"url": origin.url, "priority": -1},
            RETRY_ENABLED=False,
        )
    must(origin.heads, "nothing came")
    for head in origin.heads:
        must(b"\r\nX-B" not in head, head)


@probe(SECTION, "a POST without an answer is not sent again where Scrapy does not retry it")
def sent_once(run: Run) -> None:
    with LeavingOrigin() as origin:
        run.crawl(
            {"url": origin.url, "priority": 1},
            {"url": f"{origin.url}/close", "method": "POST", "body": "x"},
            CONCURRENT_REQUESTS=1,
            RETRY_TIMES=0,
        )
        must(origin.count("POST", "/close") == 1, origin.requests)


@probe(SECTION, "a `Host` of one's own")
def host(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": origin.url, "headers": {"Host": "of.my.own"}})
    must(values_of(origin.requests[0], "host") == [b"of.my.own"], origin.requests)


@probe(SECTION, "cookies of a request and of an earlier response, each once")
def cookies(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(headers=[(b"set-cookie", b"from=origin")])) as origin:
        run.crawl(
            {"url": f"{origin.url}/1", "cookies": {"mine": "1"}},
            {"url": f"{origin.url}/2", "cookies": {"mine": "1"}},
            CONCURRENT_REQUESTS=1,
        )
    first, second = (values_of(seen, "cookie") for seen in origin.requests)
    must(first == [b"mine=1"], first)
    must(len(second) == 1 and sorted(second[0].split(b"; ")) == [b"from=origin", b"mine=1"], second)


@probe(SECTION, "cookies stay apart with `COOKIES_ENABLED = False`")
def no_cookies(run: Run) -> None:
    with TlsOrigin(lambda seen: Reply(headers=[(b"set-cookie", b"from=origin")])) as origin:
        run.crawl(*urls(origin, 3), COOKIES_ENABLED=False, CONCURRENT_REQUESTS=1)
    must(len(origin.requests) == 3, origin.requests)
    for seen in origin.requests:
        must(values_of(seen, "cookie") == [], seen)


@probe(SECTION, "a redirect is Scrapy's to follow")
def redirects(run: Run) -> None:
    def app(seen: SeenRequest) -> Reply:
        return Reply(status=302, headers=[(b"location", b"/elsewhere")])

    with TlsOrigin(app) as origin:
        crawled = run.crawl(origin.url, REDIRECT_ENABLED=False, HTTPERROR_ALLOW_ALL=True)
    must([r["status"] for r in crawled.responses] == [302], crawled.errors)
    must(len(origin.requests) == 1, origin.requests)


@probe(SECTION, "an IPv6 address as host")
def ipv6(run: Run) -> None:
    with TlsOrigin(host="::1") as origin:
        crawled = run.crawl(origin.url)
    must([r["status"] for r in crawled.responses] == [200], crawled.errors)


@probe(SECTION, "a path with dots and a fragment: the path as it is, the fragment not sent")
def paths(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(f"{origin.url}/a/../b/./c?d=1#fragment")
    must([seen.path for seen in origin.requests] == ["/a/../b/./c?d=1"], origin.requests)


@probe(SECTION, "`verbatim_url`: nothing is escaped")
def verbatim(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl({"url": f"{origin.url}/q?a[]=1|2^3", "meta": {"verbatim_url": True}})
    must([seen.path for seen in origin.requests] == ["/q?a[]=1|2^3"], origin.requests)


@probe(SECTION, "percent-encoded octets of a path keep their case")
def octets(run: Run) -> None:
    with TlsOrigin() as origin:
        run.crawl(f"{origin.url}/%d9%86%D9%86")
    must([seen.path for seen in origin.requests] == ["/%d9%86%D9%86"], origin.requests)

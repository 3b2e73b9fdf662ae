"""The test origins: what a real client sees of each, and what each counts."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from curl_cffi import requests
from curl_cffi.requests.exceptions import RequestException

from scrapy_curl_safe._ipc.messages import Completed, Fetch, Hello, Profile, encode_profile
from scrapy_curl_safe._pool.worker_client import WorkerClient
from testkit.origins import faults
from testkit.origins.certs import certs
from testkit.origins.hello import (
    PADDING,
    PRE_SHARED_KEY,
    ClientHello,
    client_hello_size,
    is_grease,
    ja3,
    parse_client_hello,
    parse_h2_opening,
)
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from testkit.origins.loop import Origin

TIMEOUT = 30
COMES_AND_GOES = (PADDING, PRE_SHARED_KEY)
H1 = ("http/1.1",)
H2 = ("h2", "http/1.1")


def chrome(**options: Any) -> requests.Session[Any]:
    return requests.Session(**{"impersonate": "chrome", "timeout": TIMEOUT, **options})


def get(url: str, **options: Any) -> requests.Response:
    """Send one request on a connection of its own."""
    with chrome(**{"verify": False, **options}) as session:
        response: requests.Response = session.get(url)
    return response


def failure(url: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(RequestException) as caught:
        get(url, **options)
    text = str(caught.value).removeprefix(f"Failed to perform, curl: ({caught.value.code}) ")
    return caught.value.code, text


def python_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certs().ca_pem))


# Answers


@pytest.mark.parametrize("alpn", [H1, H2])
def test_default_app_names_the_path(alpn: tuple[str, ...]) -> None:
    with TlsOrigin(alpn=alpn) as origin:
        response = get(f"{origin.url}/some/path?q=1")
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html")
        assert "/some/path?q=1" in response.text
        (request,) = origin.requests
        assert (request.method, request.path) == ("GET", "/some/path?q=1")
        assert request.http_version == ("2" if alpn == H2 else "1.1")
        assert (origin.accepted, origin.handshakes, origin.dropped) == (1, 1, 0)


@pytest.mark.parametrize("alpn", [H1, H2])
@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_request_and_reply_bodies(alpn: tuple[str, ...], size: int) -> None:
    body = bytes(range(256)) * (size // 256) + bytes(size % 256)

    def echo(request: SeenRequest) -> Reply:
        return Reply(status=201, headers=[(b"X-Method", b"POST")], body=request.body * 4)

    with TlsOrigin(echo, alpn=alpn) as origin, chrome(verify=False) as session:
        response = session.post(origin.url, data=body)
        assert response.status_code == 201
        assert response.headers["X-Method"] == "POST"
        assert response.headers["Content-Length"] == str(4 * size)
        assert response.content == body * 4
        assert origin.requests[0].body == body


@pytest.mark.parametrize("alpn", [H1, H2])
@pytest.mark.parametrize("status", [200, 204, 304, 404, 503])
def test_replies_without_a_body_keep_the_connection(alpn: tuple[str, ...], status: int) -> None:
    reply = Reply(status=status, body=b"body")
    with TlsOrigin(lambda _: reply, alpn=alpn) as origin, chrome(verify=False) as session:
        head = session.head(origin.url)
        assert (head.status_code, head.content) == (status, b"")
        expected = b"" if status in (204, 304) else b"body"
        assert session.get(origin.url).content == expected
        assert [request.method for request in origin.requests] == ["HEAD", "GET"]
        assert origin.accepted == 1


def test_headers_are_kept_as_received() -> None:
    raw = b"GET /x HTTP/1.1\r\nHost: a\r\nx-LOWER:  one \r\nX-Lower: two\r\nX-Empty:\r\n\r\n"
    with TlsOrigin(tls=False) as origin:
        with socket.create_connection(("127.0.0.1", origin.port), TIMEOUT) as sock:
            sock.sendall(raw)
            sock.recv(1)
        assert origin.url.startswith("http://")
        assert origin.requests[0].headers == (
            (b"Host", b"a"),
            (b"x-LOWER", b"one"),
            (b"X-Lower", b"two"),
            (b"X-Empty", b""),
        )
        assert origin.requests[0].header("X-LOWER") == b"one"


def test_chunked_and_pipelined_requests_in_small_pieces() -> None:
    first = (
        b"POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
    )
    second = b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"
    answer = b""
    with TlsOrigin(tls=False) as origin:
        with socket.create_connection(("127.0.0.1", origin.port), TIMEOUT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in first + second:
                sock.sendall(bytes([byte]))
            while data := sock.recv(65536):
                answer += data
        assert [request.body for request in origin.requests] == [b"hello world", b"abc"]
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.count(b"Connection: close\r\n") == 1


@pytest.mark.parametrize("alpn", [H1, H2])
@pytest.mark.parametrize(("limit", "connections"), [(None, 1), (1, 6), (2, 3), (4, 2)])
def test_requests_per_connection(
    alpn: tuple[str, ...], limit: int | None, connections: int
) -> None:
    with (
        TlsOrigin(alpn=alpn, requests_per_connection=limit) as origin,
        chrome(verify=False) as session,
    ):
        for number in range(6):
            assert session.get(f"{origin.url}/{number}").status_code == 200
        per_connection = Counter(request.connection for request in origin.requests)
        assert len(origin.requests) == 6
        assert max(per_connection.values()) <= (limit or 6)
        assert origin.accepted == origin.handshakes == connections


def test_second_connection_resumes_the_session() -> None:
    with TlsOrigin(requests_per_connection=1) as origin, chrome(verify=False) as session:
        for _ in range(3):
            session.get(origin.url)
        assert origin.handshakes == 3
        assert origin.resumed == 2
        hellos = [parse_client_hello(raw) for raw in origin.hellos]
        assert [hello.has_psk for hello in hellos] == [False, True, True]


def test_app_that_fails_is_reported_at_exit() -> None:
    def fails(request: SeenRequest) -> Reply:
        raise ZeroDivisionError

    with pytest.raises(RuntimeError, match="the origin failed"), TlsOrigin(fails) as origin:
        failure(origin.url)


@pytest.mark.parametrize("alpn", [H1, H2])
def test_128_connections_at_once(alpn: tuple[str, ...]) -> None:
    together = threading.Barrier(128)

    def one(number: int) -> int:
        with chrome(verify=False) as session:
            session.get(f"{origin.url}/first/{number}")
            together.wait(60)
            return int(session.get(f"{origin.url}/second/{number}").status_code)

    with TlsOrigin(alpn=alpn) as origin, ThreadPoolExecutor(128) as pool:
        assert set(pool.map(one, range(128))) == {200}
        assert origin.accepted == origin.handshakes == 128
        assert len(origin.requests) == 256
        wait_until(lambda: origin.open_connections == 0)


@pytest.mark.parametrize("alpn", [H1, H2])
def test_many_connections_of_one_request(alpn: tuple[str, ...]) -> None:
    def some(worker: int) -> None:
        with chrome(verify=False) as session:
            for number in range(100):
                assert session.get(f"{origin.url}/{worker}/{number}").status_code == 200

    with TlsOrigin(alpn=alpn, requests_per_connection=1) as origin:
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(some, range(5)))
        assert origin.accepted == origin.handshakes == 500
        assert len({request.path for request in origin.requests}) == 500


@pytest.mark.processes
def test_h2_limit_refuses_no_multiplexed_request() -> None:
    profile = encode_profile(Profile(impersonate="chrome"))

    async def crawl(url: str) -> list[object]:
        def fetch(number: int) -> Fetch:
            return Fetch(
                url=f"{url}/{number}", method="GET", profile=profile, timeout_seconds=TIMEOUT
            )

        with WorkerClient(
            Hello(profiles=[("default", profile)], max_in_flight=32, max_idle=32)
        ) as worker:
            outcomes = await asyncio.gather(*(worker.fetch(fetch(n)) for n in range(300)))
        return [type(outcome) for outcome, _ in outcomes]

    with TlsOrigin(alpn=H2, requests_per_connection=1) as origin:
        assert asyncio.run(crawl(origin.url)) == [Completed] * 300
        assert len(origin.requests) == 300
        assert 1 < origin.accepted <= 300


def test_exit_closes_open_connections() -> None:
    with TlsOrigin() as origin:
        sock = socket.create_connection(("127.0.0.1", origin.port), TIMEOUT)
        wait_until(lambda: origin.open_connections == 1)
    with sock:
        assert sock.recv(1) == b""
    assert origin.open_connections == 0
    assert not [t for t in threading.enumerate() if t.name == f"origin-{origin.port}"]
    assert failure(origin.url)[0] == 7


@pytest.mark.parametrize("alpn", [H1, H2])
def test_exit_does_not_wait_for_a_delayed_answer(alpn: tuple[str, ...]) -> None:
    with TlsOrigin(alpn=alpn, delay=3600) as origin, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(failure, origin.url)
        wait_until(lambda: len(origin.requests) == 1)
        origin.close()
        assert waiting.result(TIMEOUT)[0] in (16, 52, 56)


def test_only_loopback() -> None:
    with pytest.raises(ValueError, match="loopback"):
        TlsOrigin(host="0.0.0.0")


def test_ipv6() -> None:
    with TlsOrigin(host="::1") as origin:
        assert get(origin.url, verify=str(certs().ca_pem)).status_code == 200
        assert origin.url.startswith("https://[::1]:")


# Dropped handshakes


# In the words of curl_cffi 0.17 and 0.15.
CLOSED = (
    35,
    r"BoringSSL SSL_connect: Connection closed abruptly \(SSL_ERROR_SYSCALL;"
    r"|TLS connect error: error:00000000:invalid library",
)
RESET = (35, r"Recv failure: Connection reset by peer")


def assert_failure(seen: tuple[int, str], expected: tuple[int, str]) -> None:
    assert seen[0] == expected[0], seen
    assert re.match(expected[1], seen[1]), seen


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("close", [CLOSED] * 4),
        ("reset", [RESET] * 4),
        ("mix", [CLOSED, RESET, CLOSED, RESET]),
        ("accept", [(35, f"{CLOSED[1]}|{RESET[1]}")] * 4),
    ],
)
def test_every_handshake_dropped(how: str, expected: list[tuple[int, str]]) -> None:
    with TlsOrigin(drop=1.0, how=how) as origin:
        for failed in expected:
            assert_failure(failure(origin.url), failed)
        assert origin.accepted == origin.dropped == 4
        assert (origin.handshakes, origin.requests) == (0, [])
        assert len(origin.hellos) == (0 if how == "accept" else 4)


def test_drops_by_sequence_and_by_function() -> None:
    with TlsOrigin(drop=[True, False, True]) as origin:
        codes = [_code(origin.url) for _ in range(5)]
        assert codes == [35, 0, 35, 0, 0]
    with TlsOrigin(drop=lambda number: number % 2 == 1) as origin:
        codes = [_code(origin.url) for _ in range(4)]
        assert codes == [0, 35, 0, 35]
        assert (origin.dropped, origin.handshakes) == (2, 2)


def test_drops_by_share_follow_the_seed() -> None:
    def outcomes(seed: int) -> list[int]:
        with TlsOrigin(drop=0.5, seed=seed) as origin:
            codes = [_code(origin.url) for _ in range(30)]
            assert origin.dropped == codes.count(35)
            assert origin.handshakes == codes.count(0)
        return codes

    assert outcomes(1) == outcomes(1)
    assert len({tuple(outcomes(seed)) for seed in (1, 2, 3)}) == 3


def _code(url: str) -> int:
    try:
        get(url)
    except RequestException as error:
        return int(error.code)
    return 0


# Faults


@pytest.mark.parametrize(
    ("origin", "expected", "tries"),
    [
        (faults.close_on_accept, (35, f"{CLOSED[1]}|{RESET[1]}"), 1),
        (faults.close_after_hello, CLOSED, 1),
        (faults.reset_after_hello, RESET, 1),
        (faults.sends_alert, (35, r"TLS connect error: .*:SSLV3_ALERT_HANDSHAKE_FAILURE"), 1),
        (lambda: faults.sends_alert(80), (35, r".*:TLSV1_ALERT_INTERNAL_ERROR"), 1),
        (faults.speaks_plain_http, (35, r"TLS connect error: .*:WRONG_VERSION_NUMBER"), 1),
        (faults.garbage_after_hello, (35, r"TLS connect error: .*:WRONG_VERSION_NUMBER"), 1),
        (faults.h2_dies_with_request, (56, r"Connection died, tried 5 times before giving up"), 6),
        (lambda: faults.h2_dies_with_request("reset"), (56, RESET[1]), 1),
    ],
)
def test_fault(origin: Callable[[], Origin], expected: tuple[int, str], tries: int) -> None:
    with origin() as faulty:
        for run in range(1, 4):
            assert_failure(failure(faulty.url), expected)
            assert faulty.accepted == run * tries
        read = 0 if origin is faults.close_on_accept else faulty.accepted
        assert len(faulty.hellos) == read
        assert all(parse_client_hello(raw) for raw in faulty.hellos)
        wait_until(lambda: faulty.open_connections == 0)


def test_silent_origin_keeps_the_connection_until_the_client_leaves() -> None:
    with faults.silent_after_hello() as origin:
        assert_failure(failure(origin.url, timeout=0.5), (28, "Connection timed out after"))
        assert origin.accepted == len(origin.hellos) == 1
        wait_until(lambda: origin.open_connections == 0)


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the full backlog is Linux's")
def test_stalled_connect() -> None:
    with faults.stalls_on_connect() as origin:
        assert_failure(failure(origin.url, timeout=0.5), (28, "Connection timed out after"))
        assert origin.accepted == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "SSL certificate .*unable to get local issuer certificate"),
        ({"expired": True}, "SSL certificate .*certificate has expired"),
        ({"host": "wrong.example"}, "SSL: no alternative certificate subject name matches"),
    ],
)
def test_refused_certificate(options: dict[str, Any], text: str) -> None:
    with faults.refused_certificate(**options) as origin:
        assert_failure(failure(origin.url, verify=str(certs().ca_pem)), (60, text))
        assert (origin.accepted, origin.requests) == (1, [])
        assert get(origin.url, verify=False).status_code == 200


def test_h2_recovers_after_the_last_death() -> None:
    with faults.h2_dies_with_request(connections=5) as origin:
        assert get(origin.url).status_code == 200
        assert (origin.accepted, origin.died, len(origin.requests)) == (6, 5, 1)
    with faults.h2_dies_with_request(connections=6) as origin:
        assert failure(origin.url)[0] == 56
        assert get(origin.url).status_code == 200
        assert (origin.accepted, origin.died, len(origin.h2_openings)) == (7, 6, 7)


# What the client sent first


def _vector(prefix: int, data: bytes) -> bytes:
    return len(data).to_bytes(prefix, "big") + data


def _hello(*, record_size: int = 16384) -> bytes:
    extensions = (
        (0x2A2A, b""),
        (0, _vector(2, b"\0" + _vector(2, b"a.example"))),
        (23, b""),
        (11, _vector(1, b"\0")),
        (10, _vector(2, struct.pack("!3H", 0x5A5A, 29, 23))),
        (16, _vector(2, _vector(1, b"h2") + _vector(1, b"http/1.1"))),
    )
    body = (
        struct.pack("!H", 0x0303)
        + bytes(32)
        + _vector(1, b"session")
        + _vector(2, struct.pack("!3H", 0x0A0A, 4865, 47))
        + _vector(1, b"\0")
        + _vector(2, b"".join(struct.pack("!H", kind) + _vector(2, e) for kind, e in extensions))
    )
    message = b"\x01" + _vector(3, body)
    parts = [message[at : at + record_size] for at in range(0, len(message), record_size)]
    return b"".join(b"\x16\x03\x01" + _vector(2, part) for part in parts)


@pytest.mark.parametrize("record_size", [16384, 100, 3, 1])
def test_parse_a_known_hello(record_size: int) -> None:
    hello = parse_client_hello(_hello(record_size=record_size) + b"more")
    assert hello == ClientHello(
        legacy_version=771,
        session_id=b"session",
        ciphers=(0x0A0A, 4865, 47),
        extensions=(0x2A2A, 0, 23, 11, 10, 16),
        groups=(0x5A5A, 29, 23),
        point_formats=(0,),
        signature_algorithms=(),
        supported_versions=(),
        key_shares=(),
        sni="a.example",
        alpn=("h2", "http/1.1"),
        has_psk=False,
    )
    assert ja3(hello) == "771,4865-47,0-23-11-10-16,29-23,0"
    assert ja3(hello, sort_extensions=True) == "771,4865-47,0-10-11-16-23,29-23,0"
    assert ja3(hello, leave_out=(23,)) == "771,4865-47,0-11-10-16,29-23,0"


def test_cut_hello_is_never_whole() -> None:
    raw = _hello(record_size=40)
    assert client_hello_size(raw) == len(raw)
    for size in range(len(raw)):
        assert client_hello_size(raw[:size]) is None
        with pytest.raises(ValueError, match="cut short"):
            parse_client_hello(raw[:size])


def test_other_protocols_are_no_hello() -> None:
    for raw in (b"G", b"GET / HTTP/1.1\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28"):
        with pytest.raises(ValueError, match="handshake record"):
            client_hello_size(raw)


def test_hello_that_arrives_in_pieces_is_whole() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = python_context()
    context.set_alpn_protocols(["http/1.1"])
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    sent = outgoing.read()
    with TlsOrigin() as origin:
        with socket.create_connection(("127.0.0.1", origin.port), TIMEOUT) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(sent)):
                sock.sendall(sent[at : at + 1])
            incoming.write(sock.recv(65536))
        assert origin.hellos == [sent]
    hello = parse_client_hello(sent)
    assert (hello.sni, hello.alpn) == ("localhost", ("http/1.1",))


def test_chrome_hello_keeps_its_fingerprint() -> None:
    with TlsOrigin(alpn=H2) as origin:
        for _ in range(3):
            get(origin.url)
        hellos = [parse_client_hello(raw) for raw in origin.hellos]
    assert hellos[0].alpn == ("h2", "http/1.1")
    assert hellos[0].sni is None
    assert is_grease(hellos[0].ciphers[0])
    prints = {ja3(hello, sort_extensions=True, leave_out=COMES_AND_GOES) for hello in hellos}
    assert len(prints) == 1
    with TlsOrigin(alpn=H2) as origin:
        get(origin.url, impersonate="firefox")
        (raw,) = origin.hellos
    firefox = ja3(parse_client_hello(raw), sort_extensions=True, leave_out=COMES_AND_GOES)
    assert {firefox}.isdisjoint(prints)


def test_h2_opening() -> None:
    with TlsOrigin(alpn=H2) as origin:
        for _ in range(2):
            get(f"{origin.url}/path", headers={"X-Mine": "1"})
        openings = [parse_h2_opening(raw) for raw in origin.h2_openings]
    assert openings[0].settings == ((1, 65536), (2, 0), (4, 6291456), (6, 262144))
    assert openings[0].window_update == 15663105
    assert openings[0].pseudo_headers == (":method", ":authority", ":scheme", ":path")
    assert ("x-mine", "1") in openings[0].headers
    assert openings[0] == openings[1]
    with pytest.raises(ValueError, match="opening"):
        parse_h2_opening(origin.h2_openings[0][:-1])


def test_certificate_is_trusted_by_python() -> None:
    context = python_context()
    with (
        TlsOrigin() as origin,
        socket.create_connection(("127.0.0.1", origin.port), TIMEOUT) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as tls,
    ):
        assert tls.version() == "TLSv1.3"
        wait_until(lambda: origin.handshakes == 1)

"""`scrapy curlsafe probe`: each condition that it distinguishes, made for real."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.origins import faults
from testkit.origins.background import StreamServer
from testkit.origins.certs import certs
from testkit.origins.hello import ja3, parse_client_hello
from testkit.origins.http1 import Http1Connection
from testkit.origins.limited import LimitedOrigin
from testkit.origins.proxies import Proxy
from testkit.origins.streams import PlainStream
from testkit.origins.tls import TlsOrigin
from testkit.processes import worker_pids
from testkit.waiting import wait_until

ROOT = Path(__file__).parent.parent
SCRAPY = [sys.executable, "-m", "scrapy", "curlsafe", "probe"]

pytestmark = pytest.mark.processes


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Any]:
    """Mark the workers of a test by the TMPDIR that they inherit; none is left at the end."""
    yield {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path),
        "SSL_CERT_FILE": str(certs().ca_pem),
    }
    wait_until(lambda: not worker_pids(tmp_path))


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path) -> Any:
    def run(*arguments: Any, around: Any = (), **options: Any) -> Any:
        return subprocess.run(
            [*around, *SCRAPY, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as started:

        def start(*arguments: Any) -> Any:
            process = started.enter_context(
                subprocess.Popen(
                    [*SCRAPY, *arguments],
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            started.callback(process.kill)
            return process

        yield start


@pytest.fixture
def probe(run: Callable[..., Any]) -> Any:
    """Return the object that `--json` prints. Its verdict and the exit code agree."""

    def probe(url: str, *arguments: Any, around: Any = ()) -> Any:
        done = run(url, "--json", *arguments, around=around)
        assert done.stdout, done.stderr
        assert done.stderr == ""
        found = json.loads(done.stdout)
        assert done.returncode == (0 if found["verdict"] == "healthy" else 1)
        return found

    return probe


def steps(found: dict[str, Any], variant: str = "as given") -> Any:
    return [step for step in found["steps"] if step["route"] == variant]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return int(gone.getsockname()[1])


class DropsLargeHellos(TlsOrigin):
    """Acts like a server that reads only the first packet, or is behind such a device."""

    silent = False

    async def read_hello(self, sock: Any) -> Any:
        hello = await super().read_hello(sock)
        if len(hello) <= 1400:
            return hello
        self._dropped += 1
        if self.silent:
            while await self._loop.sock_recv(sock, 65536):
                pass
        raise ConnectionError


class DropsLargeHellosSilently(DropsLargeHellos):
    silent = True


class KnowsOneBrowser(TlsOrigin):
    """Refuses all browsers but one: with an alert, or without a word."""

    def __init__(self, *, ciphers: int, alert: bool) -> None:
        super().__init__()
        self._ciphers = ciphers
        self._alert = alert

    async def read_hello(self, sock: Any) -> Any:
        hello = await super().read_hello(sock)
        # The probe asks by plain HTTP, too, where a ClientHello gets no answer.
        with contextlib.suppress(ValueError):
            if len(parse_client_hello(hello).ciphers) == self._ciphers:
                return hello
        if self._alert:
            await self._loop.sock_sendall(sock, b"\x15\x03\x03\x00\x02\x02\x28")
        raise ConnectionError


class Turns(TlsOrigin):
    """Shuts a client out after so many connections."""

    def __init__(self, after: int) -> None:
        super().__init__(drop=lambda number: number >= after)


# Origins


def test_healthy(probe: Callable[..., Any]) -> None:
    with TlsOrigin(alpn=("h2",)) as origin:
        found = probe(origin.url, "-n", "120", "-c", "25")
        assert origin.resumed == 0
        assert origin.handshakes == found["handshakes"] == origin.accepted <= 120
        assert {request.method for request in origin.requests} == {"HEAD"}
    assert found["verdict"] == "healthy"
    assert found["concurrency"] == 25
    assert found["settings"] == {}
    assert [step["concurrency"] for step in found["steps"]] == [1, 3, 7, 13, 25]
    for step in found["steps"]:
        assert step["completed"] == step["handshakes"] >= step["concurrency"]
        assert 0 < step["time_p50"] <= step["time_p95"] <= step["time_max"]
    # The real sizes, which differ between handshakes by some bytes.
    sizes = found["client_hello_bytes"]
    assert sizes["chrome"] > 1400 > sizes["chrome120"]


def test_each_step_holds_its_concurrency(probe: Callable[..., Any]) -> None:
    """Each connection stays until as many are there as are asked for."""
    with TlsOrigin(delay=0.2) as origin:
        most = 0
        serve = origin.serve

        async def counted(sock: Any, number: int) -> None:
            nonlocal most
            most = max(most, origin.open_connections)
            await serve(sock, number)

        origin.serve = counted  # type: ignore[method-assign]
        assert probe(origin.url, "-n", "48", "-c", "12")["verdict"] == "healthy"
        assert most >= 12


@pytest.mark.parametrize("how", ["close", "reset"])
def test_network_loss(probe: Callable[..., Any], how: Any) -> None:
    with TlsOrigin(drop=0.3, how=how, seed=1) as origin:
        found = probe(origin.url)
        assert origin.accepted == found["handshakes"] <= 200
        assert sum(step["failures"].get("syscall", 0) for step in found["steps"]) == origin.dropped
    assert found["verdict"] == "network_loss"
    assert "SSL_ERROR_SYSCALL" in found["saw"] or "reset" in found["saw"]


@pytest.mark.parametrize("at_once", [1, 8])
def test_origin_limit(probe: Callable[..., Any], at_once: int) -> None:
    with LimitedOrigin(at_once) as origin:
        found = probe(origin.url)
    assert found["verdict"] == "origin_limit"
    assert at_once <= found["concurrency"] <= at_once * 1.5
    assert found["settings"]["CONCURRENT_REQUESTS_PER_DOMAIN"] == found["concurrency"]


def test_an_origin_that_shuts_out_who_comes_too_often(probe: Callable[..., Any]) -> None:
    with Turns(after=60) as origin:
        found = probe(origin.url)
    assert found["verdict"] == "origin_limit"
    assert "DOWNLOAD_DELAY" in found["advice"]


def test_every_fingerprint_refused(probe: Callable[..., Any]) -> None:
    with faults.sends_alert() as origin:
        found = probe(origin.url)
        assert origin.accepted == found["handshakes"] < 50
    assert found["verdict"] == "fingerprint_refused"
    assert found["settings"] == {}


@pytest.mark.parametrize("alert", [True, False])
def test_one_fingerprint_refused(probe: Callable[..., Any], alert: bool) -> None:
    with TlsOrigin() as origin:
        probe(origin.url, "-n", "4", "-c", "1", "--impersonate", "firefox")
        ciphers = len(parse_client_hello(origin.hellos[0]).ciphers)
    with KnowsOneBrowser(ciphers=ciphers, alert=alert) as origin:
        found = probe(origin.url)
    assert found["verdict"] == "fingerprint_refused"
    assert found["settings"] == {"CURL_SAFE_IMPERSONATE": "firefox"}


@pytest.mark.parametrize("kind", [DropsLargeHellos, DropsLargeHellosSilently])
def test_large_hello(probe: Callable[..., Any], kind: type[TlsOrigin]) -> None:
    with kind() as origin:
        found = probe(origin.url, "--timeout", "1")
        assert probe(origin.url, "--impersonate", "chrome120")["verdict"] == "healthy"
    assert found["verdict"] == "large_hello"
    assert found["settings"] == {"CURL_SAFE_IMPERSONATE": "chrome120"}


def test_not_tls(probe: Callable[..., Any]) -> None:
    with faults.speaks_plain_http() as origin:
        found = probe(f"https://127.0.0.1:{origin.port}/")
    assert found["verdict"] == "not_tls"
    assert len(found["steps"]) == 2


class SaysNothingToHellos(TlsOrigin):
    """Speaks HTTP only, and closes on what is none, or waits for the rest of it."""

    def __init__(self, *, waits: bool) -> None:
        super().__init__(tls=False)
        self._waits = waits

    async def serve(self, sock: socket.socket, number: int) -> None:
        opening = await self._loop.sock_recv(sock, 65536)
        if not opening.startswith(b"\x16"):
            await Http1Connection(PlainStream(sock, opening), number, self._answer).serve()
        elif self._waits:
            while await self._loop.sock_recv(sock, 65536):
                pass


@pytest.mark.parametrize("waits", [False, True])
def test_not_tls_where_a_hello_is_not_answered(probe: Callable[..., Any], waits: bool) -> None:
    with SaysNothingToHellos(waits=waits) as origin:
        found = probe(f"https://127.0.0.1:{origin.port}/", "--timeout", "1")
        assert [request.method for request in origin.requests] == ["HEAD"]
    assert found["verdict"] == "not_tls"
    assert "speaks HTTP without TLS" in found["saw"]


@pytest.mark.parametrize("how", [{}, {"expired": True}, {"host": "other.test"}])
def test_certificate(probe: Callable[..., Any], how: Any) -> None:
    verifying = ("-s", "DOWNLOAD_VERIFY_CERTIFICATES=True")
    with faults.refused_certificate(**how) as origin, TlsOrigin() as good:
        found = probe(origin.url, *verifying)
        assert found["verdict"] == "certificate"
        assert ("SSL_CERT_FILE" in found["advice"]) is (not how)
        # As a crawl does, it looks at certificates where the settings say so.
        assert probe(origin.url, "-n", "12", "-c", "3")["verdict"] == "healthy"
        assert probe(good.url, "-n", "12", "-c", "3", *verifying)["verdict"] == "healthy"


def test_unreachable(probe: Callable[..., Any]) -> None:
    assert probe(f"https://127.0.0.1:{unused_port()}/")["verdict"] == "unreachable"
    # RFC 6761: there is no such name.
    assert probe("https://nobody.invalid/")["verdict"] == "unreachable"


@pytest.mark.parametrize("make", [faults.stalls_on_connect, faults.silent_after_hello])
def test_unreachable_without_an_answer(probe: Callable[..., Any], make: Callable[..., Any]) -> None:
    with make() as origin:
        found = probe(origin.url, "--timeout", "0.3")
        assert origin.accepted < 50
    assert found["verdict"] == "unreachable"


# The way there


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (lambda: Proxy("user", "right"), "http://user:wrong@127.0.0.1:{port}"),
        (lambda: Proxy("user", "right"), "socks5://user:wrong@127.0.0.1:{port}"),
        (lambda: Proxy(stalls=True), "http://127.0.0.1:{port}"),
        (lambda: contextlib.nullcontext(None), "http://127.0.0.1:9"),
    ],
    ids=["HTTP, password", "SOCKS, password", "stalls", "not there"],
)
def test_a_proxy_at_fault(
    probe: Callable[..., Any], make: Callable[..., Any], arguments: Any
) -> None:
    with make() as proxy, TlsOrigin() as origin:
        url = arguments.format(port=proxy.port if proxy else 0)
        found = probe(origin.url, "--proxy", url, "--timeout", "1")
        assert origin.handshakes == sum(s["completed"] for s in found["steps"]) > 0
    assert found["verdict"] == "proxy"
    assert sum(step["completed"] for step in steps(found)) == 0
    assert steps(found, "without the proxy")[0]["failures"] == {}
    assert "wrong" not in json.dumps(found)


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_proxy_that_is_not_there_before_an_origin_with_faults_of_its_own(
    probe: Callable[..., Any], share: float
) -> None:
    with TlsOrigin(drop=share, seed=1) as origin:
        found = probe(origin.url, "--proxy", f"http://127.0.0.1:{unused_port()}")
        assert origin.dropped > 0
    assert found["verdict"] == "proxy"
    assert {kind for step in steps(found) for kind in step["failures"]} == {"proxy_refused"}
    assert "with any browser" not in found["saw"]


def test_a_proxy_whose_name_cannot_be_resolved(probe: Callable[..., Any]) -> None:
    with faults.close_after_hello() as origin:
        found = probe(origin.url, "--proxy", "http://proxy.invalid:3128")
    assert found["verdict"] == "proxy"
    assert steps(found)[0]["failures"] == {"proxy_unresolved": 2}


class Forbids(StreamServer):
    """Acts like a proxy that answers every CONNECT with 403."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@pytest.mark.parametrize(
    ("make", "user", "says"),
    [
        (
            lambda: Proxy("user", "right"),
            "",
            "This proxy wants a user and a password: give them in --proxy,",
        ),
        (
            lambda: Proxy("user", "right"),
            "user:wrong@",
            "The proxy refuses this user or password.",
        ),
        (
            Forbids,
            "",
            "This proxy wants a user and a password, or forbids this origin: give them in",
        ),
        (
            Forbids,
            "user:wrong@",
            "The proxy refuses this user or password, or forbids this origin.",
        ),
    ],
    ids=["no user", "wrong password", "forbids", "forbids a user"],
)
def test_a_proxy_that_wants_a_user(
    probe: Callable[..., Any], make: Callable[[], Any], user: str, says: str
) -> None:
    with make() as proxy, TlsOrigin() as origin:
        found = probe(origin.url, "--proxy", f"http://{user}127.0.0.1:{proxy.port}")
    assert found["verdict"] == "proxy"
    assert steps(found)[0]["failures"] == {"proxy_auth": 2}
    assert found["advice"].startswith(says)
    assert "wrong" not in json.dumps(found)


class LosesSome(Proxy):
    """Cuts every other connection as soon as there is something to pass on."""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count = getattr(self, "_count", 0) + 1
        if self._count % 2:
            await reader.read(1)
            writer.close()
        else:
            await super()._serve(reader, writer)


def test_a_proxy_that_loses_some(probe: Callable[..., Any]) -> None:
    with LosesSome() as proxy, TlsOrigin() as origin:
        found = probe(origin.url, "--proxy", f"http://127.0.0.1:{proxy.port}")
    assert found["verdict"] == "proxy"


def test_a_good_proxy(probe: Callable[..., Any]) -> None:
    with Proxy() as proxy, TlsOrigin() as origin:
        url = f"http://127.0.0.1:{proxy.port}"
        found = probe(origin.url, "--proxy", url, "-n", "30", "-c", "5")
        assert origin.handshakes == proxy.connections == found["handshakes"]
    assert found["verdict"] == "healthy"


def test_neither_with_the_proxy_nor_without(probe: Callable[..., Any]) -> None:
    with Proxy() as proxy, faults.speaks_plain_http() as origin:
        url = f"https://127.0.0.1:{origin.port}"
        found = probe(url, "--proxy", f"http://127.0.0.1:{proxy.port}")
    assert found["verdict"] == "not_tls"


# This machine


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs util-linux")
def test_local_limits(probe: Callable[..., Any]) -> None:
    with TlsOrigin(delay=0.3) as origin:
        around = ["prlimit", "--nofile=45:45"]
        found = probe(origin.url, "-n", "400", "-c", "100", around=around)
    assert found["verdict"] == "local_limits"
    assert "Too many open files" in found["saw"]
    assert 0 < found["concurrency"] < 100


def test_no_worker_can_start(run: Callable[..., Any]) -> None:
    broken = "import sys; sys.executable = '/bin/false'; from scrapy.cmdline import execute"
    code = f"{broken}; execute()"
    with TlsOrigin() as origin:
        done = subprocess.run(
            [sys.executable, "-c", code, "curlsafe", "probe", origin.url, "--json"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert origin.accepted == 0
    assert json.loads(done.stdout)["verdict"] == "local_limits"
    assert done.returncode == 1


def test_a_worker_that_dies(start: Callable[..., Any], tmp_path: Path) -> None:
    """The origin is not at fault."""
    with TlsOrigin(delay=60) as origin:
        process = start(origin.url, "--json", "-n", "12", "-c", "3")
        wait_until(lambda: origin.requests)
        for pid in worker_pids(tmp_path):
            os.kill(pid, 9)
        found = json.loads(process.communicate(timeout=60)[0])
    assert found["verdict"] == "local_limits"
    assert "SIGKILL" in found["saw"]


# How it is used


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "probe takes a URL"),
        (["http://127.0.0.1/"], "no https URL"),
        (["https://"], "no https URL"),
        (["https://127.0.0.1:99999/"], "no https URL"),
        (["https://127.0.0.1/", "-c", "0"], "-c takes"),
        (
            ["https://127.0.0.1/", "-c", "50", "-n", "100"],
            "-n takes four times -c or more: 200, or -c 25",
        ),
        (["https://127.0.0.1/", "-n", "3"], "-n takes four times -c or more: 4"),
        (["https://127.0.0.1/", "--timeout", "0"], "--timeout takes"),
        (["https://127.0.0.1/", "--impersonate", "netscape"], "cannot impersonate 'netscape'"),
        (["https://127.0.0.1/", "-s", "CURL_SAFE_WORKERS=0"], "CURL_SAFE_WORKERS is '0'"),
        (["https://127.0.0.1/", "-n", "1001"], "--yes"),
        (["https://127.0.0.1/", "-c", "251"], "--yes"),
    ],
)
def test_usage_errors(run: Callable[..., Any], arguments: Any, says: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_yes_is_enough_for_more_than_a_thousand(probe: Callable[..., Any]) -> None:
    with faults.close_after_hello() as origin:
        found = probe(origin.url, "-n", "1001", "--yes")
        # The last one asks without TLS.
        assert origin.accepted == found["handshakes"] + 1 < 50
    assert found["verdict"] == "unreachable"


def test_plain_without_a_terminal(run: Callable[..., Any]) -> None:
    with TlsOrigin(drop=0.3, seed=1) as origin:
        done = run(origin.url, "-n", "90", "-c", "10")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "network_loss: " in done.stdout
    assert "█" in done.stdout
    assert "░" in done.stdout
    assert "CONCURRENT_REQUESTS" not in done.stdout


def test_bars_in_a_code_page_without_blocks(
    run: Callable[..., Any], environment: dict[str, str]
) -> None:
    environment["PYTHONIOENCODING"] = "cp1252"
    with TlsOrigin(drop=0.3, seed=1) as origin:
        done = run(origin.url, "-n", "90", "-c", "10")
    assert done.stderr == ""
    assert "# done . failed" in done.stdout


def test_a_number_alone_scales_how_many_are_made_at_once(probe: Callable[..., Any]) -> None:
    with TlsOrigin() as origin:
        found = probe(origin.url, "-n", "30")
        assert origin.handshakes == found["handshakes"] <= 30
    assert (found["concurrency"], found["settings"]) == (7, {})
    assert found["saw"].startswith(f"{found['handshakes']} of {found['handshakes']} handshakes ")
    assert ", with up to 7 at once. " in found["saw"]


def test_on_a_terminal(environment: dict[str, str], tmp_path: Path) -> None:
    """On a terminal there is a progress bar, and a question before a thousand handshakes."""
    outer, inner = pty.openpty()
    with TlsOrigin() as origin:
        process = subprocess.Popen(
            [*SCRAPY, origin.url, "-n", "1001", "-c", "2"],
            cwd=tmp_path,
            env={**environment, "TERM": "xterm", "COLUMNS": "100"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)
        seen = b""
        while b"Go on?" not in seen:
            seen += os.read(outer, 4096)
        assert origin.accepted == 0
        os.write(outer, b"y\n")
        while data := read(outer):
            seen += data
        assert process.wait() == 0
        os.close(outer)
        assert 500 < origin.accepted <= 1001
    assert b"/1001" in seen
    assert b"\x1b[" in seen
    assert b"healthy" in seen


def read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # its other end is closed
        return b""


@pytest.fixture
def hears_interrupts() -> Iterator[Any]:
    """Handle SIGINT, so that processes of the test do not inherit that it is ignored, as it is in
    tests that a shell started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_interrupts")
def test_interrupted(start: Callable[..., Any]) -> None:
    with TlsOrigin(delay=60) as origin:
        process = start(origin.url, "--json")
        wait_until(lambda: origin.requests)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, ("", ""))


def test_the_hello_is_that_of_a_crawl(probe: Callable[..., Any], crawl: Callable[..., Any]) -> None:
    """The options that keep TLS sessions from being resumed change nothing that an origin sees."""
    with TlsOrigin() as origin:
        probe(origin.url, "-n", "4", "-c", "1", "--impersonate", "firefox")
        probed = {ja3(parse_client_hello(hello)) for hello in origin.hellos}
        before = len(origin.hellos)
        crawl(origin.url, CURL_SAFE_IMPERSONATE="firefox")
        crawled = {ja3(parse_client_hello(hello)) for hello in origin.hellos[before:]}
    assert probed == crawled

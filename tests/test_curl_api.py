"""Undocumented names of curl_cffi: a contract for each, and crawls without them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import curl_cffi
import curl_cffi.curl
import curl_cffi.requests.impersonate
import curl_cffi.requests.utils
import pytest
from curl_cffi import Curl, CurlInfo, CurlOpt, ffi, lib

from scrapy_curl_safe._worker import curl_api, multi
from testkit.crawling import Crawled, Wanted
from testkit.fixtures import RunCrawl
from testkit.origins.certs import certs
from testkit.origins.hello import parse_client_hello
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario
from tests.without_curl_names import (
    EACH_ATTRIBUTE,
    NAMES,
    OF_SOME_VERSIONS,
    interpreter_without,
)

# The contract of each name


def test_the_installed_curl_cffi_has_all_names() -> None:
    assert curl_api.missing_names() == {}


def test_options_are_set_by_pointers() -> None:
    with TlsOrigin(tls=False) as origin:
        curl = Curl(handle=(easy := lib.curl_easy_init()))
        body = b"a\0b"
        sink = ffi.new_handle(curl_cffi.curl)
        size, post = ffi.new("int64_t *", len(body)), ffi.new("long *", 1)
        ignore = ffi.callback("size_t(char *, size_t, size_t, void *)", lambda *_: _[1] * _[2])
        for option, value in (
            (CurlOpt.URL, origin.url.encode()),
            (CurlOpt.POST, post),
            (CurlOpt.POSTFIELDSIZE_LARGE, size),
            (CurlOpt.POSTFIELDS, body),
            (CurlOpt.COOKIE, ffi.NULL),
            (CurlOpt.WRITEFUNCTION, ignore),
            (CurlOpt.WRITEDATA, sink),
        ):
            assert curl_api.easy_setopt(easy, option, value) == 0
        curl.perform()
        number, text = ffi.new("long *"), ffi.new("char **")
        assert curl_api.easy_getinfo(easy, CurlInfo.NUM_CONNECTS, number) == 0
        assert curl_api.easy_getinfo(easy, CurlInfo.PRIMARY_IP, text) == 0
        assert (number[0], ffi.string(text[0])) == (1, b"127.0.0.1")
        curl.close()
        (seen,) = origin.requests
    assert (seen.method, seen.body) == ("POST", body)


@pytest.fixture
def given_back() -> Iterator[None]:
    """Give the compiled callbacks back to `Multi` when the test ends: they are the process's."""
    yield
    for name, body in (
        ("socket_function", multi._on_socket),
        ("timer_function", multi._on_timer),
    ):
        assert curl_api.define_callback(name, "", body, multi._exit) == getattr(lib, name)


@pytest.mark.usefixtures("given_back")
@pytest.mark.parametrize(
    ("name", "signature", "arguments"),
    [
        (
            "socket_function",
            "int(*)(void *, int, int, void *, void *)",
            [ffi.NULL, 5, 6, ffi.NULL, ffi.NULL],
        ),
        ("timer_function", "int(*)(void *, long, void *)", [ffi.NULL, 5, ffi.NULL]),
    ],
)
def test_compiled_callbacks_call_the_body_that_they_are_given(
    name: str, signature: str, arguments: list[Any]
) -> None:
    called = []

    def body(*arguments: Any) -> int:
        called.append(arguments[1])
        return 7

    function = curl_api.define_callback(name, signature.replace("(*)", ""), body, None)
    assert function == getattr(lib, name)
    assert ffi.cast(signature, function)(*arguments) == 7
    assert called == [5]


def test_targets_are_those_that_can_be_impersonated() -> None:
    assert {"chrome", "firefox", "chrome120", "safari"} <= curl_api.TARGETS


def test_authorities_are_a_file_of_certificates() -> None:
    assert "-----BEGIN CERTIFICATE-----" in Path(curl_api.AUTHORITIES).read_text()


OPTIONS: dict[str, Any] = {
    "impersonate": "chrome131",
    "ja3": "771,4865-49195-47,0-11-10-35-16-13-23-43-45-51-65281,29-23-24,0",
    "extra_fp": {"http2_stream_weight": 17},
    "akamai": "1:65536;3:1000|15663105|0|m,a,s,p",
    "http_version": "v2",
}


@pytest.mark.parametrize("has_function", [True, False])
def test_the_options_of_a_browser_are_set_and_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, has_function: bool
) -> None:
    monkeypatch.setattr(curl_api, "_HAS_FUNCTION", has_function)
    curl = Curl()
    with TlsOrigin(alpn=("h2",)) as origin:
        curl_api.set_browser_options(curl, **OPTIONS)
        assert origin.accepted == 0
        for option in (CurlOpt.SSL_VERIFYPEER, CurlOpt.SSL_VERIFYHOST):
            curl.setopt(option, 0)
        curl.setopt(CurlOpt.URL, origin.url)
        curl.perform()
        (seen,) = origin.requests
        hello = parse_client_hello(origin.hello_of(seen))
        (opening,) = origin.h2_openings
    curl.close()
    assert 49195 in hello.ciphers
    assert 49196 not in hello.ciphers
    assert seen.weight == 17
    assert b"Chrome/131" in (seen.header("user-agent") or b"")
    assert b"\x00\x03\x00\x00\x03\xe8" in opening


@pytest.mark.parametrize("has_function", [True, False])
def test_an_unknown_browser_is_refused(monkeypatch: pytest.MonkeyPatch, has_function: bool) -> None:
    monkeypatch.setattr(curl_api, "_HAS_FUNCTION", has_function)
    with pytest.raises(Exception, match="netscape"):
        curl_api.set_browser_options(Curl(), impersonate="netscape")


# With another meaning


def imported_anew() -> Any:
    spec = importlib.util.find_spec(curl_api.__name__)
    assert spec is not None
    assert spec.loader is not None
    anew = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(anew)
    return anew


class OtherLib:
    """curl_cffi's lib, with some functions changed."""

    def __init__(self, **functions: Any) -> None:
        vars(self).update(functions)

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)


def refuse(*_: object, **__: object) -> int:
    return 43


def take(*_: object) -> int:
    return 0


@pytest.mark.parametrize(
    ("name", "owner", "attribute", "value"),
    [
        ("lib._curl_easy_setopt", curl_cffi, "lib", OtherLib(_curl_easy_setopt=refuse)),
        ("lib._curl_easy_setopt", curl_cffi, "lib", OtherLib(_curl_easy_setopt=take)),
        ("lib.curl_easy_getinfo", curl_cffi, "lib", OtherLib(curl_easy_getinfo=take)),
        ("BrowserTypeLiteral", curl_cffi, "BrowserTypeLiteral", str),
        ("curl.DEFAULT_CACERT", curl_cffi.curl, "DEFAULT_CACERT", None),
        ("curl.DEFAULT_CACERT", curl_cffi.curl, "DEFAULT_CACERT", "/nowhere/authorities.pem"),
        (
            "requests.impersonate.REAL_TARGET_MAP",
            curl_cffi.requests.impersonate,
            "REAL_TARGET_MAP",
            {},
        ),
        (
            "requests.utils.set_curl_options",
            curl_cffi.requests.utils,
            "set_curl_options",
            lambda curl, options: None,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_name_with_another_meaning_is_as_good_as_missing(
    monkeypatch: pytest.MonkeyPatch, name: str, owner: object, attribute: str, value: object
) -> None:
    monkeypatch.setattr(owner, attribute, value)
    anew = imported_anew()
    assert list(anew.missing_names()) == [name]
    assert Path(anew.AUTHORITIES).is_file()


def test_targets_that_are_described_otherwise_have_no_known_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fingerprints = pytest.importorskip("curl_cffi.fingerprints", reason="since curl_cffi 0.16")
    monkeypatch.setattr(fingerprints, "NATIVE_IMPERSONATE_TARGETS", [{"name": "x"}])
    anew = imported_anew()
    assert (anew.TARGET_SYSTEMS, anew.missing_names()) == ({}, {})


def test_callbacks_that_cannot_be_replaced_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curl_cffi, "ffi", SimpleNamespace(callback=ffi.callback, new=ffi.new))
    anew = imported_anew()
    for name in ("socket_function", "timer_function"):
        function = anew.define_callback(name, "int(int)", lambda number: number + 1, None)
        assert function(1) == 2
    assert list(anew.missing_names()) == ["ffi.def_extern"]


@pytest.mark.parametrize("name", ["curl_easy_init", "curl_multi_init", "curl_slist_append"])
def test_what_nothing_stands_in_for_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    class Lacking:
        def __getattr__(self, asked: str) -> Any:
            if asked == name:
                raise AttributeError
            return getattr(lib, asked)

    monkeypatch.setattr(curl_cffi, "lib", Lacking())
    with pytest.raises(ImportError, match=f"its lib lacks {name}") as raised:
        imported_anew()
    assert raised.value.name == "curl_cffi"


# Crawls without one


LARGE = b"x" * 300_000


def site(seen: SeenRequest) -> Reply:
    body = LARGE if seen.path == "/0" else seen.method.encode() + seen.path.encode()
    return Reply(headers=[(b"Content-Type", b"text/html"), (b"Set-Cookie", b"a=1")], body=body)


@pytest.fixture
def origin() -> Iterator[TlsOrigin]:
    with TlsOrigin(site, requests_per_connection=8) as origin:
        yield origin


def requests_for(origin: TlsOrigin) -> list[Wanted]:
    wanted: list[Wanted] = [{"url": f"{origin.url}/{n}"} for n in range(16)]
    wanted[3] = {"url": f"{origin.url}/3", "method": "POST", "body": "a=1"}
    wanted[5] = {"url": f"{origin.url}/5", "method": "HEAD"}
    wanted[7] = {"url": f"{origin.url}/7", "headers": {"X-Own": "1", "Accept": "text/plain"}}
    wanted[9] = {"url": f"{origin.url}/9", "method": "POST", "body": "b=1"}
    return wanted


def scenario_without(name: str, directory: Path, **fields: Any) -> Scenario:
    interpreter = directory / "python"
    interpreter.write_text(interpreter_without(name))
    interpreter.chmod(0o755)
    return Scenario(interpreter=str(interpreter), **fields)


def warnings_of(crawled: Crawled) -> list[str]:
    lines = crawled.log.splitlines()
    return [line for line in lines if "[scrapy_curl_safe" in line and "] WARNING: " in line]


def assert_pages(crawled: Crawled, origin: TlsOrigin) -> None:
    """Assert that the origin saw a browser's requests, each once, and that the pages are right."""
    assert crawled.errors == []
    assert crawled.numbers == list(range(16))
    sent = {int(seen.path[1:]): seen for seen in origin.requests}
    assert len(origin.requests) == len(sent) == 16
    for response in crawled.responses:
        number = response["number"]
        assert response["status"] == 200
        assert ["Set-Cookie", "a=1"] in response["headers"]
        assert response["ip"] == "127.0.0.1"
        assert response["protocol"] == "HTTP/1.1"
        expected = site(sent[number]).body.decode() if number != 5 else ""
        assert response["body"] == expected
    assert all(b"Chrome/" in (seen.header("user-agent") or b"") for seen in sent.values())
    assert [sent[n].method for n in (3, 5, 9)] == ["POST", "HEAD", "POST"]
    assert [sent[n].body for n in (3, 9)] == [b"a=1", b"b=1"]
    assert (sent[7].header("x-own"), sent[7].header("accept")) == (b"1", b"text/plain")
    assert sent[8].header("x-own") is None


@pytest.mark.processes
@pytest.mark.parametrize("name", [*NAMES, *OF_SOME_VERSIONS, EACH_ATTRIBUTE])
def test_a_crawl_without_a_name(
    crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path, name: str
) -> None:
    crawled = crawl(
        *requests_for(origin),
        CURL_SAFE_WORKERS=2,
        CONCURRENT_REQUESTS=4,
        scenario=scenario_without(name, tmp_path),
    )
    assert_pages(crawled, origin)
    warnings = warnings_of(crawled)
    assert len(warnings) == (name in NAMES), warnings
    for warning in warnings:
        assert f"goes on without: {name} (" in warning
        assert warning.count(" (") == 1
    assert "Traceback" not in crawled.log
    assert crawled.stat("worker/crash_count") == 0
    assert crawled.stat("handshake/success_count") == origin.handshakes
    assert crawled.stat("connection/reused_count") > 0
    has_certificates = name != "lib.curl_easy_getinfo"
    assert {bool(r["certificate"]) for r in crawled.responses} == {has_certificates}
    if not has_certificates:
        assert crawled.stat("handshake/resumed_count") == 0
    info = next(r["meta"]["curl_safe_info"] for r in crawled.responses if r["number"] == 0)
    assert info["handshake_time"] > 0
    assert info["time_to_first_byte"] > 0
    assert info["wire_bytes_received"] > len(LARGE)
    if name == "lib._curl_easy_setopt":
        assert_no_post_on_an_open_connection(origin)


def assert_no_post_on_an_open_connection(origin: TlsOrigin) -> None:
    used: set[int] = set()
    for seen in origin.requests:
        assert seen.method != "POST" or seen.connection not in used
        used.add(seen.connection)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["lib._curl_easy_setopt", "lib.curl_easy_getinfo"])
@pytest.mark.parametrize("alpn", ["http/1.1", "h2"])
def test_a_streamed_crawl_without_a_name(
    crawl: RunCrawl, tmp_path: Path, name: str, alpn: str
) -> None:
    with TlsOrigin(site, alpn=(alpn,)) as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(8)),
            scenario=scenario_without(name, tmp_path, listen=True),
        )
    assert crawled.errors == []
    assert sorted(len(response["body"]) for response in crawled.responses) == [5] * 7 + [300_000]
    assert len(warnings_of(crawled)) == 1


@pytest.mark.processes
def test_authorities_of_the_environment_are_still_those_that_verify(
    crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path
) -> None:
    scenario = scenario_without("curl.DEFAULT_CACERT", tmp_path)
    for name, authorities, count in (
        ("SSL_CERT_FILE", str(certs().ca_pem), 1),
        ("SSL_CERT_FILE", os.devnull, 0),
        ("CURL_CA_BUNDLE", str(certs().ca_pem), 1),
    ):
        crawled = crawl(
            origin.url,
            env={"SSL_CERT_FILE": "", name: authorities},
            DOWNLOAD_VERIFY_CERTIFICATES=True,
            RETRY_ENABLED=False,
            scenario=scenario,
        )
        assert len(crawled.responses) == count


@pytest.mark.processes
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ffi", "cannot import name 'ffi'"),
        ("lib", "cannot import name 'lib'"),
        ("lib.curl_multi_socket_action", "its lib lacks curl_multi_socket_action"),
        ("CurlMOpt", "cannot import name 'CurlMOpt'"),
    ],
)
def test_a_crawl_that_no_worker_can_serve_says_why(
    crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path, name: str, reason: str
) -> None:
    crawled = crawl(*requests_for(origin), scenario=scenario_without(name, tmp_path))
    assert crawled.responses == []
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"
    assert f"no worker can use this curl_cffi: {reason}" in crawled.log
    assert "Traceback" not in crawled.log
    assert origin.accepted == 0


@pytest.mark.processes
def test_lookups_that_would_go_past_a_redirection_keep_workers_from_working(
    crawl: RunCrawl, origin: TlsOrigin, tmp_path: Path
) -> None:
    crawled = crawl(
        origin.url,
        env={"LOCALDOMAIN": "example"},
        scenario=scenario_without("lib._curl_easy_setopt", tmp_path),
    )
    assert crawled.stats["finish_reason"] == "curl_safe_no_worker"
    assert "redirects this program's name lookups" in crawled.log
    assert origin.accepted == 0

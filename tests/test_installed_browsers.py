"""Fingerprints that `curl-cffi update` has installed, and names that stand for others."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import curl_cffi
import pytest

from scrapy_curl_safe._crawl.installed_browsers import load_installed_browsers
from testkit.fixtures import RunCrawl
from testkit.origins.hello import parse_client_hello
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin

CIPHERS = {"TLS_AES_128_GCM_SHA256": 0x1301, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": 0xC02F}
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.0.0 "


needs_fingerprints = pytest.mark.skipif(
    not hasattr(curl_cffi, "Fingerprint"), reason="curl_cffi takes fingerprints since 0.16"
)


def fingerprint(version: int = 160, **fields: Any) -> dict[str, Any]:
    return {
        "tls_ciphers": list(CIPHERS),
        "headers": {
            "Host": "",
            "User-Agent": f"{AGENT % version}Safari/537.36",
            "Accept": "text/html,*/*;q=0.8",
            "Accept-Encoding": "gzip, deflate, br, zstd",
        },
        **fields,
    }


def install(directory: Path, **browsers: Any) -> dict[str, str]:
    """Write what `curl-cffi update` does, and return the environment that leads there."""
    directory.joinpath("fingerprints.json").write_text(json.dumps(browsers))
    return {"IMPERSONATE_CONFIG_DIR": str(directory)}


@pytest.mark.parametrize(
    ("variable", "below"),
    [
        ("IMPERSONATE_CONFIG_DIR", "."),
        ("XDG_CONFIG_HOME", "impersonate"),
        ("HOME", ".config/impersonate"),
    ],
)
def test_they_are_where_curl_cffi_looks_for_them(
    variable: str, below: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IMPERSONATE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    tmp_path.joinpath(below).mkdir(parents=True, exist_ok=True)
    assert load_installed_browsers() == {}
    install(tmp_path / below, one=fingerprint(), other="of no use")
    assert load_installed_browsers() == {"one": fingerprint()}


@pytest.mark.parametrize("content", ["{", "[]", '{"a": \x00}'])
def test_a_file_that_is_broken_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("IMPERSONATE_CONFIG_DIR", str(tmp_path))
    path = tmp_path / "fingerprints.json"
    path.write_text(content)
    with caplog.at_level(logging.WARNING):
        assert load_installed_browsers() == {}
    (record,) = caplog.records
    assert str(path) in record.message


@needs_fingerprints
@pytest.mark.processes
@pytest.mark.parametrize("mode", ["context", "static"])
def test_one_is_impersonated_by_its_name(crawl: RunCrawl, tmp_path: Path, mode: str) -> None:
    # A field that this curl_cffi does not know is for a later one.
    env = install(tmp_path, house=fingerprint(), other=fingerprint(161, tls_of_tomorrow=1))
    with TlsOrigin(alpn=("http/1.1",)) as origin:
        crawled = crawl(
            f"{origin.url}/1",
            {"url": f"{origin.url}/2", "meta": {"curl_safe": {"impersonate": "other"}}},
            env=env,
            CURL_SAFE_IMPERSONATE="house",
            CURL_SAFE_BROWSER_HEADERS=mode,
        )
        assert crawled.numbers == [0, 1], crawled.log
        for hello in map(parse_client_hello, origin.hellos):
            assert set(CIPHERS.values()) <= set(hello.ciphers)
            assert len(hello.ciphers) < 5
        seen = {request.path: request for request in origin.requests}
    for path, version in (("/1", 160), ("/2", 161)):
        assert AGENT.encode() % version in (seen[path].header("User-Agent") or b"")
        assert seen[path].header("Host") == origin.url.removeprefix("https://").encode()
    assert (seen["/1"].header("Sec-Fetch-Mode") is not None) == (mode == "context")


@needs_fingerprints
@pytest.mark.processes
def test_a_crawl_goes_by_what_was_there_when_it_began(crawl: RunCrawl, tmp_path: Path) -> None:
    env = install(tmp_path, house=fingerprint())

    def app(request: SeenRequest) -> Reply:
        install(tmp_path, house=fingerprint(200), chrome=fingerprint(200))
        return Reply()

    with TlsOrigin(app) as origin:
        requests = [f"{origin.url}/{number}" for number in range(4)]
        crawled = crawl(
            *requests,
            env=env,
            CURL_SAFE_IMPERSONATE="house",
            # Each page has a new worker.
            CURL_SAFE_WORKERS=1,
            CURL_SAFE_WORKER_MAX_REQUESTS=1,
            CONCURRENT_REQUESTS=1,
        )
        assert crawled.numbers == [0, 1, 2, 3], crawled.log
        agents = {request.header("User-Agent") for request in origin.requests}
    assert agents == {f"{AGENT % 160}Safari/537.36".encode()}
    assert crawled.stat("worker/start_count") > 1


@pytest.mark.processes
def test_curl_cffis_own_targets_go_first(crawl: RunCrawl, tmp_path: Path) -> None:
    env = install(tmp_path, chrome=fingerprint(200), firefox147=fingerprint(200))
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            {"url": f"{origin.url}/", "meta": {"curl_safe": {"impersonate": "firefox147"}}},
            env=env,
        )
        assert crawled.numbers == [0, 1], crawled.log
        agents = [request.header("User-Agent") or b"" for request in origin.requests]
    assert not any(b"Chrome/200" in agent for agent in agents)
    assert any(b"Firefox/147" in agent for agent in agents)


@pytest.mark.processes
def test_aliases_that_curl_cffi_does_not_list(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_IMPERSONATE="tor")
        assert crawled.numbers == [0], crawled.log
        (request,) = origin.requests
    assert b"Firefox/128" in (request.header("User-Agent") or b"")

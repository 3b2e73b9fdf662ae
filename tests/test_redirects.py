"""Redirections of the crawler's sockets and name lookups, which apply to its workers, too."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from scrapy_curl_safe._platform.redirects import redirecting_libraries, redirects_for_child
from scrapy_curl_safe._platform.resolver import resolver_state
from testkit.namespaces import can_isolate, run_isolated

needs_namespaces = pytest.mark.skipif(
    not can_isolate("true"), reason="no namespaces can be made here"
)
needs_proxychains = pytest.mark.skipif(
    shutil.which("proxychains4") is None, reason="proxychains4 is not installed"
)
needs_torsocks = pytest.mark.skipif(
    shutil.which("torsocks") is None, reason="torsocks is not installed"
)


@pytest.mark.processes
@needs_namespaces
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("proxychains", marks=needs_proxychains),
        pytest.param("refusal", marks=needs_proxychains),
        pytest.param("torsocks", marks=needs_torsocks),
        "variables",
        "named-proxy",
        "silence",
    ],
)
def test_a_crawl_that_is_redirected(kind: str) -> None:
    run_isolated("tests.redirected", kind)


def test_nothing_redirects_this_process() -> None:
    assert redirecting_libraries() == {}


def test_relative_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LD_PRELOAD", "lib/mine.so:libother.so /usr/lib/third.so")
    monkeypatch.setenv("HOSTALIASES", "aliases")
    monkeypatch.setenv("PROXYCHAINS_CONF_FILE", "chains.conf")
    monkeypatch.setenv("PROXYCHAINS_DNS", "1")
    monkeypatch.setenv("LOCALDOMAIN", "example.com")
    assert redirects_for_child() == {
        "LD_PRELOAD": f"{tmp_path}/lib/mine.so:libother.so:/usr/lib/third.so",
        "HOSTALIASES": f"{tmp_path}/aliases",
        "PROXYCHAINS_CONF_FILE": f"{tmp_path}/chains.conf",
        "PROXYCHAINS_DNS": "1",
        "LOCALDOMAIN": "example.com",
    }


def test_another_file_of_aliases_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases, newer = tmp_path / "aliases", tmp_path / "newer"
    aliases.write_text("site example.com")
    newer.write_text("site example.org")
    monkeypatch.setenv("HOSTALIASES", str(aliases))
    before = resolver_state()
    assert resolver_state() == before
    os.replace(newer, aliases)
    assert resolver_state() != before

"""The walk that `make browsers` takes, and the comparison of its results."""

from __future__ import annotations

import copy
import subprocess
import sys
import typing
from typing import Any

import curl_cffi
import pytest
from curl_cffi import CurlOpt

from benchmarks.contenders import OURS
from browsers import installed
from browsers.situations import SITUATIONS
from browsers.table import Column
from conformance.handlers import HANDLERS, TITLES
from testkit.crawling import ROOT
from testkit.fingerprints import describe_h2, describe_hello
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin
from testkit.recordings import load, newest, recording_differences
from tests.test_browser_headers import BROWSERS

#: The targets whose connections open as those of the recorded browsers.
TARGETS = dict(zip(BROWSERS, ("chrome152", "firefox153"), strict=True))


@pytest.mark.parametrize("browser", BROWSERS)
def test_the_situations_are_those_of_the_recordings(browser: str) -> None:
    recorded = {each["key"]: each for each in load(browser)["scenarios"]}
    assert {situation.key for situation in SITUATIONS} == set(recorded)
    for situation in SITUATIONS:
        scenario = recorded[situation.key]
        assert scenario["what"] == situation.what
        assert situation.url == f"{scenario['scheme']}://{scenario['host']}{scenario['path']}"
        if not situation.asked:
            assert situation.method == scenario["method"]


def test_the_recordings_are_of_the_newest_browsers() -> None:
    assert (newest("chromium"), newest("firefox")) == BROWSERS


@pytest.mark.parametrize("browser", BROWSERS)
def test_a_recording_is_equal_to_itself(browser: str) -> None:
    assert recording_differences(load(browser), load(browser)) == {}


def changed(key: str, **changes: Any) -> dict[str, Any]:
    """Return Chromium's recording with a change of one scenario."""
    recording = copy.deepcopy(load("chromium-156"))
    (scenario,) = (each for each in recording["scenarios"] if each["key"] == key)
    headers = [[name, changes.get(name, value)] for name, value in scenario["headers"]]
    scenario["headers"] = headers
    scenario.pop("h2_seen")
    if "swap" in changes:
        a, b = changes["swap"]
        headers[a], headers[b] = headers[b], headers[a]
    if "spelt" in changes:
        headers[0][0] = changes["spelt"]
    if "weight" in changes:
        scenario["h2"]["priority"]["weight"] = changes["weight"]
    return recording


@pytest.mark.parametrize(
    ("key", "changes", "difference"),
    [
        ("b-same", {"swap": (3, 4)}, "order"),
        ("d-cookies", {"swap": (13, 14)}, "cookie"),
        ("b-same", {"sec-fetch-site": "none"}, "sec-fetch-site: `none` for `same-origin`"),
        ("b-same", {"weight": 1}, "priority 1 exclusive for 256 exclusive"),
        ("j-b-same", {"spelt": "host"}, "case"),
        ("b-same", {"spelt": "x-more"}, "has x-more"),
        ("b-same", {"spelt": "x-more"}, "no sec-ch-ua"),
    ],
)
def test_recordings_differ(key: str, changes: dict[str, Any], difference: str) -> None:
    found = recording_differences(changed(key, **changes), load("chromium-156"))
    assert list(found) == [key]
    assert any(each.startswith(difference) for each in found[key]), found


def test_what_names_the_version_may_differ() -> None:
    other = changed("b-same", **{"user-agent": "another", "sec-ch-ua": "another"})
    assert recording_differences(other, load("chromium-156")) == {}


def test_an_urgency_that_was_seen_is_equal() -> None:
    """Of an image on the page both were recorded, depending on when its place was known."""
    assert recording_differences(changed("g-img.png", weight=183), load("chromium-156")) == {}
    found = recording_differences(changed("g-img.png", weight=1), load("chromium-156"))
    assert list(found) == ["g-img.png"]


def test_a_cell_says_what_differs_or_how_much() -> None:
    recording = load("chromium-156")
    sent = {each["key"]: each for each in changed("b-same", **{"accept": "*/*"})["scenarios"]}
    sent["d-cookies"] = {**sent["d-cookies"], "headers": sent["d-cookies"]["headers"][:1]}
    sent["e-get"] = {**sent["e-get"], "headers": sent["e-get"]["headers"][1:]}
    del sent["e-form"]
    column = Column("mine", recording, sent)
    cells = {each["key"]: column.cell(each) for each in recording["scenarios"]}
    assert cells.pop("b-same") == "1"
    assert cells.pop("d-cookies") == "14"
    assert cells.pop("e-get") == "no sec-ch-ua"
    assert cells.pop("e-form") == "not sent"
    assert set(cells.values()) == {"equal"}
    assert column.equal() == 42
    assert column.contradicting() >= 2


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.processes
def test_connections_open_as_the_browsers_do(crawl: RunCrawl, browser: str) -> None:
    if TARGETS[browser] not in typing.get_args(curl_cffi.BrowserTypeLiteral):
        pytest.skip("this curl_cffi cannot be that browser")
    recording = load(browser)
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        # (An address is not sent as server name.)
        url = f"https://localhost:{origin.port}/"
        crawled = crawl(url, CURL_SAFE_IMPERSONATE=TARGETS[browser])
        assert crawled.errors == []
        assert describe_hello(origin.hellos[0])["ja4"] == recording["tls"]["ja4"]
        assert describe_h2(origin.h2_openings[0]) == recording["http2"]


@pytest.mark.parametrize(("browser", "resumes"), [("chromium-156", True), ("firefox-153", False)])
@pytest.mark.processes
def test_no_connection_has_a_fingerprint_that_the_browser_never_has(
    crawl: RunCrawl, browser: str, resumes: bool
) -> None:
    """Chromium's connections resume as its own do. Firefox's would, but for one extension."""
    if TARGETS[browser] not in typing.get_args(curl_cffi.BrowserTypeLiteral):
        pytest.skip("this curl_cffi cannot be that browser")
    recording = load(browser)
    settings: dict[str, Any] = {
        "CURL_SAFE_IMPERSONATE": TARGETS[browser],
        "CURL_SAFE_WORKERS": 1,
        "CONCURRENT_REQUESTS": 1,
    }
    with TlsOrigin(alpn=("h2", "http/1.1"), requests_per_connection=1) as origin:
        crawled = crawl(*(f"https://localhost:{origin.port}/{n}" for n in range(3)), **settings)
        assert crawled.errors == []
        fingerprints = [describe_hello(hello)["ja4"] for hello in origin.hellos]
        assert origin.resumed == (2 if resumes else 0)
    first, resumed = recording["tls"]["ja4"], recording["tls_resumed"]["ja4"]
    assert first != resumed
    assert fingerprints == ([first, resumed, resumed] if resumes else [first] * 3)
    with TlsOrigin(alpn=("h2", "http/1.1")) as origin:
        crawled = crawl(*(f"https://localhost:{origin.port}/{n}" for n in range(20)), **settings)
        assert crawled.errors == []
        assert origin.handshakes == 1


@pytest.mark.parametrize(("client", "resumes"), [("chrome", True), ("firefox", False)])
@pytest.mark.processes
def test_a_fingerprint_resumes_as_its_browser_does(
    crawl: RunCrawl, client: str, resumes: bool
) -> None:
    with TlsOrigin(requests_per_connection=1) as origin:
        crawled = crawl(
            f"{origin.url}/0",
            f"{origin.url}/1",
            CURL_SAFE_IMPERSONATE={"client": client, "tls_session_ticket": True},
            CURL_SAFE_WORKERS=1,
            CONCURRENT_REQUESTS=1,
        )
        assert crawled.errors == []
        assert origin.resumed == int(resumes)


def test_the_table_is_of_these_situations_and_handlers() -> None:
    lines = (ROOT / "docs/browsers_table.md").read_text().splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "| " in line
    ]
    heads = [row[1:] for row in rows if row[0] == "situation"]
    assert [[title.rpartition(" ")[0] for title in head] for head in heads] == [
        [TITLES.get(name, name) for name in HANDLERS],
        [OURS],
    ]
    situations = [each.what.replace("<", "&lt;").replace(">", "&gt;") for each in SITUATIONS]
    assert [row[0] for row in rows if row[0] in situations] == situations * 2


@pytest.mark.skipif(
    not hasattr(CurlOpt, "HTTPHEADER_ORDER"), reason="this curl_cffi can give no order"
)
@pytest.mark.processes
def test_a_walk_gets_into_every_situation() -> None:
    command = ["--stored", "--dry-run", "--handlers", "scrapy-curl-safe"]
    done = subprocess.run(
        [sys.executable, "-m", "browsers", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert "not sent" not in done.stdout
    assert done.stdout.count("| **equal, of 46** | 46 |") == 1
    assert done.stdout.count("| **contradict themselves** | 0 |") == 2


def test_what_cannot_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "PACKAGES", {"no-such-program": "no-such-package"})
    monkeypatch.setenv("PATH", "")
    with pytest.raises(installed.InstallError, match=r"no-such-package.* apt-get install"):
        installed.install()

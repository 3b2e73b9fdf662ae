"""The names and figures in the documentation are those of the code and of the runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from curl_cffi import CurlECode
from curl_cffi.__version__ import __version__ as curl_cffi_version

from scrapy_curl_safe._crawl.meta import CHECKS
from scrapy_curl_safe._crawl.response import info_of
from scrapy_curl_safe._ipc.messages import TransferStats
from scrapy_curl_safe.commands.probe.verdict import Verdict
from testkit.crawling import ROOT
from testkit.pages import PAGES


@pytest.mark.processes
def test_the_reference_is_that_of_the_code() -> None:
    run_generator = [sys.executable, "-c", "import reference; print(reference.reference(), end='')"]
    written = subprocess.run(
        run_generator, cwd=ROOT / "docs", capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/reference.md").read_text() == written, "make reference"


@pytest.mark.processes
@pytest.mark.skipif(
    curl_cffi_version < "0.17", reason="the page has the codes of the newest libcurl"
)
def test_the_page_about_libcurls_codes_is_that_of_the_code() -> None:
    run_generator = [sys.executable, "-c", "import curl_codes; print(curl_codes.page(), end='')"]
    written = subprocess.run(
        run_generator, cwd=ROOT / "docs", capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/curl_codes.md").read_text() == written, "make reference"


@pytest.mark.processes
def test_every_code_of_libcurl_is_on_the_page_about_them() -> None:
    """Whatever the version of curl_cffi."""
    ask = "import curl_codes as c; print(*{m.code for m in c.MEANINGS} | {*c.OTHERWISE} | c.NEVER)"
    known = subprocess.run(
        [sys.executable, "-c", ask], cwd=ROOT / "docs", capture_output=True, text=True, check=True
    ).stdout.split()
    codes = {code.name for code in CurlECode if not code.name.startswith("OBSOLETE")}
    assert codes <= set(known)


@pytest.mark.processes
def test_the_picture_of_the_modules_is_that_of_the_code() -> None:
    draw = [sys.executable, "-c", "import architecture; print(architecture.drawing(), end='')"]
    drawn = subprocess.run(
        draw, cwd=ROOT / "docs", capture_output=True, text=True, check=True
    ).stdout
    assert (ROOT / "docs/architecture.dot").read_text() == drawn, "make reference"
    svg = (ROOT / "docs/architecture.svg").read_text()
    edges = [line.strip(' ;"').replace('"', "") for line in drawn.splitlines() if " -> " in line]
    titles = re.findall(r"<title>(.*?)</title>", svg)
    assert {title.replace("&#45;&gt;", " -> ") for title in titles} >= set(edges), "make reference"


def rows_of_the_reference(title: str) -> Any:
    section = (ROOT / "docs/reference.md").read_text().partition(f"## {title}\n")[2]
    names = re.findall(r"^(?:\||###) `([^`]+)`", section.partition("\n## ")[0], re.MULTILINE)
    assert len(names) > 5
    return names


def test_each_setting_and_key_has_an_anchor() -> None:
    """A heading of its own, from whose text Sphinx and GitHub make the same anchor."""
    page = (ROOT / "docs/reference.md").read_text()
    anchors = re.findall(r"^### `(\w+)`$", page, re.MULTILINE)
    code = (ROOT / "scrapy_curl_safe/settings.py").read_text()
    settings = set(re.findall(r'\bread\.\w+\("(CURL_SAFE_\w+)"', code))
    info = set(info_of(TransferStats(), 0, 1))
    assert {*anchors} == settings | set(CHECKS) | info
    assert len(anchors) == len(settings) + len(CHECKS) + len(info)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_and_stat_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text()
    settings = set(re.findall(r"\bCURL_SAFE_[A-Z_]+\b", text))
    assert settings - set(rows_of_the_reference("Settings")) == set()
    stats = "|".join(re.escape(name) for name in rows_of_the_reference("Stats"))
    known = re.compile(
        stats.replace(re.escape("{kind}"), r"(\{kind\}|\w+)").replace(re.escape("{cause}"), r"\w+")
    )
    named = re.findall(r"\bcurl_safe/([\w/{}]+)", text)
    assert [name for name in named if not known.fullmatch(name)] == []


def test_the_metrics_of_the_guide_are_those_of_the_dashboard() -> None:
    """And those are what a crawl serves: see `test_prometheus.py`."""
    guide = (ROOT / "docs/monitoring.md").read_text()
    documented = re.findall(r"^\| `(curl_safe_\w+)` \|", guide, re.MULTILINE)
    shown = re.findall(r"\bcurl_safe_\w+", (ROOT / "docs/grafana.json").read_text())
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == set(documented)
    assert len(documented) == len(set(documented))


def test_the_glossary_is_sorted_and_defines_each_term_once() -> None:
    terms = re.findall(r"^## (.+)", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)


def test_every_verdict_of_the_probe_is_explained() -> None:
    page = (ROOT / "docs/diagnose.md").read_text()
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert {verdict.value for verdict in Verdict} == set(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []

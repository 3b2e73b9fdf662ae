"""The names and figures in the documentation are those of the code and of the runs."""

from __future__ import annotations

import html
import inspect
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scrapy
from curl_cffi import CurlECode
from curl_cffi.__version__ import __version__ as curl_cffi_version
from scrapy.settings import BaseSettings

from scrapy_curl_safe._crawl.meta import CHECKS
from scrapy_curl_safe._crawl.response import info_of
from scrapy_curl_safe.commands.probe.verdict import Verdict
from scrapy_curl_safe.settings import Settings
from testkit.crawling import ROOT
from testkit.pages import PAGES, blocks_of


def printed(code: str) -> str:
    """Run Python code beside the generators of the documentation; return its output."""
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT / "docs", capture_output=True, text=True, check=True)
    return run.stdout


@pytest.mark.processes
def test_the_reference_is_that_of_the_code() -> None:
    written = printed("import reference; print(reference.reference(), end='')")
    assert (ROOT / "docs/reference.md").read_text() == written, "make reference"


@pytest.mark.processes
@pytest.mark.skipif(
    curl_cffi_version < "0.17", reason="the page has the codes of the newest libcurl"
)
def test_the_page_about_libcurls_codes_is_that_of_the_code() -> None:
    written = printed("import curl_codes; print(curl_codes.page(), end='')")
    assert (ROOT / "docs/curl_codes.md").read_text() == written, "make reference"


@pytest.mark.processes
def test_every_code_of_libcurl_is_on_the_page_about_them() -> None:
    """Whatever the version of curl_cffi."""
    ask = "import curl_codes as c; print(*{m.code for m in c.MEANINGS} | {*c.OTHERWISE} | c.NEVER)"
    known = printed(ask).split()
    codes = {code.name for code in CurlECode if not code.name.startswith("OBSOLETE")}
    assert codes <= set(known)


@pytest.mark.processes
def test_the_picture_of_the_modules_is_that_of_the_code() -> None:
    drawn = printed("import architecture; print(architecture.drawing(), end='')")
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
    info = re.findall(r"^ {4}(\w+): ", inspect.getdoc(info_of) or "", re.MULTILINE)
    assert len(info) > 6
    assert sorted(anchors) == sorted([*settings, *CHECKS, *info])


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


# Figures


def rows(page: str, title: str) -> list[list[str]]:
    """Return the rows of the first table behind a title, without its head."""
    behind = (ROOT / page).read_text().partition(title)[2].splitlines()
    start = next(number for number, line in enumerate(behind) if line.startswith("| --"))
    table = itertools.takewhile(lambda line: line.startswith("|"), behind[start + 1 :])
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def by_handler(page: str, title: str, column: int) -> tuple[float, list[float]]:
    """Return this package's figure, and the others' without Scrapy's ceiling."""
    figures = {row[0]: float(row[column]) for row in rows(page, title) if row[column] != "-"}
    (ours,) = (figures.pop(name) for name in list(figures) if name.startswith("scrapy-curl-safe"))
    figures.pop("ceiling", None)
    return ours, list(figures.values())


RESULTS = "benchmarks/RESULTS.md"


@pytest.mark.parametrize("page", ["README.md", "docs/when.md"])
def test_the_figures_are_those_of_the_benchmarks(page: str) -> None:
    text = " ".join((ROOT / page).read_text().split())
    ours, others = by_handler(RESULTS, "1 kB, a new TLS handshake", 1)
    assert f"{ours:,.0f} pages a second" in text
    assert re.search(rf"against {max(others):.0f} \w+ the fastest of five other handlers", text)
    assert len(others) == 5
    ours, others = by_handler(RESULTS, "one at a time, median latency", 1)
    assert re.search(rf"{ours:.2f} ms (against|instead of) {min(others):.2f}", text)
    ours, others = by_handler("docs/benchmarks.md", "Pages lost", 1)
    assert ours == 0
    assert "2,000 pages" in text


def test_the_page_about_when_has_the_figures_of_the_runs() -> None:
    text = " ".join((ROOT / "docs/when.md").read_text().replace("\n> ", "\n").split())
    table = {row[0]: row[1:] for row in rows("docs/browsers_table.md", "## Chromium")}
    ours, *others = map(int, table["**equal, of 46**"])
    assert f"of 46 situations recorded with a real Chromium it sends {ours} exactly so" in text
    assert f"no other handler more than {max(others)}" in text
    _, others_lost = by_handler("docs/benchmarks.md", "Pages lost", 1)
    assert f"the others {min(others_lost):.0f} to {max(others_lost):.0f}" in text
    ours_mb, others_mb = by_handler("docs/benchmarks.md", "Pages lost", 3)
    assert f"{ours_mb:.0f} MB instead of {others_mb[0]:.0f}" in text
    counts = rows("docs/conformance.md", "| | ")[-1]
    ours, _, *impersonating = map(int, counts[1:])
    assert f"Of {counts[0].strip('*').partition(' ')[0]} such behaviours it has {ours}" in text
    assert f"{min(impersonating)} to {max(impersonating)} (" in text
    in_flight = {row[0]: row[3] for row in rows(RESULTS, "5,000 in flight at once, HTTP/2")}
    here, there = in_flight["scrapy-curl-safe"], in_flight["scrapy-curl"]
    assert f"take {here} MB over HTTP/2, and {there} in scrapy-curl's" in text


def test_the_readme_counts_as_the_table_of_browsers() -> None:
    text = " ".join((ROOT / "README.md").read_text().split())
    chromium, firefox = (
        next(row[1] for row in rows("docs/browsers_table.md", title) if "equal, of 46" in row[0])
        for title in ("## Chromium", "## Firefox")
    )
    assert f"in {chromium} of [46 recorded situations]" in text
    assert f"to the real Firefox in {firefox}." in text


# Samples

# Of libcurl and Scrapy.
FOREIGN = {"abruptly", "brotli", "libidn", "nghttp", "ngtcp", "zlib"} | {
    "AsyncioSelectorReactor",
    "asyncioreactor",
}


def samples() -> str:
    pages = [ROOT / "README.md", ROOT / "docs/monitoring.md", ROOT / "docs/versions.md"]
    texts = [block.text for page in pages for block in blocks_of(page) if block.language == "text"]
    for picture in ("doctor", "probe"):
        svg = (ROOT / f"docs/{picture}.svg").read_text()
        texts += map(html.unescape, re.findall(r"<text[^>]*>(.*?)</text>", svg))
    return "\n".join(texts)


def test_samples_and_pictures_have_only_words_of_the_code() -> None:
    """Others are from before a change: `make samples`, `make pictures`."""
    sources = [
        path.read_text()
        for directory in ("scrapy_curl_safe", "example_project")
        for path in (ROOT / directory).rglob("*.py")
    ]
    code = "\n".join(sources)
    words = set(re.findall(r"[A-Za-z]{3,}", samples()))
    assert len(words) > 100
    assert {word for word in words if word not in code} <= FOREIGN


def test_a_default_in_brackets_is_that_of_the_code() -> None:
    defaults = Settings.load(BaseSettings())
    found = 0
    for page in PAGES:
        for name, value, percent in re.findall(
            r"`CURL_SAFE_([A-Z_]+)`(?: seconds)? \(([\d.]+)( %)?\)", page.read_text()
        ):
            default = getattr(defaults, name.lower())
            assert float(value) == default * (100 if percent else 1), f"{page}: {name}"
            found += 1
    assert found >= 3


def test_a_new_project_of_scrapy_has_what_the_pages_say() -> None:
    template = Path(scrapy.__file__).parent / "templates/project/module/settings.py.tmpl"
    lines = template.read_text().splitlines()
    for page, setting in (
        ("index", "ADDONS = {}"),
        ("tuning", "CONCURRENT_REQUESTS_PER_DOMAIN = 1"),
        ("tuning", "DOWNLOAD_DELAY = 1"),
    ):
        assert f"`{setting}`" in (ROOT / f"docs/{page}.md").read_text()
        assert setting in lines

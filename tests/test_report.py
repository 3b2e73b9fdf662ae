"""Reports of real crawls, as a browser shows them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scrapy_curl_safe._crawl.report.data import ReportData
from testkit.chromium import CHROMIUM, Chromium
from testkit.crawling import Crawled, urls
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.messages import Reply
from testkit.origins.proxies import Proxy
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Scenario
from tests.test_report_parts import report

# Browsers take long to start on a machine that is busy.
pytestmark = [pytest.mark.processes, pytest.mark.timeout(900)]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

MOST_BYTES = 3_000_000
PAGES = 60


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    home = tmp_path / "chromium"
    home.mkdir()
    with Chromium(home) as browser:
        yield browser


def show(browser: Chromium, page: Path) -> None:
    """Open a page, and wait for its plots."""
    browser.open(page)
    browser.wait_for(
        "document.querySelectorAll('figure svg').length"
        " == document.querySelectorAll('figure').length"
    )


def cells(browser: Chromium, table: str) -> list[list[str]]:
    """Return the rows of a table as a screen reader finds them, its headings first."""
    rows: list[list[str]] = browser.run(
        f"[...document.querySelectorAll('#{table} tr')]"
        ".map(row => [...row.cells].map(cell => cell.textContent))"
    )
    return rows


def flaky_crawl(crawl: RunCrawl, path: Path, **settings: Any) -> tuple[Crawled, TlsOrigin]:
    with TlsOrigin(drop=0.3, requests_per_connection=2) as origin:
        crawled = crawl(*urls(origin, PAGES), CURL_SAFE_REPORT=str(path), **settings)
    assert crawled.numbers == list(range(PAGES))
    assert origin.dropped > 0
    return crawled, origin


def written_to(path: Path) -> ReportData:
    return ReportData.from_json(path.read_bytes())


@needs_chromium
def test_a_page_shows_what_the_stats_say(
    crawl: RunCrawl, tmp_path: Path, browser: Chromium
) -> None:
    page = tmp_path / "reports" / "health.html"
    crawled, origin = flaky_crawl(crawl, page)
    assert f"INFO: The report of the crawl is in {page}" in crawled.log
    assert page.stat().st_size < MOST_BYTES
    show(browser, page)
    assert browser.complaints == []
    # Nothing but itself.
    assert set(browser.requests) == {page.as_uri()}
    drawn = browser.run("[...document.querySelectorAll('figure')].map(f => f.id)")
    assert {"chart-pages", "chart-handshakes", "chart-failed", "chart-times"} <= set(drawn)
    marks = "document.querySelectorAll('#chart-failed .mark-rect path').length"
    assert browser.run(marks) > 0

    shown = dict(cells(browser, "stats")[1:])
    ours = {
        key: value
        for key, value in crawled.stats.items()
        if key.startswith(("curl_safe/", "retry/"))
    }
    # Drawing the page may have blocked the loop after that. A short crawl has not looked.
    lag = "curl_safe/loop_lag_max"
    assert ours.pop(lag, 0.0) >= float(shown.pop(lag, 0.0))
    # (The page has six digits.)
    assert {key: float(value) for key, value in shown.items()} == pytest.approx(ours, rel=1e-5)

    head, *rows = cells(browser, "course")
    totals = {name: sum(int(row[n]) for row in rows) for n, name in enumerate(head) if 0 < n < 5}
    failed = crawled.stat("handshake/failure_count")
    assert totals == {
        "pages": crawled.stat("response_count"),
        "handshakes done": crawled.stat("handshake/success_count"),
        "failed: syscall": failed,
        "retries": crawled.stats["retry/count"],
    }
    ((named, _, done, lost, *_),) = cells(browser, "origins")[1:]
    assert (named, int(done), int(lost)) == (
        origin.url,
        crawled.stat("handshake/success_count"),
        failed,
    )
    assert len(cells(browser, "workers")) == 1 + crawled.stat("worker/start_count")
    times = sum(int(count) for _, count in cells(browser, "handshake-times")[1:])
    assert times == crawled.stat("handshake/success_count")
    tiles = browser.run("[...document.querySelectorAll('dd')].map(each => each.textContent)")
    assert tiles[0] == str(crawled.stat("response_count"))
    assert tiles[2].split()[0] == str(failed)


@needs_chromium
def test_a_page_on_a_phone_in_the_dark_by_keyboard(tmp_path: Path, browser: Chromium) -> None:
    (tmp_path / "data.json").write_bytes(report().to_json())
    page = tmp_path / "page.html"
    convert("data.json", "-o", "page.html", cwd=tmp_path)
    papers = []
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.resize(390, mobile=True)
        show(browser, page)
        # Nothing sticks out.
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert browser.run(
            "[...document.querySelectorAll('figure svg')]"
            ".every(plot => plot.getBoundingClientRect().right <= 390)"
        )
        papers.append(browser.run("getComputedStyle(document.body).backgroundColor"))
        # The plots follow the scheme.
        bar = "document.querySelector('#chart-pages .mark-rect path')"
        papers.append(browser.run(f"getComputedStyle({bar}).fill"))
        texts = "document.querySelector('#chart-pages .role-axis-label text')"
        papers.append(browser.run(f"getComputedStyle({texts}).fill"))
    assert len(set(papers)) == 6
    # Every control is reached, and the folded numbers are opened.
    wanted = browser.run("document.querySelectorAll('a, summary, button, pre').length")
    reached = set()
    for _ in range(3 * wanted):
        browser.press("Tab", 9)
        name = "document.activeElement"
        reached.add(browser.run(f"{name}.tagName + {name}.textContent"))
        if browser.run(f"{name}.tagName") == "SUMMARY" and not browser.run(
            f"{name}.parentElement.open"
        ):
            browser.press("Enter", 13)
    assert browser.run("[...document.querySelectorAll('details')].every(each => each.open)")
    for tag in ("A", "SUMMARY", "BUTTON", "PRE", "DIV"):
        assert any(name.startswith(tag) for name in reached), tag
    assert browser.complaints == []


@needs_chromium
def test_names_are_no_html(tmp_path: Path, browser: Chromium) -> None:
    bad = "</script><script>document.title = 'taken'</script>"
    data = report(spider=bad, finish_reason=bad)
    data.workers[0].why = data.origins[0].origin = data.advice[0].settings = bad
    (tmp_path / "data.json").write_bytes(data.to_json())
    convert("data.json", "-o", "page.html", cwd=tmp_path)
    show(browser, tmp_path / "page.html")
    assert browser.run("document.title") == f"Crawl of {bad}"
    assert cells(browser, "workers")[1][5] == bad
    assert browser.complaints == []


def test_no_secret_is_in_it(crawl: RunCrawl, tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    drops = iter([True] * 4)
    with (
        Proxy("user", "s3cret") as proxy,
        TlsOrigin(lambda request: Reply(body=b"x"), drop=lambda n: next(drops, False)) as origin,
    ):
        by = {"proxy": f"http://user:s3cret@{proxy.location}"}
        crawled = crawl(
            *({"url": f"{url}?token=t0ken", "meta": by} for url in urls(origin, 8)),
            CURL_SAFE_REPORT=str(path),
        )
    assert len(crawled.responses) == 8
    data = written_to(path)
    (health,) = data.proxies
    assert (health.proxy, health.failed) == (f"http://{proxy.location}", {"syscall": 4})
    assert data.origins[0].proxy == health.proxy
    text = path.read_text()
    assert "s3cret" not in text
    assert "t0ken" not in text
    convert("health.json", "-o", "health.html", cwd=tmp_path)
    page = (tmp_path / "health.html").read_text()
    assert f"http://{proxy.location}" in page
    assert "s3cret" not in page


def test_workers_lives(start_crawl: StartCrawl, tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    with TlsOrigin(delay=0.05) as origin:
        crawl = start_crawl(
            *urls(origin, 200),
            CURL_SAFE_WORKERS=1,
            CURL_SAFE_WORKER_MAX_REQUESTS=80,
            CURL_SAFE_REPORT=str(path),
            CONCURRENT_REQUESTS=4,
        )
        crawl.wait_for(lambda: len(origin.requests) >= 10)
        killed = crawl.workers()[0]
        os.kill(killed, signal.SIGKILL)
        crawled = crawl.finish()
    assert crawled.numbers == list(range(200))
    data = written_to(path)
    lives = data.workers
    assert len(lives) == crawled.stat("worker/start_count")
    (died,) = [life for life in lives if life.how == "died"]
    assert (died.pid, died.why) == (killed, "SIGKILL")
    recycled = [life for life in lives if life.how == "recycled"]
    assert recycled
    assert all(life.why.startswith("it has served ") for life in recycled)
    # What the worker that died had not been sent yet was given to another one.
    assert sum(life.served for life in lives) >= crawled.stat("request_count")
    assert {life.how for life in lives if life.end is None} == {""}
    (advice,) = [each for each in data.advice if each.about == "Workers"]
    assert "1 worker died (SIGKILL)" in advice.text


def test_a_busy_crawler_is_named(crawl: RunCrawl, tmp_path: Path) -> None:
    path = tmp_path / "health.json"
    with TlsOrigin() as origin:
        crawl(
            *urls(origin, 4),
            scenario=Scenario(burn_seconds=1.5),
            CURL_SAFE_REPORT=str(path),
        )
    (advice,) = [each for each in written_to(path).advice if each.about == "The crawler itself"]
    assert "event loop was blocked for up to" in advice.text


@pytest.mark.parametrize("way", ["epoll", "none"])
def test_data_on_other_loops(crawl: RunCrawl, tmp_path: Path, way: Any) -> None:
    path = tmp_path / "health.json"
    crawled, _ = flaky_crawl(crawl, path, way=way)
    data = written_to(path)
    assert sum(point.pages for point in data.points) == PAGES
    assert data.stats["curl_safe/response_count"] == PAGES
    assert data.finish_reason == "finished" == crawled.stats["finish_reason"]
    assert json.loads(path.read_text())["format"] == "scrapy-curl-safe report 1"


# What goes wrong

BROKEN = "raise ImportError('it is not here')"


def test_without_the_package_a_crawl_does_not_start(crawl: RunCrawl, tmp_path: Path) -> None:
    (tmp_path / "vl_convert.py").write_text(BROKEN)
    page, data = tmp_path / "health.html", tmp_path / "health.json"
    env = {"PYTHONPATH": str(tmp_path)}
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, env=env, CURL_SAFE_REPORT=str(page))
        assert origin.accepted == 0
        assert crawled.exit_code == 1
        assert (
            f"ValueError: CURL_SAFE_REPORT is {str(page)!r}: it takes the package "
            "vl-convert-python, which is not there (pip install scrapy-curl-safe[report]), or a "
            "path that ends in .json: it is not here"
        ) in crawled.log
        assert "Spider opened" not in crawled.log
        # Data are written without it.
        assert crawl(origin.url, env=env, CURL_SAFE_REPORT=str(data)).exit_code == 0
    assert written_to(data).finish_reason == "finished"


def test_nor_with_a_path_that_cannot_be_written(crawl: RunCrawl, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "health.json"
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_REPORT=str(path))
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    assert (
        f"ValueError: CURL_SAFE_REPORT is {str(path)!r}: it takes the path of a file that can be "
        "written: "
    ) in crawled.log


def test_without_the_setting_nothing_happens(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_REPORT=None)
    assert "HealthReport" not in crawled.log
    assert "The report of the crawl" not in crawled.log


# The command


def convert(*arguments: str, cwd: Path, status: int = 0, **env: str) -> str:
    command = [sys.executable, "-m", "scrapy", "curlsafe", "report", *arguments]
    run = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout + run.stderr
    return run.stdout + run.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("data.json",), "report takes -o with the file to write the page to"),
        (("missing.json", "-o", "page.html"), "No such file or directory: 'missing.json'"),
        (("other.json", "-o", "page.html"), "other.json has no data of a report: "),
        (("data.json", "-o", "no/page.html"), "No such file or directory: 'no/page.html.part'"),
    ],
)
def test_a_command_that_cannot_be(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    (tmp_path / "data.json").write_bytes(report().to_json())
    (tmp_path / "other.json").write_text("{}")
    assert says in convert(*arguments, cwd=tmp_path, status=2)
    assert not (tmp_path / "page.html").exists()


def test_a_command_without_the_package(tmp_path: Path) -> None:
    (tmp_path / "vl_convert.py").write_text(BROKEN)
    said = convert("a.json", "-o", "a.html", cwd=tmp_path, status=2, PYTHONPATH=str(tmp_path))
    assert re.search(
        r"draws with vl-convert-python: pip install 'scrapy-curl-safe\[report\]'", said
    )

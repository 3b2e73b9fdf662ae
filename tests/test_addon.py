"""The add-on: one line enables everything, the user's settings win, and each part works alone."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from curl_cffi import Curl
from scrapy.downloadermiddlewares import httpcompression as scrapys
from scrapy.settings import Settings
from scrapy.utils.misc import load_object

import scrapy_curl_safe
from scrapy_curl_safe import (
    Addon,
    CurlSafeDownloadHandler,
    HandshakeMonitor,
    HandshakeRetryMiddleware,
    HttpCompressionMiddleware,
)
from scrapy_curl_safe._version import __version__
from scrapy_curl_safe._worker.curl_api import ALIASES
from scrapy_curl_safe._worker.targets import CURL_CFFI_VERSION
from scrapy_curl_safe.monitor import LastReport
from testkit.crawling import ROOT, Crawled
from testkit.fixtures import RunCrawl
from testkit.origins import faults
from testkit.origins.tls import TlsOrigin
from testkit.pages import blocks_of

HANDLER = "scrapy_curl_safe.CurlSafeDownloadHandler"
SCRAPYS = "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler"


def updated(**values: Any) -> Settings:
    settings = Settings()
    settings.setdict(values, priority="project")
    Addon().update_settings(settings)
    return settings


def test_one_line_turns_all_on() -> None:
    settings = updated()
    handlers = settings.getwithbase("DOWNLOAD_HANDLERS")
    assert handlers["http"] is handlers["https"] is CurlSafeDownloadHandler
    assert handlers["ftp"].endswith("FTPDownloadHandler")
    assert settings.getdict("DOWNLOADER_MIDDLEWARES")[HandshakeRetryMiddleware] == 560
    assert settings.getdict("EXTENSIONS")[HandshakeMonitor] == 0
    assert settings.getdict("ITEM_PIPELINES") == {LastReport: 1_000_000}


def test_the_settings_in_its_place_are_those_that_it_makes() -> None:
    (text,) = (b.text for b in blocks_of(ROOT / "docs/index.md") if "DOWNLOAD_HANDLERS" in b.text)
    written: dict[str, Any] = {}
    exec(text, written)
    del written["__builtins__"]
    default, by_hand, by_addon = Settings(), Settings(), updated()
    by_hand.setdict(written, "project")
    changed = [name for name in by_addon if in_effect(by_addon, name) != in_effect(default, name)]
    assert sorted(changed) == sorted(written)
    for name in written:
        assert in_effect(by_hand, name) == in_effect(by_addon, name)


def in_effect(settings: Settings, name: str) -> object:
    """Return the value of a setting; of components those that are on."""
    value = settings[name]
    if f"{name}_BASE" not in settings:
        return value
    pairs = settings.getwithbase(name).items()
    return {_loaded(key): _loaded(each) for key, each in pairs if each is not None}


def _loaded(component: object) -> object:
    return load_object(component) if isinstance(component, str) and "." in component else component


@pytest.mark.parametrize("value", [{"http": SCRAPYS}, f'{{"http": "{SCRAPYS}"}}'])
def test_a_handler_that_the_user_set_stays(value: object) -> None:
    handlers = updated(DOWNLOAD_HANDLERS=value).getwithbase("DOWNLOAD_HANDLERS")
    assert handlers["http"] == SCRAPYS
    assert handlers["https"] is CurlSafeDownloadHandler


class OtherAddon:
    """An add-on that sets its own handler, as scrapy-zyte-api's does: in place."""

    def update_settings(self, settings: Settings) -> None:
        settings["DOWNLOAD_HANDLERS"]["https"] = SCRAPYS


def updated_after_another(**values: Any) -> Settings:
    settings = Settings()
    settings.setdict({"ADDONS": {OtherAddon: 400, Addon: 500}, **values}, priority="project")
    OtherAddon().update_settings(settings)
    Addon().update_settings(settings)
    return settings


def test_a_handler_that_another_add_on_has_set_is_an_error() -> None:
    with pytest.raises(ValueError, match=f"{SCRAPYS} for https already: give scrapy_curl_safe"):
        updated_after_another()


def test_a_handler_that_is_the_users_or_of_another_add_on_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers = updated_after_another(DOWNLOAD_HANDLERS={"ftp": None}).getdict("DOWNLOAD_HANDLERS")
    assert handlers["https"] == SCRAPYS
    assert handlers["http"] is CurlSafeDownloadHandler
    assert "https requests do not go through the workers: " in caplog.text
    assert (
        f"DOWNLOAD_HANDLERS has {SCRAPYS} for https, set in the project's settings" in caplog.text
    )
    assert "take it out, or give scrapy_curl_safe.Addon a lower order in ADDONS" in caplog.text


@pytest.mark.parametrize(
    ("priority", "where"),
    [
        ("project", "in the project's settings"),
        ("spider", "in the spider's custom_settings"),
        ("cmdline", "on the command line"),
        ("addon", "by an add-on"),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_another_handler_is_a_warning_that_says_where_it_was_set(
    caplog: pytest.LogCaptureFixture, priority: str, where: str, as_text: bool
) -> None:
    handlers = {"https": SCRAPYS, "http": None}
    settings = Settings()
    settings.set("DOWNLOAD_HANDLERS", json.dumps(handlers) if as_text else handlers, priority)
    Addon().update_settings(settings)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        f"https requests do not go through the workers: DOWNLOAD_HANDLERS has {SCRAPYS} for "
        f"https, set {where}. If that is not what you want, take it out"
    )


def start_lines(crawled: Crawled) -> list[str]:
    return [line for line in crawled.log.splitlines() if " INFO: scrapy-curl-safe " in line]


def test_one_line_says_that_it_is_on(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_WORKERS=2)
    (line,) = start_lines(crawled)
    _, _, line = line.partition(" INFO: ")
    libcurl = Curl().version().decode().partition(" ")[0].replace("/", " ")
    target = ALIASES["chrome"]
    assert line.startswith(
        f"scrapy-curl-safe {__version__} is on: http and https go through 2 workers as chrome "
        f"({target}"
    )
    assert line.endswith(f"), with curl_cffi {CURL_CFFI_VERSION} and {libcurl}")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"CURL_SAFE_IMPERSONATE": None, "CURL_SAFE_WORKERS": 1}, "1 worker as plain curl, with"),
        ({"ADDONS": {}, "DOWNLOAD_HANDLERS": {"https": HANDLER}}, "is on: https goes through "),
    ],
)
def test_the_line_says_what_there_is(crawl: RunCrawl, settings: dict[str, Any], says: str) -> None:
    with TlsOrigin() as origin:
        (line,) = start_lines(crawl(origin.url, **settings))
    assert says in line


def test_no_worker_starts_for_nothing(crawl: RunCrawl) -> None:
    with TlsOrigin() as tls, TlsOrigin(tls=False) as plain:
        elsewhere = {"https": SCRAPYS}
        without = crawl(tls.url, DOWNLOAD_HANDLERS=elsewhere)
        with_some = crawl(tls.url, plain.url, DOWNLOAD_HANDLERS=elsewhere)
    assert without.numbers == [0]
    assert without.stat("worker/start_count") == 0
    assert "WARNING: https requests do not go through the workers" in without.log
    assert start_lines(without) == []
    assert with_some.numbers == [0, 1]
    assert with_some.stat("worker/start_count") > 0
    assert "is on: http goes through " in start_lines(with_some)[0]


@pytest.mark.parametrize("handler", [HANDLER, "testkit.components.LazyHandler", None])
def test_nothing_is_said_of_this_handler_or_of_none(
    caplog: pytest.LogCaptureFixture, handler: str | None
) -> None:
    settings = Settings()
    values = {"ADDONS": {OtherAddon: 400, Addon: 500}, "DOWNLOAD_HANDLERS": {"https": handler}}
    settings.setdict(values, priority="project")
    Addon().update_settings(settings)
    assert settings.getdict("DOWNLOAD_HANDLERS")["https"] == handler
    assert caplog.text == ""


@pytest.mark.parametrize(
    "name", [HandshakeRetryMiddleware, "scrapy_curl_safe.HandshakeRetryMiddleware"]
)
@pytest.mark.parametrize("order", [42, None])
def test_an_order_or_none_of_the_middleware_stays(name: object, order: int | None) -> None:
    settings = updated(DOWNLOADER_MIDDLEWARES={name: order}, CURL_SAFE_DECODE=False)
    assert settings.getdict("DOWNLOADER_MIDDLEWARES") == {name: order}


SCRAPYS_COMPRESSION = "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware"


def test_compression_has_its_place_of_scrapys() -> None:
    middlewares = updated().getdict("DOWNLOADER_MIDDLEWARES")
    assert middlewares[HttpCompressionMiddleware] == 590
    assert middlewares[SCRAPYS_COMPRESSION] is None


class OtherCompression(scrapys.HttpCompressionMiddleware):
    """A user's own."""


@pytest.mark.parametrize(
    "values",
    [
        {"CURL_SAFE_DECODE": False},
        {"COMPRESSION_ENABLED": False},
        {"DOWNLOADER_MIDDLEWARES": {SCRAPYS_COMPRESSION: None}},
        {"DOWNLOADER_MIDDLEWARES": {SCRAPYS_COMPRESSION: 42}},
        {"DOWNLOADER_MIDDLEWARES": {OtherCompression: 590}},
        {"DOWNLOADER_MIDDLEWARES": {HttpCompressionMiddleware: 42}},
        {"DOWNLOADER_MIDDLEWARES": {HttpCompressionMiddleware: None}},
        {"DOWNLOADER_MIDDLEWARES_BASE": {}},
    ],
)
def test_what_the_user_set_about_compression_stays(values: dict[str, Any]) -> None:
    middlewares = updated(**values).getdict("DOWNLOADER_MIDDLEWARES")
    middlewares.pop(HandshakeRetryMiddleware)
    assert middlewares == values.get("DOWNLOADER_MIDDLEWARES", {})


def test_none_for_the_monitor_stays() -> None:
    settings = updated(EXTENSIONS={"scrapy_curl_safe.HandshakeMonitor": None})
    assert settings.getdict("EXTENSIONS") == {"scrapy_curl_safe.HandshakeMonitor": None}


@pytest.mark.processes
def test_importing_the_package_loads_nothing_else() -> None:
    code = "import sys, scrapy_curl_safe; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"scrapy", "twisted", "curl_cffi", "msgspec"}.isdisjoint(run.stdout.split())


def test_the_public_names() -> None:
    assert all(hasattr(scrapy_curl_safe, name) for name in scrapy_curl_safe.__all__)
    assert set(scrapy_curl_safe.__all__) <= set(dir(scrapy_curl_safe))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scrapy_curl_safe.nothing  # noqa: B018


def test_the_handler_alone(crawl: RunCrawl) -> None:
    """Scrapy's own RetryMiddleware knows the errors, and tries on another worker."""
    drops = [True, True, False]
    with TlsOrigin(drop=drops) as origin:
        crawled = crawl(
            origin.url, ADDONS={}, DOWNLOAD_HANDLERS=dict.fromkeys(("http", "https"), HANDLER)
        )
    assert crawled.responses[0]["meta"]["curl_safe_info"]["attempt"] == 3
    key = "retry/reason_count/scrapy_curl_safe.HandshakeError"
    assert crawled.stats[key] == 2
    assert crawled.stat("handshake/failure_count/syscall") == 2
    assert crawled.stat("handshake/failure_rate") == pytest.approx(2 / 3, abs=1e-5)


def test_the_handler_for_one_scheme_alone(crawl: RunCrawl) -> None:
    with TlsOrigin() as tls, TlsOrigin(tls=False) as plain:
        crawled = crawl(tls.url, plain.url, ADDONS={}, DOWNLOAD_HANDLERS={"https": HANDLER})
    pooled = {r["number"]: "curl_safe_info" in r["meta"] for r in crawled.responses}
    assert pooled == {0: True, 1: False}


def test_the_monitor_alone(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, ADDONS={}, EXTENSIONS={"scrapy_curl_safe.HandshakeMonitor": 0})
    assert len(crawled.responses) == 1
    assert "INFO: Health of the whole crawl: 0 responses" in crawled.log


@pytest.mark.parametrize(
    "handler", ["InProcessHandler", "WrappingInProcessHandler"], ids=["raised", "raised from"]
)
def test_the_middleware_alone_knows_other_curl_cffi_handlers(crawl: RunCrawl, handler: str) -> None:
    """By what they raise: curl_cffi's own error, or one raised from it."""
    with faults.close_after_hello() as dead:
        crawled = crawl(
            dead.url,
            ADDONS={},
            CURL_SAFE_HANDSHAKE_BACKOFF_MAX=0.1,
            DOWNLOADER_MIDDLEWARES={"scrapy_curl_safe.HandshakeRetryMiddleware": 560},
            DOWNLOAD_HANDLERS={"https": f"testkit.components.{handler}"},
        )
        assert dead.accepted == 3
    assert crawled.stats["retry/reason_count/ssl_error_syscall"] == 2
    assert crawled.stat("handshake/gave_up_count") == 1


# Who notes initiators

REFERER = "scrapy.spidermiddlewares.referer.RefererMiddleware"
INITIATOR = "scrapy_curl_safe.initiator.InitiatorMiddleware"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"BrowserRefererMiddleware": 700}),
        ({"SPIDER_MIDDLEWARES": {"tests.test_addon.Other": 10}}, {"BrowserRefererMiddleware": 700}),
        ({"REFERER_ENABLED": False}, {"RefererMiddleware": 700, "InitiatorMiddleware": 750}),
        ({"SPIDER_MIDDLEWARES": {REFERER: None}}, {"InitiatorMiddleware": 750}),
        (
            {"SPIDER_MIDDLEWARES": {REFERER: 100}},
            {"RefererMiddleware": 100, "InitiatorMiddleware": 750},
        ),
        ({"SPIDER_MIDDLEWARES": {INITIATOR: None}}, {"RefererMiddleware": 700}),
        (
            {"SPIDER_MIDDLEWARES": {INITIATOR: 800}},
            {"RefererMiddleware": 700, "InitiatorMiddleware": 800},
        ),
        ({"CURL_SAFE_BROWSER_HEADERS": "static"}, {"RefererMiddleware": 700}),
    ],
)
def test_one_middleware_notes_initiators_and_sets_the_referer(
    settings: dict[str, Any], expected: dict[str, int]
) -> None:
    found = updated(**settings)
    orders = {
        load_object(component).__name__: order
        for component, order in found.getwithbase("SPIDER_MIDDLEWARES").items()
        if order is not None
    }
    kept = ("RefererMiddleware", "InitiatorMiddleware", "BrowserRefererMiddleware")
    assert {name: order for name, order in orders.items() if name in kept} == expected


class Other:
    """A spider middleware that does nothing."""

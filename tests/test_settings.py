"""Every setting: its default, what it takes, and how a wrong one stops the crawl."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings as ScrapySettings

from scrapy_curl_safe import BlockedPolicy
from scrapy_curl_safe._crawl.browser_names import FAMILIAR_NAMES, check_browsers
from scrapy_curl_safe._worker.targets import KNOWN_NAMES
from scrapy_curl_safe.session_settings import SessionBrowser, SessionSettings
from scrapy_curl_safe.settings import Settings, default_workers
from testkit.fixtures import RunCrawl, StartCrawl
from testkit.origins.tls import TlsOrigin
from testkit.scenario import Way

DEFAULTS = {
    "CURL_SAFE_WORKERS": default_workers(),
    "CURL_SAFE_IMPERSONATE": "chrome",
    "CURL_SAFE_BROWSER_HEADERS": "context",
    "CURL_SAFE_BROWSERS": ("chrome", "firefox", "safari"),
    "CURL_SAFE_HTTP_VERSION": None,
    "CURL_SAFE_WORKER_MAX_REQUESTS": 0,
    "CURL_SAFE_WORKER_MAX_MEMORY_MB": 0,
    "CURL_SAFE_WORKER_HANG_TIMEOUT": 30,
    "CURL_SAFE_HANDSHAKE_RETRY_TIMES": 10,
    "CURL_SAFE_HANDSHAKE_BACKOFF": 0.1,
    "CURL_SAFE_HANDSHAKE_BACKOFF_MAX": 5.0,
    "CURL_SAFE_ADAPTIVE": True,
    "CURL_SAFE_ADAPTIVE_FLOOR": 3,
    "CURL_SAFE_MONITOR_INTERVAL": 60,
    "CURL_SAFE_MONITOR_JSON": False,
    "CURL_SAFE_PROGRESS": False,
    "CURL_SAFE_FAILURE_RATE_WARNING": 0.05,
    "CURL_SAFE_FAILURE_RATE_CLOSE": 0,
    "CURL_SAFE_PROMETHEUS_PORT": None,
    "CURL_SAFE_OPENTELEMETRY": False,
    "CURL_SAFE_REPORT": None,
    "CURL_SAFE_DECODE": True,
    "CURL_SAFE_PYTHON": None,
    "CURL_SAFE_FILES_DIR": None,
    "CURL_SAFE_SESSIONS": None,
    "CURL_SAFE_COMPAT": False,
}

GOOD = [
    ("CURL_SAFE_WORKERS", 1, 1),
    ("CURL_SAFE_WORKERS", "8", 8),
    ("CURL_SAFE_IMPERSONATE", None, None),
    ("CURL_SAFE_IMPERSONATE", "None", None),
    ("CURL_SAFE_IMPERSONATE", "firefox", "firefox"),
    ("CURL_SAFE_IMPERSONATE", {"tls_ciphers": ["A"]}, {"tls_ciphers": ["A"]}),
    ("CURL_SAFE_BROWSER_HEADERS", "static", "static"),
    ("CURL_SAFE_BROWSERS", ["chrome", {"tls_ciphers": ["A"]}], ("chrome", {"tls_ciphers": ["A"]})),
    ("CURL_SAFE_IMPERSONATE", '{"tls_ciphers": ["A"]}', {"tls_ciphers": ["A"]}),
    ("CURL_SAFE_BROWSERS", "edge, tor", ("edge", "tor")),
    ("CURL_SAFE_BROWSERS", '["edge", {"client": "A"}]', ("edge", {"client": "A"})),
    ("CURL_SAFE_HTTP_VERSION", "v2tls", "v2tls"),
    ("CURL_SAFE_HTTP_VERSION", "None", None),
    ("CURL_SAFE_WORKER_MAX_REQUESTS", "1000", 1000),
    ("CURL_SAFE_WORKER_HANG_TIMEOUT", "2.5", 2.5),
    ("CURL_SAFE_HANDSHAKE_BACKOFF", 0, 0.0),
    ("CURL_SAFE_ADAPTIVE", "False", False),
    ("CURL_SAFE_ADAPTIVE", "0", False),
    ("CURL_SAFE_FAILURE_RATE_WARNING", 1, 1.0),
    ("CURL_SAFE_PROMETHEUS_PORT", "9100", 9100),
    ("CURL_SAFE_PROMETHEUS_PORT", "None", None),
    ("CURL_SAFE_REPORT", "/srv/../srv/health.html", "/srv/health.html"),
    ("CURL_SAFE_REPORT", Path("/srv/health.json"), "/srv/health.json"),
    ("CURL_SAFE_REPORT", "None", None),
    ("CURL_SAFE_PYTHON", "/usr/bin/python3", "/usr/bin/python3"),
    ("CURL_SAFE_PYTHON", Path("/usr/bin/python3"), "/usr/bin/python3"),
    ("CURL_SAFE_PYTHON", "", None),
    ("CURL_SAFE_FILES_DIR", "/srv/../srv/files", "/srv/files"),
    ("CURL_SAFE_FILES_DIR", Path("/srv/files"), "/srv/files"),
    ("CURL_SAFE_FILES_DIR", "", None),
    ("CURL_SAFE_SESSIONS", {}, SessionSettings()),
    ("CURL_SAFE_SESSIONS", "None", None),
    ("CURL_SAFE_SESSIONS", '{"size": 3, "per": "crawl"}', SessionSettings(size=3, per="crawl")),
    (
        "CURL_SAFE_SESSIONS",
        {"browsers": "edge, tor"},
        SessionSettings(browsers=(SessionBrowser("edge"), SessionBrowser("tor"))),
    ),
    (
        "CURL_SAFE_SESSIONS",
        {"proxies": ["http://u:p@a.test:1", "b.test:80", "socks5h://[::1]:9"]},
        SessionSettings(proxies=("http://u:p@a.test:1", "b.test:80", "socks5h://[::1]:9")),
    ),
    (
        "CURL_SAFE_SESSIONS",
        {"blocked": "scrapy_curl_safe.BlockedPolicy", "max_age": 60, "max_requests": 5},
        SessionSettings(blocked=BlockedPolicy, max_age=60.0, max_requests=5),
    ),
    ("CURL_SAFE_COMPAT", "True", True),
    ("DOWNLOAD_BIND_ADDRESS", "127.0.0.2", ("127.0.0.2", 0)),
    ("DOWNLOAD_BIND_ADDRESS", ("::1", 0), ("::1", 0)),
    ("DOWNLOAD_BIND_ADDRESS", ["127.0.0.2", 4000], ("127.0.0.2", 4000)),
    ("DOWNLOAD_TLS_MIN_VERSION", "TLSv1.3", "TLSv1.3"),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", "AES128-SHA:AES256-SHA", "AES128-SHA:AES256-SHA"),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", "DEFAULT:!DH", None),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", "DEFAULT@SECLEVEL=1", None),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", "", None),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", None, None),
    ("DOWNLOAD_TIMEOUT", "7", 7.0),
    ("DOWNLOAD_MAXSIZE", "10", 10),
    ("DOWNLOAD_VERIFY_CERTIFICATES", "True", True),
    ("RETRY_TIMES", 5, 5),
]

BAD = [
    ("CURL_SAFE_BROWSER_HEADERS", "dynamic", "one of context, static, none"),
    ("CURL_SAFE_BROWSER_HEADERS", None, "one of context, static, none"),
    ("CURL_SAFE_WORKERS", 0, "a whole number from 1 to 64"),
    ("CURL_SAFE_WORKERS", 65, "a whole number from 1 to 64"),
    ("CURL_SAFE_WORKERS", "many", "a whole number from 1 to 64"),
    ("CURL_SAFE_WORKERS", 2.5, "a whole number from 1 to 64"),
    ("CURL_SAFE_WORKERS", True, "a whole number from 1 to 64"),
    ("CURL_SAFE_WORKERS", None, "a whole number from 1 to 64"),
    ("CURL_SAFE_IMPERSONATE", 7, "the name of a curl_cffi target, a fingerprint"),
    ("CURL_SAFE_IMPERSONATE", {1: 2}, "the name of a curl_cffi target, a fingerprint"),
    ("CURL_SAFE_IMPERSONATE", "{'client': 'A'}", "the name of a curl_cffi target, a fingerprint"),
    ("CURL_SAFE_BROWSERS", "[edge, tor]", "the name of a curl_cffi target, a fingerprint"),
    ("CURL_SAFE_BROWSERS", [], "a list of what CURL_SAFE_IMPERSONATE takes"),
    ("CURL_SAFE_BROWSERS", ["chrome", None], "a list of what CURL_SAFE_IMPERSONATE takes"),
    ("CURL_SAFE_BROWSERS", [7], "a list of what CURL_SAFE_IMPERSONATE takes"),
    ("CURL_SAFE_BROWSERS", {"chrome": 1}, "a list of what CURL_SAFE_IMPERSONATE takes"),
    ("CURL_SAFE_HTTP_VERSION", "2", "one of v1, v2, v2tls"),
    ("CURL_SAFE_WORKER_MAX_REQUESTS", -1, "a whole number of 0 or more"),
    ("CURL_SAFE_WORKER_MAX_MEMORY_MB", "1GB", "a whole number of 0 or more"),
    ("CURL_SAFE_WORKER_HANG_TIMEOUT", 0.5, "a number of 1 or more"),
    ("CURL_SAFE_HANDSHAKE_RETRY_TIMES", -3, "a whole number of 0 or more"),
    ("CURL_SAFE_HANDSHAKE_BACKOFF", -0.1, "a number of 0 or more"),
    ("CURL_SAFE_HANDSHAKE_BACKOFF", "nan", "a number of 0 or more"),
    ("CURL_SAFE_HANDSHAKE_BACKOFF_MAX", 0.01, "a number of 0.1 or more"),
    ("CURL_SAFE_HANDSHAKE_BACKOFF_MAX", "inf", "a number of 0.1 or more"),
    ("CURL_SAFE_ADAPTIVE", "perhaps", "True or False"),
    ("CURL_SAFE_ADAPTIVE_FLOOR", 0, "a whole number of 1 or more"),
    ("CURL_SAFE_MONITOR_INTERVAL", -1, "a number of 0 or more"),
    ("CURL_SAFE_FAILURE_RATE_WARNING", 1.5, "a number from 0 to 1"),
    ("CURL_SAFE_FAILURE_RATE_CLOSE", "5%", "a number from 0 to 1"),
    ("CURL_SAFE_PROMETHEUS_PORT", 70000, "a port from 1 to 65535, or None"),
    ("CURL_SAFE_REPORT", True, "the path of a file that ends in .html or .json, or None"),
    ("CURL_SAFE_REPORT", "health.pdf", "the path of a file that ends in .html or .json, or None"),
    ("CURL_SAFE_PYTHON", 3, "the path of a Python interpreter, or None"),
    ("CURL_SAFE_MONITOR_JSON", "pretty", "True or False"),
    ("CURL_SAFE_PROGRESS", "bar", "True or False"),
    ("CURL_SAFE_DECODE", "gzip", "True or False"),
    ("CURL_SAFE_OPENTELEMETRY", "yes please", "True or False"),
    ("CURL_SAFE_FILES_DIR", True, "the path of a directory, or None"),
    ("CURL_SAFE_COMPAT", "scrapy-curl", "True or False"),
    ("CURL_SAFE_SESSIONS", 7, "a dict, or None"),
    ("DOWNLOADER_CLIENT_TLS_CIPHERS", 7, "a list of ciphers as OpenSSL takes it, or None"),
    ("DOWNLOAD_BIND_ADDRESS", "eth0", "an IP address, or a tuple"),
    ("DOWNLOAD_BIND_ADDRESS", ("127.0.0.1",), "an IP address, or a tuple"),
]


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ("{'size': 1}", "CURL_SAFE_SESSIONS: as text, it takes only JSON"),
        ({"sizes": 1}, "CURL_SAFE_SESSIONS has an unknown key 'sizes': it knows proxies, brow"),
        ({"size": -1}, r"CURL_SAFE_SESSIONS['size'] is -1: it takes a whole number of 0 or more"),
        ({"max_requests": 1.5}, "CURL_SAFE_SESSIONS['max_requests'] is 1.5: it takes a whole"),
        ({"max_age": "1h"}, "CURL_SAFE_SESSIONS['max_age'] is '1h': it takes a number of 0 or"),
        ({"max_errors": 0}, "CURL_SAFE_SESSIONS['max_errors'] is 0: it takes a whole number of 1"),
        ({"per": "site"}, "CURL_SAFE_SESSIONS['per'] is 'site': it takes one of origin, crawl"),
        ({"browsers": []}, "CURL_SAFE_SESSIONS['browsers'] is []: it takes a list of what"),
        (
            {"browsers": [{"languages": ["de"]}]},
            "and of dicts with that as 'impersonate', ",
        ),
        ({"browsers": [{"impersonate": "chrome", "system": "ios"}]}, "and 'os' or 'languages'"),
        ({"browsers": [{"impersonate": "chrome", "os": "bsd"}]}, "takes as 'os' one of windows, m"),
        ({"browsers": [{"impersonate": "chrome", "os": ["ios"]}]}, "takes as 'os' one of window"),
        ({"browsers": [{"os": "android"}]}, "and of dicts with that as 'impersonate', "),
        ({"browsers": [{"impersonate": "chrome", "languages": ["de"] * 2}]}, "takes as 'langua"),
        ({"browsers": [{"impersonate": "chrome", "languages": "de"}]}, "takes as 'languages' a "),
        ({"browsers": [{"impersonate": "chrome", "languages": ["de;q=1"]}]}, "as 'languages' a l"),
        ({"blocked": "no.such.Policy"}, "CURL_SAFE_SESSIONS['blocked'] is 'no.such.Policy': it"),
        ({"blocked": "scrapy.Request"}, "it takes the path of a class with a method `reason`"),
        ({"proxies": "no.such.proxies"}, "CURL_SAFE_SESSIONS['proxies'] is 'no.such.proxies'"),
        ({"proxies": "no.such.proxies"}, "path of a function that returns such a list (No module"),
        ({"proxies": {}}, "takes a list of URLs, or the path of a function that returns such a li"),
        (
            {"proxies": ["ftp://u:secret@a"]},
            "CURL_SAFE_SESSIONS['proxies'][0]: the proxy ftp://a has the scheme ftp",
        ),
        (
            {"proxies": ["a.test:1", "a.test:2:u:secret"]},
            "CURL_SAFE_SESSIONS['proxies'][1]: the proxy has a URL that is malformed",
        ),
        ({"proxies": [7]}, "CURL_SAFE_SESSIONS['proxies'][0] takes the URL of a proxy"),
        ({"proxies": ["http://u:secret@a"] * 2}, "takes each proxy only once"),
        ({"proxies": "http://u:secret@a.test:1"}, "CURL_SAFE_SESSIONS['proxies'] takes a list"),
    ],
)
def test_bad_sessions(sessions: object, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        Settings.load(ScrapySettings({"CURL_SAFE_SESSIONS": sessions}))
    assert "secret" not in str(raised.value)


def load_browsers(*browsers: object, **settings: Any) -> Settings:
    sessions = {"browsers": list(browsers)}
    return Settings.load(ScrapySettings({"CURL_SAFE_SESSIONS": sessions, **settings}))


def test_browsers_of_sessions() -> None:
    fingerprint = {"os": "macos", "headers": {"user-agent": "x"}}
    loaded = load_browsers(
        "chrome",
        fingerprint,
        {"impersonate": "chrome", "os": "android"},
        {"impersonate": "safari18_0_ios", "os": "ios", "languages": ["de-AT", "de"]},
        {"impersonate": "safari_ios_beta", "os": "ios"},
        {"impersonate": fingerprint, "os": "macos"},
    )
    assert loaded.sessions is not None
    assert loaded.sessions.browsers == (
        SessionBrowser("chrome"),
        SessionBrowser(fingerprint),
        SessionBrowser("chrome_android", (), "android"),
        SessionBrowser("safari18_0_ios", ("de-AT", "de"), "ios"),
        SessionBrowser("safari_ios_beta", (), "ios"),
        SessionBrowser(fingerprint, (), "macos"),
    )


@pytest.mark.processes
def test_the_operating_system_of_a_browser_is_checked() -> None:
    fitting = [("chrome", "android"), ("safari", "ios"), ("safari", "macos"), ("edge99", "windows")]
    check_browsers(load_browsers(*({"impersonate": n, "os": s} for n, s in fitting)))
    with pytest.raises(ValueError, match="has 'safari': it is a browser of macOS, and its 'os' is"):
        check_browsers(load_browsers({"impersonate": "safari", "os": "windows"}))
    with pytest.raises(ValueError, match="has 'firefox_ios': "):
        check_browsers(load_browsers({"impersonate": "firefox", "os": "ios"}))


def test_languages_take_computed_headers() -> None:
    browser = {"impersonate": "chrome", "languages": ["de"]}
    check_browsers(load_browsers(browser))
    with pytest.raises(ValueError, match="they take CURL_SAFE_BROWSER_HEADERS = 'context'"):
        check_browsers(load_browsers(browser, CURL_SAFE_BROWSER_HEADERS="static"))


def test_proxies_of_a_function() -> None:
    for proxies in ("tests.test_settings.some_proxies", some_proxies):
        settings = Settings.load(ScrapySettings({"CURL_SAFE_SESSIONS": {"proxies": proxies}}))
        assert settings.sessions is not None
        assert settings.sessions.load_proxies() == ("http://a.test:1",)


def some_proxies() -> list[str]:
    return ["http://a.test:1"]


def test_every_setting_is_tried() -> None:
    # Since Python 3.13, the compiler takes the indentation off.
    text = inspect.getdoc(Settings) or ""
    documented = re.findall(r"^    (\w+): ", text, re.MULTILINE)
    assert [f"CURL_SAFE_{name.upper()}" for name in documented] == list(DEFAULTS)


def test_defaults() -> None:
    loaded = dataclasses.asdict(Settings.load(ScrapySettings()))
    for name, value in DEFAULTS.items():
        assert loaded[name.removeprefix("CURL_SAFE_").lower()] == value


@pytest.mark.parametrize(("name", "value", "loaded"), GOOD)
def test_good_values_of_any_source(name: str, value: object, loaded: object) -> None:
    settings = Settings.load(ScrapySettings({name: value}))
    field = name.removeprefix("CURL_SAFE_").lower()
    assert getattr(settings, field) == loaded
    assert type(getattr(settings, field)) is type(loaded)


@pytest.mark.parametrize(("name", "value", "takes"), BAD)
def test_a_bad_value_is_named_with_what_it_takes(name: str, value: object, takes: str) -> None:
    with pytest.raises(ValueError, match=r"\A") as raised:
        Settings.load(ScrapySettings({name: value}))
    assert str(raised.value).startswith(f"{name} is {value!r}: it takes {takes}")


@pytest.mark.parametrize("name", ["DOWNLOAD_TLS_MIN_VERSION", "DOWNLOAD_TLS_MAX_VERSION"])
@pytest.mark.parametrize("value", ["1.2", "SSLv3", ["TLSv1.2"], 7])
def test_a_tls_version_is_refused_in_scrapys_words(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"\AUnknown {name} value: ") as raised:
        Settings.load(ScrapySettings({name: value}))
    takes = "one of TLSv1.0, TLSv1.1, TLSv1.2, TLSv1.3, or None"
    assert str(raised.value) == f"Unknown {name} value: {value}: it takes {takes}"


def test_they_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.load(ScrapySettings()).workers = 3  # type: ignore[misc]


ONE_BAD_OF_EACH: dict[str, Any] = {
    name: value for name, value, _ in reversed(BAD) if name in DEFAULTS
}


def test_a_bad_value_of_each_setting_stops_the_crawl_at_start(start_crawl: StartCrawl) -> None:
    assert ONE_BAD_OF_EACH.keys() == DEFAULTS.keys()
    with TlsOrigin() as origin:
        for name, value in ONE_BAD_OF_EACH.items():
            crawl = start_crawl(origin.url, **{name: value})
            crawl.process.wait()
            crawled = crawl.finish()
            assert crawled.exit_code == 1
            assert f"ValueError: {name} is {value!r}: it takes" in crawled.log
            assert "Spider opened" not in crawled.log
        assert origin.accepted == 0


HANDLERS = dict.fromkeys(("http", "https"), "scrapy_curl_safe.CurlSafeDownloadHandler")
MIDDLEWARES = {"scrapy_curl_safe.HandshakeRetryMiddleware": 560}
EXTENSIONS = {"scrapy_curl_safe.HandshakeMonitor": 0}


@pytest.mark.parametrize(
    "components",
    [
        {"DOWNLOADER_MIDDLEWARES": MIDDLEWARES},
        {"EXTENSIONS": EXTENSIONS},
        {
            "DOWNLOAD_HANDLERS": HANDLERS,
            "DOWNLOADER_MIDDLEWARES": MIDDLEWARES,
            "EXTENSIONS": EXTENSIONS,
        },
    ],
    ids=["middleware", "monitor", "all three"],
)
def test_without_the_add_on_a_bad_value_stops_the_crawl_too(
    crawl: RunCrawl, components: dict[str, Any]
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, ADDONS={}, CURL_SAFE_WORKERS=0, **components)
        assert origin.accepted == 0
    assert "ValueError: CURL_SAFE_WORKERS is 0: it takes a whole number" in crawled.log
    assert "Spider opened" not in crawled.log


def test_the_handler_alone_closes_the_spider(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, ADDONS={}, CURL_SAFE_WORKERS=0, DOWNLOAD_HANDLERS=HANDLERS)
        assert origin.accepted == 0
    assert crawled.stats["finish_reason"] == "curl_safe_bad_setting"
    assert "a setting is wrong: CURL_SAFE_WORKERS is 0: it takes a whole number" in crawled.log


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"CURL_SAFE_IMPERSONATE": "chorme"}, "CURL_SAFE_IMPERSONATE is 'chorme': "),
        ({"CURL_SAFE_BROWSERS": ["edge", "chorme"]}, "CURL_SAFE_BROWSERS has 'chorme': "),
    ],
)
@pytest.mark.parametrize("way", ["asyncio", "none"])
def test_an_unknown_name_of_a_browser_is_a_wrong_setting(
    crawl: RunCrawl, settings: dict[str, Any], says: str, way: Way
) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, way=way, **settings)
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    (line,) = [line for line in crawled.log.splitlines() if " ERROR: The crawl does not " in line]
    assert f"The crawl does not start, since a setting is wrong: {says}" in line
    assert "cannot impersonate 'chorme', and `curl-cffi update` has" in line
    assert ": did you mean chrome or " in line
    assert line.endswith("? `curl-cffi list` shows all")
    assert "Spider opened" not in crawled.log


def test_the_handler_alone_closes_the_spider_for_an_unknown_name(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url, ADDONS={}, CURL_SAFE_IMPERSONATE="netscape4", DOWNLOAD_HANDLERS=HANDLERS
        )
        assert origin.accepted == 0
    assert crawled.stats["finish_reason"] == "curl_safe_bad_setting"
    assert "a setting is wrong: CURL_SAFE_IMPERSONATE is 'netscape4': " in crawled.log


def test_familiar_names_are_those_that_curl_cffi_has() -> None:
    assert FAMILIAR_NAMES <= KNOWN_NAMES
    assert {"chrome", "firefox", "safari"} <= FAMILIAR_NAMES


@pytest.mark.parametrize(
    ("fingerprint", "why"),
    [
        (
            {"tls_cipher": []},
            " knows no field 'tls_cipher' of a fingerprint: did you mean tls_ciph",
        ),
        ({"tls_grease": "yes"}, ": Expected `bool`, got `str` - at `$.tls_grease`"),
        ({"headers": {"a": 1}}, "the fingerprint's headers are not text: "),
        # Only a handshake shows these.
        ({"tls_ciphers": ["NO-SUCH"]}, "curl: (59) "),
        ({"tls_extension_order": "a-b"}, "curl: (35) Invalid TLS extension order"),
    ],
)
@pytest.mark.parametrize("name", ["CURL_SAFE_IMPERSONATE", "CURL_SAFE_BROWSERS"])
def test_a_bad_fingerprint_is_a_wrong_setting(
    crawl: RunCrawl, name: str, fingerprint: dict[str, Any], why: str
) -> None:
    one_of = name == "CURL_SAFE_BROWSERS"
    settings: dict[str, Any] = {name: ["edge", fingerprint] if one_of else fingerprint}
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, **settings)
        assert origin.accepted == 0
    assert crawled.exit_code == 1
    (line,) = [line for line in crawled.log.splitlines() if " ERROR: The crawl does not " in line]
    says = f"{name} {'has' if one_of else 'is'} {fingerprint!r}: "
    assert f"since a setting is wrong: {says}" in line
    assert why in line
    assert "Spider opened" not in crawled.log


@pytest.mark.parametrize("value", [{"x": object()}, {"headers": {"a": "\ud800"}}])
def test_a_fingerprint_that_no_worker_can_be_told_is_a_wrong_setting(value: object) -> None:
    settings = Settings.load(ScrapySettings({"CURL_SAFE_IMPERSONATE": value}))
    with pytest.raises(ValueError, match=r"\ACURL_SAFE_IMPERSONATE is ") as raised:
        check_browsers(settings)
    assert ": a fingerprint takes text, numbers, lists and dicts: " in str(raised.value)


@pytest.mark.parametrize("ciphers", [None, "NO-SUCH"])
def test_a_good_fingerprint_is_none_and_not_to_blame_for_others(
    crawl: RunCrawl, ciphers: str | None
) -> None:
    fingerprint = {"tls_ciphers": ["TLS_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]}
    with TlsOrigin() as origin:
        crawled = crawl(
            origin.url,
            CURL_SAFE_IMPERSONATE=fingerprint,
            DOWNLOADER_CLIENT_TLS_CIPHERS=ciphers,
            RETRY_ENABLED=False,
        )
    assert len(crawled.responses) == (ciphers is None)
    assert [error["text"].split("; ")[1] for error in crawled.errors] == (
        ["BoringSSL has none of them (DOWNLOADER_CLIENT_TLS_CIPHERS, or a fingerprint's)"]
        if ciphers
        else []
    )

"""Unknown names come with what may have been meant: nothing is dropped without a word."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from scrapy.settings import Settings

from scrapy_curl_safe._crawl.compat import FOREIGN_KEYS, foreign_options
from scrapy_curl_safe._crawl.meta import CHECKS, request_options
from scrapy_curl_safe._crawl.unknown_names import unknown_settings
from testkit.fixtures import RunCrawl
from testkit.origins.tls import TlsOrigin
from tests.test_settings import DEFAULTS


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("impersonat", "did you mean impersonate? It knows impersonate, "),
        ("default_header", "did you mean default_headers? It knows "),
        ("timeout", 'use meta["download_timeout"]; it knows '),
        ("proxies", 'use meta["proxy"]; it knows '),
        ("proxy", 'use meta["proxy"], beside "curl_safe"; it knows '),
        ("bindaddress", 'use meta["bindaddress"], beside "curl_safe"; it knows '),
        ("user_agent", "use a User-Agent header; it knows "),
        ("qqq", "it knows "),
        (7, "it knows "),
    ],
)
def test_an_unknown_key_of_meta(key: object, meant: str) -> None:
    with pytest.raises(ValueError, match="unknown key") as raised:
        request_options({"curl_safe": {key: 1}})
    start = f'meta["curl_safe"] has an unknown key {key!r}: {meant}'
    assert str(raised.value).startswith(start)
    assert str(raised.value).endswith(", ".join(CHECKS))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("WORKRES", "did you mean CURL_SAFE_WORKERS?"),
        ("BROWSER_HEADER", "did you mean CURL_SAFE_BROWSER_HEADERS?"),
        ("DOWNLOAD_TIMEOUT", "use DOWNLOAD_TIMEOUT"),
        ("TIMEOUT", "use DOWNLOAD_TIMEOUT"),
        ("CONCURRENT_REQUESTS", "use CONCURRENT_REQUESTS"),
        ("PROXY", 'use meta["proxy"] of each request'),
        ("QQQ", ""),
    ],
)
def test_an_unknown_setting(name: str, meant: str) -> None:
    given = {**dict.fromkeys(DEFAULTS, 1), f"CURL_SAFE_{name}": 1, "WORKERS": 1, "COMPAT": 1}
    ((found, hint),) = unknown_settings(Settings(given))
    assert found == f"CURL_SAFE_{name}"
    assert hint.startswith(meant)
    assert bool(hint) is bool(meant)


def test_a_crawl_names_unknown_settings_once(crawl: RunCrawl) -> None:
    with TlsOrigin() as origin:
        crawled = crawl(origin.url, CURL_SAFE_WORKRES=1, CURL_SAFE_QQQ=1)
    assert crawled.numbers == [0]
    assert crawled.log.count("There is no setting CURL_SAFE_") == 2
    assert (
        "WARNING: There is no setting CURL_SAFE_WORKRES, so it has no effect: did you mean "
        "CURL_SAFE_WORKERS?\n"
    ) in crawled.log
    assert "WARNING: There is no setting CURL_SAFE_QQQ, so it has no effect\n" in crawled.log


def foreign_warnings(log: str) -> list[str]:
    return re.findall(r"WARNING: (.*) has no effect, since another handler's keys", log)


@pytest.mark.parametrize("compat", [False, True])
def test_keys_of_another_handler_are_named_once(crawl: RunCrawl, compat: bool) -> None:
    metas: list[dict[str, Any]] = [
        {"impersonate": "firefox"},
        {"impersonate": "firefox"},
        {"impersonate": "firefox", "curl": {}},
        {},
    ]
    with TlsOrigin() as origin:
        crawled = crawl(
            *({"url": f"{origin.url}/{n}", "meta": meta} for n, meta in enumerate(metas)),
            CURL_SAFE_COMPAT=compat,
            CONCURRENT_REQUESTS=1,
        )
        url = origin.url
    assert crawled.numbers == [0, 1, 2, 3]
    expected = [f'meta["impersonate"] of <GET {url}/0>', f'meta["curl"] of <GET {url}/2>']
    assert foreign_warnings(crawled.log) == ([] if compat else expected)


def test_the_keys_are_those_that_the_translation_reads() -> None:
    source = inspect.getsource(foreign_options)
    assert all(f'"{key}"' in source for key in FOREIGN_KEYS)

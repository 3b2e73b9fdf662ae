"""Thousands of real pages have the same text, whoever decodes them."""

from __future__ import annotations

import pydoc
import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import pytest

from testkit.compressed import ENCODERS
from testkit.fixtures import RunCrawl
from testkit.origins.tls import Reply, SeenRequest, TlsOrigin
from testkit.scenario import Scenario

COUNT = 1000
_LARGEST_BYTES = 300_000


def installed_pages() -> Iterator[bytes]:
    """Yield the pages of whatever HTML documentation is on this machine."""
    places = ["/usr/share/doc", "/usr/lib", "/usr/share/gtk-doc", sys.prefix, sys.base_prefix]
    for place in [*map(Path, places), Path.home() / ".rustup"]:
        for path in place.rglob("*.html"):
            if path.is_file() and 500 < path.stat().st_size < _LARGEST_BYTES:
                yield path.read_bytes()


def generated_pages() -> Iterator[bytes]:
    """Yield Python's own documentation of the classes that are loaded."""
    formatter = pydoc.HTMLDoc()
    for name, module in sorted(sys.modules.items()):
        if name.partition(".")[0] in sys.stdlib_module_names:
            for kind in list(vars(module).values()):
                if isinstance(kind, type) and kind.__module__ == name:
                    page = formatter.page(kind.__name__, formatter.document(kind))
                    yield page.encode("utf-8", "replace")


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ENCODERS)
def test_the_text_of_a_thousand_pages(crawl: RunCrawl, encoding: str) -> None:
    pages = list(islice(chain(installed_pages(), generated_pages()), COUNT))
    assert len(pages) == COUNT
    headers = [(b"Content-Type", b"text/html"), (b"Content-Encoding", encoding.encode())]

    def app(seen: SeenRequest) -> Reply:
        number = int(seen.path.removeprefix("/"))
        return Reply(headers=headers, body=ENCODERS[encoding](pages[number]))

    texts = []
    with TlsOrigin(app) as origin:
        urls = [f"{origin.url}/{number}" for number in range(COUNT)]
        for decode in (True, False):
            crawled = crawl(
                *urls,
                CURL_SAFE_DECODE=decode,
                # Some pages lead to others.
                METAREFRESH_ENABLED=False,
                DOWNLOADER_MIDDLEWARES={
                    "tests.responses_seen.Below": 800,
                    "tests.responses_seen.Above": 570,
                },
                scenario=Scenario(count_only=True),
            )
            assert crawled.stats["outcome/200"] == COUNT
            assert crawled.stats.get("known", 0) == (COUNT if decode else 0)
            seen = {
                fact[1].rpartition("/")[2]: fact
                for fact in crawled.stats["seen"]
                if fact[0] == "above"
            }
            assert len(seen) == COUNT
            texts.append(seen)
    assert texts[0] == texts[1]

"""Messages for which alerts on logs look: word for word those of Scrapy's own handlers."""

from __future__ import annotations

import pytest
from scrapy import Request
from scrapy.utils import _download_handlers as scrapys

from scrapy_curl_safe._crawl.scrapys_words import dataloss_message, size_message
from scrapy_curl_safe._ipc.messages import SizeWarning, TooLarge, TransferStats

REQUEST = Request("https://example.com/a?b=c", method="POST")


@pytest.mark.parametrize("expected", [True, False])
def test_a_body_above_the_size_to_warn_of(expected: bool) -> None:
    warning = SizeWarning(id=1, size=35, limit=10, expected=expected)
    words = scrapys.get_warnsize_msg(35, 10, REQUEST, expected=expected)
    assert size_message(warning, "warn", REQUEST) == words


@pytest.mark.parametrize("expected", [True, False])
def test_a_body_above_the_maximum(expected: bool) -> None:
    too_large = TooLarge(id=1, stats=TransferStats(), size=35, limit=10, expected=expected)
    words = scrapys.get_maxsize_msg(35, 10, REQUEST, expected=expected)
    assert size_message(too_large, "max", REQUEST) == words


def test_a_body_that_ended_early() -> None:
    assert dataloss_message(REQUEST.url) == scrapys.get_dataloss_msg(REQUEST.url)

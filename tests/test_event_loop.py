"""The event loops that a crawl can run on."""

from __future__ import annotations

import pytest
from twisted.internet import task

from scrapy_curl_safe._crawl import event_loop


def test_a_reactor_that_watches_no_sockets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of Windows' completion ports; here one that knows the time alone."""
    monkeypatch.setattr(event_loop, "is_asyncio_available", lambda: False)
    monkeypatch.setattr("twisted.internet.reactor", task.Clock(), raising=False)
    with pytest.raises(ValueError, match=r"TWISTED_REACTOR is .*Clock, which watches no sockets"):
        event_loop.running_event_loop()

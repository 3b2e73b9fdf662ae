"""Lookups in threads, where threads fail to start."""

from __future__ import annotations

import socket
import threading

import pytest

from scrapy_curl_safe._worker.lookups import LookupResult, Lookups
from scrapy_curl_safe._worker.loop import Loop


class _EndedError(Exception):
    pass


def test_a_lookup_without_a_thread_fails_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor has queued it by then, and another thread takes it up later."""
    may_go_on = threading.Event()
    looked_up: list[str] = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        looked_up.append(host)
        assert may_go_on.wait(60)
        return [(0, 0, 0, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    loop = Loop()
    lookups = Lookups(loop)
    results: list[tuple[str, LookupResult]] = []

    def on_result(host: str) -> None:
        lookups.start(host, lambda result: results.append((host, result)))

    on_result("first")
    with monkeypatch.context() as patch:

        def fail(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", fail)
        for number in range(300):
            on_result(f"{number}")
    may_go_on.set()

    def end_when_all_are_looked_up() -> None:
        if len(looked_up) == 301 and len(lookups._results) == 0 and len(results) == 301:
            raise _EndedError
        loop.call_soon(end_when_all_are_looked_up)

    loop.call_soon(end_when_all_are_looked_up)
    with pytest.raises(_EndedError):
        loop.run()
    found = dict(results)
    assert len(found) == len(results) == 301
    assert found.pop("first") == ["127.0.0.1"]
    assert {str(error) for error in found.values()} == {"a thread failed to start"}

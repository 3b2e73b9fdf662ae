"""Compares crawls with and without the adaptive limit: python -m benchmarks.limit

The two crawls of a pair take turns, `--rounds` times. The ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from testkit.crawling import Crawl, urls
from testkit.origins.limited import LimitedOrigin
from testkit.origins.messages import Reply, SeenRequest
from testkit.origins.tls import TlsOrigin

# Lets a crawl end with all its pages, with and without the limit.
_ALL_PAGES = {"CURL_SAFE_HANDSHAKE_RETRY_TIMES": 1000, "RETRY_TIMES": 1000}
_MANY_AT_ONCE = {"CONCURRENT_REQUESTS": 256, "CONCURRENT_REQUESTS_PER_DOMAIN": 256}
# By the number of simultaneous handshakes that the origin takes: the seconds of each (more if there
# are many, so that this machine's cores are not the limit), and the pages of a crawl.
_ORIGINS = {3: (0.05, 200), 10: (0.05, 400), 50: (0.1, 400)}


class Clock:
    """An app that notes the times of its first and its last request."""

    def __init__(self) -> None:
        self._first = self._last = 0.0

    def __call__(self, request: SeenRequest) -> Reply:
        self._last = time.monotonic()
        self._first = self._first or self._last
        return Reply(body=b"page")

    @property
    def seconds(self) -> float:
        return self._last - self._first


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print("An origin that fails each handshake above K at once; seconds for all pages:\n")
    print("| K | pages | with the limit | failed a page | without | failed a page | ratio |")
    print("| --: | --: | --: | --: | --: | --: | --: |")
    for most, (takes, pages) in _ORIGINS.items():
        on, off = _in_turns(rounds, partial(_limited, most, takes, pages))
        _row(most, pages, on, off)
    print("\nSeconds for the pages of the healthy origins, which are the same in both crawls:\n")
    print("| the crawl has beside them | with it | without | ratio |")
    print("| --- | --: | --: | --: |")
    for name, crawl in (
        ("5 origins that drop each handshake, among 195", _dead),
        ("an origin that takes 3 handshakes at once", _beside_limited),
    ):
        on, off = _in_turns(rounds, crawl)
        ratio = statistics.median(a / b for (a, _), (b, _) in zip(on, off, strict=True))
        print(
            f"| {name} | {_median(on, 0):.2f} | {_median(off, 0):.2f} | {ratio:.2f} |", flush=True
        )


_Figures = tuple[float, float]


def _in_turns(
    rounds: int, crawl: Callable[[bool], _Figures]
) -> tuple[list[_Figures], list[_Figures]]:
    found: dict[bool, list[_Figures]] = {True: [], False: []}
    for number in range(rounds):
        for on in (True, False) if number % 2 else (False, True):
            found[on].append(crawl(on))
    return found[True], found[False]


def _median(figures: list[_Figures], place: int) -> float:
    return statistics.median(figure[place] for figure in figures)


def _row(most: int, pages: int, on: list[_Figures], off: list[_Figures]) -> None:
    ratio = statistics.median(b / a for (a, _), (b, _) in zip(on, off, strict=True))
    print(
        f"| {most} | {pages} | {_median(on, 0):.2f} | {_median(on, 1):.2f} "
        f"| {_median(off, 0):.2f} | {_median(off, 1):.2f} | {ratio:.2f} |",
        flush=True,
    )


def _limited(most: int, takes: float, pages: int, on: bool) -> _Figures:
    clock = Clock()
    with LimitedOrigin(most, takes=takes, requests_per_connection=1, app=clock) as origin:
        _crawl(urls(origin, pages), pages, **_ALL_PAGES, **_MANY_AT_ONCE, CURL_SAFE_ADAPTIVE=on)
        return clock.seconds, origin.dropped / pages


def _dead(dead: bool) -> _Figures:
    clock = Clock()
    with TlsOrigin(clock, delay=0.2) as origin, TlsOrigin(drop=1.0) as broken:
        requested = [
            # libcurl itself resolves any name below localhost to this machine (RFC 6761).
            f"https://o{host}.localhost:{broken.port if host % 40 == 7 else origin.port}/{page}"
            for page in range(10)
            for host in range(200)
            if dead or host % 40 != 7
        ]
        _crawl(requested, 195 * 10, CONCURRENT_REQUESTS=64)
        return clock.seconds, 0.0


def _beside_limited(beside: bool) -> _Figures:
    clock = Clock()
    with (
        TlsOrigin(clock, delay=0.1) as origin,
        LimitedOrigin(3, requests_per_connection=1) as limited,
    ):
        requested = [f"https://healthy.localhost:{origin.port}/{n}" for n in range(2000)]
        if beside:
            requested[::10] = [f"https://limited.localhost:{limited.port}/{n}" for n in range(200)]
            requested += [f"https://healthy.localhost:{origin.port}/{n}" for n in range(2000, 2200)]
        _crawl(requested, len(requested), CONCURRENT_REQUESTS=64, CONCURRENT_REQUESTS_PER_DOMAIN=32)
        return clock.seconds, 0.0


def _crawl(requested: list[str], pages: int, **settings: Any) -> None:
    with tempfile.TemporaryDirectory() as marker:
        crawl = Crawl(
            requested,
            {"ADDONS": {"scrapy_curl_safe.Addon": 500}, "CONCURRENT_ITEMS": 1, **settings},
            # With asyncio, Scrapy 2.19 downloads more than CONCURRENT_REQUESTS_PER_DOMAIN at once.
            way="epoll",
            marker=Path(marker),
        )
        crawled = crawl.finish(300)
    if len(crawled.responses) != pages:
        raise RuntimeError(f"{len(crawled.responses)} pages of {pages}: {crawled.log[-2000:]}")


if __name__ == "__main__":
    main()

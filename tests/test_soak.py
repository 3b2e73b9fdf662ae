"""A crawl of 200,000 requests with churn leaves nothing behind: `make soak`."""

from __future__ import annotations

import os
import socket
import statistics
import time

import pytest

from testkit.crawling import urls
from testkit.fixtures import StartCrawl
from testkit.origins.process import OriginProcess
from testkit.origins.raw import HOLD, RawOrigin
from testkit.processes import descriptor_count, resident_mb
from testkit.scenario import Scenario

TOTAL = 200_000


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_and_descriptors_return_to_what_they_were(start_crawl: StartCrawl) -> None:
    """Failed handshakes, timeouts, cancelled downloads, refused connections, replaced workers."""
    total = int(os.environ.get("SOAK_REQUESTS", TOTAL))
    with (
        OriginProcess(drop=0.05) as origin,
        RawOrigin(lambda head: [HOLD]) as held,
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        refusing = f"https://127.0.0.1:{closed.getsockname()[1]}/"
        crawl = start_crawl(
            *urls(origin, 194),
            *({"url": held.url, "meta": {"download_timeout": 0.2, "dont_retry": True}},) * 2,
            *(f"{origin.url}/cancel" for _ in range(3)),
            {"url": refusing, "meta": {"dont_retry": True}},
            scenario=Scenario(
                repeat_to=total,
                count_only=True,
                stop_at="bytes_received",
                stop_path="/cancel",
                stop_fails=True,
            ),
            CONCURRENT_REQUESTS=64,
            CONCURRENT_REQUESTS_PER_DOMAIN=64,
            CURL_SAFE_WORKERS=2,
            CURL_SAFE_WORKER_MAX_REQUESTS=total // 8,
            LOG_LEVEL="INFO",
        )
        crawler = crawl.process.pid
        samples: list[tuple[float, int]] = []
        of_workers: dict[int, list[tuple[float, int]]] = {}
        while crawl.process.poll() is None:
            samples.append((resident_mb(crawler), descriptor_count(crawler)))
            for pid in crawl.workers():
                of_workers.setdefault(pid, []).append((resident_mb(pid), descriptor_count(pid)))
            time.sleep(0.5)
        crawled = crawl.finish()
    outcomes = {k: v for k, v in crawled.stats.items() if k.startswith("outcome/")}
    per_round = total // 200
    assert outcomes == {
        "outcome/200": 194 * per_round,
        "outcome/DownloadTimeoutError": 2 * per_round,
        "outcome/StopDownload": 3 * per_round,
        "outcome/DownloadConnectionRefusedError": per_round,
    }
    assert crawled.stat("worker/recycle_count") >= 4
    assert crawled.stat("worker/crash_count") == crawled.stat("worker/hang_count") == 0
    # The second quarter against the last one: what grows for ever shows between them.
    # (The last samples are of the end of the crawl.)
    samples = samples[:-4]
    quarter = len(samples) // 4
    before, after = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = median(after, 0) - median(before, 0)
    print(f"crawler: {median(before, 0):.1f} MB, then {median(after, 0):.1f} MB")
    assert grown <= 4
    assert median(after, 1) <= median(before, 1) + 2
    for pid, seen in of_workers.items():
        if len(seen) < 20:
            continue
        half = len(seen) // 2
        early, late = seen[5:half], seen[half:-2]
        print(f"worker {pid}: {median(early, 0):.1f} MB, then {median(late, 0):.1f} MB")
        assert median(late, 0) - median(early, 0) <= 6
        assert median(late, 1) <= median(early, 1) * 1.5 + 10


def median(samples: list[tuple[float, int]], field: int) -> float:
    return statistics.median(sample[field] for sample in samples)

"""Measures what OpenTelemetry costs a download: `python -m benchmarks.spans`.

It times the part that CURL_SAFE_OPENTELEMETRY adds to a download, around one that does nothing: the
span with its attributes, and the duration. The exporter drops the spans; what sending them costs
depends on yours.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Sequence
from time import process_time

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from scrapy import Request, Spider
from scrapy.http import Response
from scrapy.utils.test import get_crawler

from scrapy_curl_safe._crawl.download_spans import DownloadSpans

_DOWNLOADS = 5_000
_ROUNDS = 7
_INFO = {"worker": 0, "connection_reused": True, "handshake_time": None}
# Each runs in a process of its own, since a provider can be set only once.
_CASES = {
    "none": "the API alone, without an SDK",
    "sampled": "the SDK, with one span in a hundred sampled",
    "all": "the SDK, with every span",
}


class _Dropping(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def main() -> None:
    (case,) = sys.argv[1:]
    if case != "none":
        tracers = TracerProvider(sampler=TraceIdRatioBased(0.01 if case == "sampled" else 1.0))
        tracers.add_span_processor(BatchSpanProcessor(_Dropping()))
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    bare, with_spans = asyncio.run(_time())
    print(f"{_CASES[case]}: {with_spans - bare:.1f} us a download")


async def _time() -> tuple[float, float]:
    """Return how long a download takes that does nothing, without spans and with them, in us."""

    async def download(request: Request) -> Response:
        request.meta["curl_safe_info"] = _INFO
        return response

    crawler = get_crawler(Spider)
    crawler.spider = Spider.from_crawler(crawler, name="spans")
    response = Response("https://origin.example/", protocol="HTTP/2")
    spans = DownloadSpans(crawler, download)
    times: dict[object, list[float]] = {download: [], spans.download_request: []}
    for _ in range(_ROUNDS):
        for function, taken in times.items():
            requests = [Request(f"https://origin.example/?page={n}") for n in range(_DOWNLOADS)]
            began = process_time()
            for request in requests:
                await function(request)  # type: ignore[operator]
            taken.append((process_time() - began) / _DOWNLOADS * 1e6)
    bare, with_spans = (statistics.median(taken) for taken in times.values())
    return bare, with_spans


if __name__ == "__main__":
    main()

"""Crawls with OpenTelemetry's SDK, whose spans and metrics are kept: `python -m testkit.telemetry`.

It runs `testkit.runner`, and in the end writes what `Telemetry` reads to the file that the variable
TELEMETRY_FILE names.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from testkit import runner

FILE = "TELEMETRY_FILE"


@dataclass(frozen=True)
class Telemetry:
    """The spans and metrics that a crawl gave to OpenTelemetry.

    Attributes:
        spans: as `ReadableSpan.to_json` writes them, in the order in which they ended.
        metrics: the data points of each metric, as `MetricsData.to_json` writes them.
    """

    spans: list[dict[str, Any]]
    metrics: dict[str, list[dict[str, Any]]]

    @classmethod
    def read(cls, path: Path) -> Telemetry:
        kept = json.loads(path.read_text())
        points = {
            metric["name"]: metric["data"]["data_points"]
            for resource in kept["metrics"]["resource_metrics"]
            for scope in resource["scope_metrics"]
            for metric in scope["metrics"]
        }
        return cls(kept["spans"], points)

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one point of a metric that has these labels."""
        (point,) = [
            point for point in self.metrics[name] if labels.items() <= point["attributes"].items()
        ]
        value: float = point["value"]
        return value


def main() -> None:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracers)
    metrics.set_meter_provider(MeterProvider([reader]))
    try:
        runner.main()
    finally:
        data = reader.get_metrics_data()
        kept = {
            "spans": [json.loads(span.to_json()) for span in exporter.get_finished_spans()],
            "metrics": {"resource_metrics": []} if data is None else json.loads(data.to_json()),
        }
        Path(os.environ[FILE]).write_text(json.dumps(kept))


if __name__ == "__main__":
    main()

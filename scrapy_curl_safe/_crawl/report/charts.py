"""The plots of a report, in Vega-Lite. Pure.

Colours are the page's, so that they follow its light and its dark scheme.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..._ipc.failures import HANDSHAKE_KINDS
from .data import ReportData
from .points import Point

Spec = dict[str, Any]

_KINDS = [kind.value for kind in HANDSHAKE_KINDS]
_ENDS = ("running", "recycled", "released", "died", "hung", "broke the protocol")
_UNITS = ((3 * 86400.0, 86400.0, "days"), (3 * 3600.0, 3600.0, "hours"), (180.0, 60.0, "minutes"))
_AXIS = {
    "domainColor": "var(--line)",
    "gridColor": "var(--line)",
    "tickColor": "var(--line)",
    "labelColor": "var(--text)",
    "titleColor": "var(--text)",
    "titleFontWeight": "normal",
}
_CONFIG = {
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": _AXIS,
    # So that the plots over time stand below each other.
    "axisY": {"minExtent": 32},
    "legend": {
        "orient": "top",
        "columns": 3,
        "title": None,
        "labelColor": "var(--text)",
        "symbolType": "square",
    },
}


class Chart(NamedTuple):
    """A plot of the page.

    Attributes:
        name: tells it from others.
        title: above it.
        spec: in Vega-Lite.
    """

    name: str
    title: str
    spec: Spec


def charts(data: ReportData) -> list[Chart]:
    """Return the plots for which there are data."""
    unit, name = _unit(data.seconds)
    time = _Time(unit, data.seconds, f"{name} since the start")
    points, rate = data.points, "a second"
    plot = partial(_over_time, points, time)
    done = "Handshakes that succeeded"
    found = [
        plot("pages", "Pages", rate, "good", lambda p: _rate(p.pages, p)),
        plot("handshakes", done, rate, "good", lambda p: _rate(p.done, p)),
    ]
    if any(point.failed for point in points):
        found.append(_failed(points, time))
    if any(point.retries for point in points):
        title = "Retries of requests, whatever their reason"
        found.append(plot("retries", title, rate, "warn", lambda p: _rate(p.retries, p)))
    if any(point.given_up for point in points):
        title = "Requests given up, since handshakes failed"
        found.append(plot("given-up", title, "requests", "bad", lambda p: p.given_up))
    found.append(plot("in-flight", "Requests in flight", "requests", "calm", lambda p: p.in_flight))
    if any(point.limited for point in points):
        title = "Lowest limit on handshakes with an origin"
        lowered = [point for point in points if point.lowest_limit is not None]
        found.append(
            _over_time(lowered, time, "limits", title, "at once", "warn", lambda p: p.lowest_limit)
        )
    if data.handshake_times:
        found.append(_times(data.handshake_times))
    if data.workers:
        found.append(_workers(data, time))
    return found


def _unit(seconds: float) -> tuple[float, str]:
    """Return the unit of a time axis: its seconds, and its name."""
    return next(((u, name) for least, u, name in _UNITS if seconds >= least), (1.0, "seconds"))


class _Time:
    """The axis that plots of the course of a crawl have in common."""

    def __init__(self, unit: float, seconds: float, title: str) -> None:
        self._unit = unit
        self.axis = {
            "type": "quantitative",
            "title": title,
            "axis": {"grid": False},
            "scale": {"domain": [0, seconds / unit], "nice": False},
        }

    def span(self, start: float, end: float) -> Spec:
        return {"from": start / self._unit, "to": end / self._unit}

    def of(self, point: Point) -> Spec:
        return self.span(max(0.0, point.end - point.seconds), point.end)


def _spec(
    title: str, values: Iterable[Spec], mark: Spec, encoding: Spec, height: int = 150
) -> Spec:
    return {
        "description": title,
        "data": {"values": list(values)},
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "background": "transparent",
        "config": _CONFIG,
        "mark": {"tooltip": True, **mark},
        "encoding": encoding,
    }


def _bars(title: str, values: Iterable[Spec], time: _Time, axis: str, more: Spec) -> Spec:
    """Return bars from `low` to `high`, as wide as the spans of their points."""
    encoding = {
        "x": {"field": "from", **time.axis},
        "x2": {"field": "to"},
        "y": {"field": "low", "type": "quantitative", "title": axis},
        "y2": {"field": "high"},
        **more,
    }
    return _spec(title, values, {"type": "rect"}, encoding)


def _rate(count: int, point: Point) -> float:
    return count / point.seconds if point.seconds > 0 else 0.0


def _over_time(
    points: Iterable[Point],
    time: _Time,
    name: str,
    title: str,
    axis: str,
    colour: str,
    height: Callable[[Point], float | None],
) -> Chart:
    """Return a bar for each point.

    Args:
        height: of its bar.
    """
    values = [{**time.of(p), "low": 0, "high": height(p)} for p in points]
    spec = _bars(title, values, time, axis, {"color": {"value": f"var(--{colour})"}})
    return Chart(name, title, spec)


def _failed(points: list[Point], time: _Time) -> Chart:
    title = "Failed handshakes, by kind"
    seen = {kind for p in points for kind in p.failed}
    colours = {kind: f"var(--{kind})" for kind in _KINDS if kind in seen}
    values = []
    for p in points:
        low = 0.0
        for kind in colours:
            high = low + _rate(p.failed.get(kind, 0), p)
            values.append({**time.of(p), "low": low, "high": high, "kind": kind})
            low = high
    spec = _bars(title, values, time, "a second", {"color": _colours("kind", colours)})
    return Chart("failed", title, spec)


def _colours(field: str, colours: Mapping[str, str]) -> Spec:
    scale = {"domain": list(colours), "range": list(colours.values())}
    return {"field": field, "type": "nominal", "scale": scale}


def _times(bars: list[tuple[float, float, int]]) -> Chart:
    title = "Those that succeeded"
    values = [
        {"from": 1000 * low, "to": 1000 * high, "low": 0, "high": count}
        for low, high, count in bars
    ]
    encoding = {
        "x": {
            "field": "from",
            "type": "quantitative",
            "title": "milliseconds",
            "scale": {"type": "log", "nice": False},
            "axis": {"grid": False, "format": "~g", "labelOverlap": True},
        },
        "x2": {"field": "to"},
        "y": {"field": "low", "type": "quantitative", "title": "handshakes"},
        "y2": {"field": "high"},
        "color": {"value": "var(--good)"},
    }
    return Chart("times", title, _spec(title, values, {"type": "rect"}, encoding))


def _workers(data: ReportData, time: _Time) -> Chart:
    title = "Lives of the workers"
    values = [
        {
            **time.span(life.start, data.seconds if life.end is None else life.end),
            "worker": life.slot,
            "pid": life.pid,
            "end": life.how or "running",
            "why": life.why,
        }
        for life in data.workers
    ]
    seen = {value["end"] for value in values}
    colours = {end: f"var(--{end.split()[0]})" for end in _ENDS if end in seen}
    encoding = {
        "x": {"field": "from", **time.axis},
        "x2": {"field": "to"},
        "y": {"field": "worker", "type": "ordinal", "title": "worker"},
        "color": _colours("end", colours),
        "stroke": {"value": "var(--paper)"},
    }
    slots = len({life.slot for life in data.workers})
    return Chart("workers", title, _spec(title, values, {"type": "bar"}, encoding, 24 * slots))

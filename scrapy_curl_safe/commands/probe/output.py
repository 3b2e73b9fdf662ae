"""Draws what the probe found: for people, and for machines."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .probe import Report, Watcher
from .steps import Route, Step, Wanted, by_concurrency, merged
from .verdict import Verdict

# Columns of the terminal.
_WIDTH_OF_SHARE = 30
_WIDTH_OF_TIME = 20


class ProgressBar(Watcher):
    """On this console, if that is a terminal. A context manager.

    Args:
        most: as many handshakes as there can be.
    """

    def __init__(self, console: Console, most: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns,
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("the workers start", total=most)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_step(self, wanted: Wanted) -> None:
        self._progress.update(self._task, description=_label(wanted.route, wanted.concurrency))

    def on_made(self) -> None:
        self._progress.advance(self._task)


def draw(report: Report, console: Console) -> None:
    by = f" by {report.proxy}" if report.proxy else ""
    name = report.browsers.given or "this client"
    size = report.hellos.get(Route.GIVEN)
    hello = f", its ClientHello has {size:,} bytes" if size else ""
    _say(console, f"Handshakes with {report.origin}{by} as {name}{hello}\n")
    if report.steps:
        console.print(_table(report))
        _picture(by_concurrency(report.steps), console)
    judgement = report.judgement
    style = "bold green" if judgement.verdict is Verdict.HEALTHY else "bold red"
    text = Text(judgement.verdict.value, style)
    text.append(f": {judgement.saw}", "default not bold")
    console.print(text)
    if judgement.advice:
        _say(console, judgement.advice)
    if judgement.settings:
        lines = (f"{name} = {json.dumps(value)}" for name, value in judgement.settings.items())
        console.print(Text("\n" + "\n".join(lines), "bold"))


def as_json(report: Report) -> str:
    judgement = report.judgement
    found: dict[str, Any] = {
        "origin": report.origin,
        "proxy": report.proxy,
        "impersonate": report.browsers.given,
        "verdict": judgement.verdict.value,
        "saw": judgement.saw,
        "advice": judgement.advice,
        "concurrency": judgement.concurrency,
        "settings": judgement.settings,
        "handshakes": sum(step.count for step in report.steps),
        "client_hello_bytes": {
            name: report.hellos.get(route)
            for route, name in _browsers(report).items()
            if report.hellos.get(route)
        },
        "steps": [_as_dict(step) for step in _rows(report)],
    }
    return json.dumps(found, indent=2)


def _as_dict(step: Step) -> dict[str, Any]:
    return {
        "route": step.route.value,
        "concurrency": step.concurrency,
        "handshakes": step.count,
        "completed": step.done,
        "failures": dict(step.failures),
        **{f"time_{name}": _rounded(step.time_at(share)) for name, share in _TIMES.items()},
    }


_TIMES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _browsers(report: Report) -> dict[Route, str]:
    browsers = report.browsers
    return {
        Route.GIVEN: browsers.given or "this client",
        Route.SMALL: browsers.small,
        Route.OTHER: browsers.other,
    }


def _rows(report: Report) -> list[Step]:
    """One for each concurrency and route."""
    rows = by_concurrency(report.steps)
    for route in (Route.DIRECT, Route.SMALL, Route.OTHER):
        steps = [step for step in report.steps if step.route is route]
        levels = sorted({step.concurrency for step in steps})
        rows += [merged(s for s in steps if s.concurrency == level) for level in levels]
    return rows


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("at once", justify="right")
    table.add_column("")
    for heading in ("tried", "done"):
        table.add_column(heading, justify="right")
    table.add_column("failures")
    for heading in _TIMES:
        table.add_column(heading, justify="right")
    browsers = _browsers(report)
    for step in _rows(report):
        route = "" if step.route is Route.GIVEN else step.route.value
        if step.route in (Route.SMALL, Route.OTHER):
            route += f" ({browsers[step.route]})"
        failures = ", ".join(f"{count} {kind}" for kind, count in step.failures.items())
        table.add_row(
            str(step.concurrency),
            route,
            str(step.count),
            Text(_percent(1 - step.failed_share), "red" if step.failed else "green"),
            failures,
            *(_milliseconds(step.time_at(share)) for share in _TIMES.values()),
        )
    return table


def _picture(levels: list[Step], console: Console) -> None:
    """A line for each concurrency: what share was completed, and how long it took."""
    slowest = max((level.time_at(0.95) or 0.0 for level in levels), default=0.0)
    _say(console, f"\n{'at once':>7}  {'█ done ░ failed':<{_WIDTH_OF_SHARE}}  █ p50 ▒ p95")
    for level in levels:
        line = Text(f"{level.concurrency:>7}  ")
        failed = _cells(level.failed_share, _WIDTH_OF_SHARE)
        line.append("█" * (_WIDTH_OF_SHARE - failed), "green")
        line.append("░" * failed, "red")
        if slowest and level.times:
            half = _cells((level.time_at(0.5) or 0.0) / slowest, _WIDTH_OF_TIME)
            most = _cells((level.time_at(0.95) or 0.0) / slowest, _WIDTH_OF_TIME)
            line.append("  " + "█" * half, "cyan")
            line.append("▒" * (most - half), "cyan")
        console.print(line)
    _say(console, "")


def _cells(share: float, width: int) -> int:
    """At least one for what is not nothing, and at most all but one for what is not all."""
    if share in (0.0, 1.0):
        return int(share * width)
    return min(width - 1, max(1, round(share * width)))


def _label(route: Route, concurrency: int) -> str:
    return f"{concurrency} at once" + ("" if route is Route.GIVEN else f", {route.value}")


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{share:.1%}"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _say(console: Console, text: str) -> None:
    console.print(Text(text))

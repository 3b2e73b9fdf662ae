"""Prints the progress and the result of a probe, for people or for machines."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from .run import ProbeObserver, ProbeReport
from .steps import PlannedStep, ProbeVariant, Step, by_concurrency, merged
from .verdict import Verdict

_SHARE_BAR_COLUMNS = 30
_TIME_BAR_COLUMNS = 20
_BLOCKS = ("█", "░", "▒")


class ProgressBar(ProbeObserver):
    """A progress bar on a console, if that is a terminal. A context manager.

    Args:
        console: where to draw it.
        most: the most handshakes that can be made.
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
        self._task = self._progress.add_task("starting workers", total=most)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_step(self, planned: PlannedStep) -> None:
        label = f"{planned.concurrency} at once"
        if planned.variant is not ProbeVariant.GIVEN:
            label += f", {planned.variant.value}"
        self._progress.update(self._task, description=label)

    def on_handshake(self) -> None:
        self._progress.advance(self._task)


def print_report(report: ProbeReport, console: Console) -> None:
    through = f" through {report.proxy}" if report.proxy else ""
    name = report.browsers.given_name
    size = report.hello_bytes.get(ProbeVariant.GIVEN)
    hello = f", with a ClientHello of {size:,} bytes" if size else ""
    _print(console, f"Handshakes with {report.origin}{through} as {name}{hello}\n")
    if report.steps:
        console.print(_table(report))
        _print_bars(by_concurrency(report.steps), console)
    judgement = report.judgement
    style = "bold green" if judgement.verdict is Verdict.HEALTHY else "bold red"
    text = Text(judgement.verdict.value, style)
    text.append(f": {judgement.saw}", "default not bold")
    console.print(text)
    if judgement.advice:
        _print(console, judgement.advice)
    if judgement.settings:
        lines = (f"{name} = {json.dumps(value)}" for name, value in judgement.settings.items())
        console.print(Text("\n" + "\n".join(lines), "bold"))


def report_json(report: ProbeReport) -> str:
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
            name: report.hello_bytes.get(variant)
            for variant, name in _browser_names(report).items()
            if report.hello_bytes.get(variant)
        },
        "steps": [_as_dict(step) for step in _rows(report)],
    }
    return json.dumps(found, indent=2)


def _as_dict(step: Step) -> dict[str, Any]:
    return {
        "route": step.variant.value,
        "concurrency": step.concurrency,
        "handshakes": step.count,
        "completed": step.done,
        "failures": dict(step.failures),
        **{f"time_{name}": _rounded(step.time_at(share)) for name, share in _TIMES.items()},
    }


_TIMES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _browser_names(report: ProbeReport) -> dict[ProbeVariant, str]:
    browsers = report.browsers
    return {
        ProbeVariant.GIVEN: browsers.given_name,
        ProbeVariant.SMALL_HELLO: browsers.small_hello,
        ProbeVariant.OTHER_BROWSER: browsers.other,
    }


def _rows(report: ProbeReport) -> list[Step]:
    """Return the steps, merged into one for each variant and concurrency."""
    rows = by_concurrency(report.steps)
    for variant in (ProbeVariant.DIRECT, ProbeVariant.SMALL_HELLO, ProbeVariant.OTHER_BROWSER):
        steps = [step for step in report.steps if step.variant is variant]
        levels = sorted({step.concurrency for step in steps})
        rows += [merged(s for s in steps if s.concurrency == level) for level in levels]
    return rows


def _table(report: ProbeReport) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("at once", justify="right")
    table.add_column("")
    for heading in ("tried", "done"):
        table.add_column(heading, justify="right")
    table.add_column("failures")
    for heading in _TIMES:
        table.add_column(heading, justify="right")
    names = _browser_names(report)
    for step in _rows(report):
        variant = "" if step.variant is ProbeVariant.GIVEN else step.variant.value
        if step.variant in (ProbeVariant.SMALL_HELLO, ProbeVariant.OTHER_BROWSER):
            variant += f" ({names[step.variant]})"
        failures = ", ".join(f"{count} {kind}" for kind, count in step.failures.items())
        table.add_row(
            str(step.concurrency),
            variant,
            str(step.count),
            Text(_percent(1 - step.failed_share), "red" if step.failed else "green"),
            failures,
            *(_milliseconds(step.time_at(share)) for share in _TIMES.values()),
        )
    return table


def _print_bars(levels: list[Step], console: Console) -> None:
    """Print a line for each concurrency: the share that succeeded, and how long it took."""
    slowest = max((level.time_at(0.95) or 0.0 for level in levels), default=0.0)
    full, light, medium = _shades(console)
    legend = f"{full} done {light} failed"
    _print(
        console,
        f"\n{'at once':>7}  {legend:<{_SHARE_BAR_COLUMNS}}  {full} p50 {medium} p95",
    )
    for level in levels:
        line = Text(f"{level.concurrency:>7}  ")
        failed = _cells(level.failed_share, _SHARE_BAR_COLUMNS)
        line.append(full * (_SHARE_BAR_COLUMNS - failed), "green")
        line.append(light * failed, "red")
        if slowest and level.times:
            half = _cells((level.time_at(0.5) or 0.0) / slowest, _TIME_BAR_COLUMNS)
            most = _cells((level.time_at(0.95) or 0.0) / slowest, _TIME_BAR_COLUMNS)
            line.append("  " + full * half, "cyan")
            line.append(medium * (most - half), "cyan")
        console.print(line)
    _print(console, "")


def _shades(console: Console) -> tuple[str, str, str]:
    """Return three characters for bars, in ASCII where the output has no blocks: in most of
    Windows' code pages."""
    try:
        "".join(_BLOCKS).encode(console.encoding)
    except UnicodeEncodeError:
        return "#", ".", "="
    return _BLOCKS


def _cells(share: float, width: int) -> int:
    """Return how many cells show a share: none only if it is 0, and all only if it is 1."""
    if share in (0.0, 1.0):
        return int(share * width)
    return min(width - 1, max(1, round(share * width)))


def _percent(share: float) -> str:
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{share:.1%}"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:,.0f} ms"


def _print(console: Console, text: str) -> None:
    console.print(Text(text))

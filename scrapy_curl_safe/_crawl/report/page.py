"""Writes the report of a crawl as one page that needs nothing else."""

from __future__ import annotations

import json
import re
from datetime import datetime
from html import escape
from pathlib import Path
from statistics import median

from . import tables
from .charts import Chart, charts
from .data import Advice, ReportData
from .drawing import vega_embed
from .points import Point

_HERE = Path(__file__).parent
# Whatever is in the page, it loads nothing. (Vega compiles expressions.)
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; "
    "img-src data:"
)
# Bars this many times as wide as most are no accident.
_WIDE = 2
_NO_ADVICE = "Nothing stands out: there is nothing to change."


def page(data: ReportData) -> str:
    """Return the page, in HTML."""
    drawn = {chart.name: _figure(chart) for chart in charts(data)}
    sections = [
        ("advice", "What to change", _advice(data.advice)),
        (
            "over-time",
            "What happened",
            _blocked(data.points)
            + "".join(figure for name, figure in drawn.items() if name not in ("times", "workers"))
            + _folded("The numbers over time", tables.course(data)),
        ),
        (
            "times-of-handshakes",
            "How long handshakes took",
            drawn["times"] + _folded("The numbers", tables.handshake_times(data))
            if "times" in drawn
            else "<p>No handshake was done.</p>",
        ),
        (
            "worst",
            "The worst origins and proxies",
            (
                tables.origins(data) + tables.kinds(data)
                if data.origins
                else "<p>No handshake failed.</p>"
            )
            + (tables.proxies(data) if data.proxies else ""),
        ),
        ("workers-lives", "Workers", drawn.get("workers", "") + tables.workers(data)),
        ("all-stats", "All stats", _folded("Stats of the crawl", tables.stats(data))),
    ]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{title}</h2>{text}</section>' for name, title, text in sections
    )
    numbers = "".join(
        f'<div><dt>{name}</dt><dd class="{"bad" if is_bad else "good"}">{value}</dd></div>'
        for name, value, is_bad in tables.summary(data)
    )
    title = f"Crawl of {escape(data.spider)}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{(_HERE / "page.css").read_text()}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>Began {_date(data.began)}, took {_duration(data.seconds)}, ended as
{escape(data.finish_reason)}. scrapy-curl-safe {escape(data.version)}</p>
<dl>{numbers}</dl>
<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>{body}</main>
<noscript><p>The plots need JavaScript. The tables have the same numbers.</p></noscript>
{_script(vega_embed())}
{_script((_HERE / "page.js").read_text())}
</body>
</html>
"""


def _script(text: str) -> str:
    # Else the first text that looks like the end would be the end.
    escaped = text.replace("</script", "<\\/script")
    return f"<script>{escaped}</script>"


def _date(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S} UTC"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest:.0f} s" if minutes else f"{rest:.1f} s"


def _figure(chart: Chart) -> str:
    # Within a script, HTML would read a tag.
    spec = json.dumps(chart.spec).replace("<", "\\u003c")
    return (
        f'<figure id="chart-{chart.name}"><figcaption>{escape(chart.title)}</figcaption>'
        f'<div class="plot"></div><script type="application/json">{spec}</script></figure>'
    )


def _blocked(points: list[Point]) -> str:
    """Explain bars that are wider than most, if there are any."""
    spans = [point.seconds for point in points[:-1]]
    if not spans or max(spans) < _WIDE * median(spans):
        return ""
    return (
        "<p>A bar that is wider than others stands for a time in which the event loop was blocked: "
        "what happened was only counted at its end.</p>"
    )


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>{text}</details>"


def _advice(advice: list[Advice]) -> str:
    if not advice:
        return f"<p>{_NO_ADVICE}</p>"
    return "".join(
        f"<article><h3>{escape(each.about)}</h3><p>{_prose(each.text)}</p>"
        f"{_to_copy('Command', each.command)}{_to_copy('Lines for settings.py', each.settings)}"
        "</article>"
        for each in advice
    )


def _prose(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _to_copy(what: str, lines: str) -> str:
    if not lines:
        return ""
    return (
        '<div class="copied"><button type="button">Copy</button>'
        f'<pre tabindex="0" aria-label="{what}"><code>{escape(lines)}</code></pre>'
        "</div>"
    )

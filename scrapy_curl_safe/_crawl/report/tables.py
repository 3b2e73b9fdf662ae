"""The tables of a report, in HTML. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from html import escape

from ..._ipc.failures import HANDSHAKE_KINDS
from ..advice import MEANINGS
from ..health import count_of
from .data import ReportData

_KINDS = [kind.value for kind in HANDSHAKE_KINDS]


def table(name: str, caption: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table that can be scrolled by itself. The first cell of a row is its heading.

    Args:
        name: of the table, for others to find.
    """
    cells = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}-caption">'
        f'<table id="{name}"><caption id="{name}-caption">{escape(caption)}</caption>'
        f"<thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[object]) -> str:
    first, *others = row
    return f'<th scope="row">{_text(first)}</th>' + "".join(_cell(cell) for cell in others)


def _cell(value: object) -> str:
    is_number = isinstance(value, (int, float))
    return f'<td class="number">{_text(value)}</td>' if is_number else f"<td>{_text(value)}</td>"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))


def _milliseconds(seconds: float) -> str:
    number = 1000 * seconds
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


def kinds(data: ReportData) -> str:
    """Return what the kinds of the failures mean."""
    seen = [kind for kind in HANDSHAKE_KINDS if any(kind.value in o.failed for o in data.origins)]
    rows = [(kind.value, MEANINGS[kind]) for kind in seen]
    return table("kinds", "What the kinds mean", ("kind", "meaning"), rows)


def course(data: ReportData) -> str:
    kinds = [kind for kind in _KINDS if any(kind in point.failed for point in data.points)]
    head = ["seconds", "pages", "handshakes done", *(f"failed: {kind}" for kind in kinds)]
    head += ["retries", "given up", "in flight", "limited origins", "lowest limit"]
    rows = [
        (
            f"{max(0.0, p.end - p.seconds):.1f} to {p.end:.1f}",
            p.pages,
            p.done,
            *(p.failed.get(kind, 0) for kind in kinds),
            p.retries,
            p.given_up,
            p.in_flight,
            p.limited,
            p.lowest_limit,
        )
        for p in data.points
    ]
    return table("course", "The course of the crawl", head, rows)


def handshake_times(data: ReportData) -> str:
    rows = [
        (f"{_milliseconds(low)} to {_milliseconds(high)}", count)
        for low, high, count in data.handshake_times
    ]
    return table("handshake-times", "How long handshakes took", ("milliseconds", "count"), rows)


def origins(data: ReportData) -> str:
    head = ("origin", "proxy", "done", "failed", "share", "kinds", "limit")
    rows = []
    for origin in data.origins:
        failed = sum(origin.failed.values())
        limit = "unavailable" if origin.is_unavailable else origin.limit
        share = f"{failed / (failed + origin.done):.1%}"
        kinds = _counts(origin.failed)
        rows.append((origin.origin, origin.proxy, origin.done, failed, share, kinds, limit))
    return table("origins", "Origins with failed handshakes, the worst first", head, rows)


def proxies(data: ReportData) -> str:
    head = ("proxy", "handshakes done", "failed", "requests of sessions", "failed", "blocked")
    rows = [
        (
            proxy.proxy,
            proxy.done,
            _counts(proxy.failed) or 0,
            proxy.requests,
            _counts(proxy.causes) or 0,
            proxy.blocked,
        )
        for proxy in data.proxies
    ]
    return table("proxies", "Proxies with failures, the worst first", head, rows)


def workers(data: ReportData) -> str:
    head = ("worker", "pid", "from second", "to second", "end", "cause", "requests")
    rows = [
        (
            life.slot,
            life.pid,
            f"{life.start:.1f}",
            f"{data.seconds if life.end is None else life.end:.1f}",
            life.how or "ran to the end",
            life.why,
            life.served,
        )
        for life in data.workers
    ]
    caption = "Workers, in the order of their start"
    if data.workers_forgotten:
        caption += f" ({data.workers_forgotten} earlier ones are not listed)"
    caption += ". Their requests include those for a browser's headers, which go to no origin"
    return table("workers", caption, head, rows)


def stats(data: ReportData) -> str:
    rows = list(data.stats.items())
    return table("stats", "Stats at the end of the crawl", ("stat", "value"), rows)


def summary(data: ReportData) -> list[tuple[str, str, bool]]:
    """Return the numbers that come first, each with its name and whether it is bad news."""
    count = partial(count_of, data.stats)
    handshakes, failed = count("handshake/count"), count("handshake/failure_count")
    share = f" ({failed / handshakes:.1%})" if handshakes else ""
    given_up = count("handshake/gave_up_count")
    ended = sum(count(f"worker/{how}_count") for how in ("crash", "hang"))
    return [
        ("pages", f"{count('response_count'):,}", False),
        ("handshakes", f"{handshakes:,}", False),
        ("failed", f"{failed:,}{share}", False),
        ("retries", f"{int(data.stats.get('retry/count', 0)):,}", False),
        ("requests given up", f"{given_up:,}", bool(given_up)),
        ("workers that died", f"{ended:,}", bool(ended)),
    ]


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())

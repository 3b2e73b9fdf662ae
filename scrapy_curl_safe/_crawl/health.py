"""The words of the health line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .stats import PREFIX
from .words import many


class Progress(NamedTuple):
    """Counts of a crawl, since its start or since the last line."""

    responses: int
    handshakes: int
    failed: int

    def since(self, before: Progress) -> Progress:
        return Progress(*(now - then for now, then in zip(self, before, strict=True)))

    @property
    def failure_rate(self) -> float:
        return self.failed / self.handshakes if self.handshakes else 0.0


def progress_of(stats: Mapping[str, Any]) -> Progress:
    keys = ("response_count", "handshake/count", "handshake/failure_count")
    return Progress(*(_count(stats, key) for key in keys))


def health_line(
    stats: Mapping[str, Any],
    before: Progress | None,
    *,
    waiting: int,
    workers: tuple[int, int] | None,
) -> str:
    """Return what the health line says of a crawl, the limits of its origins apart.

    Args:
        stats: of the crawl.
        before: as of the last line; None if this is the first.
        waiting: how many requests wait for their next retry.
        workers: how many take requests, and how many should; None if none download.
    """
    now = progress_of(stats)
    reused = _count(stats, "connection/reused_count")
    clauses = [
        f"{many(now.responses, 'response')}, {reused} on reused connections",
        _handshakes(now, _by_cause(stats, "handshake/failure_count")),
    ]
    if unconnected := _count(stats, "connection/failure_count"):
        causes = _by_cause(stats, "connection/failure_count")
        clauses.append(f"{many(unconnected, 'connection')} not made ({causes})")
    clauses += _retries(stats, waiting)
    if workers is not None:
        clauses.append(f"{workers[0]} of {many(workers[1], 'worker')} up")
        if crashed := _count(stats, "worker/crash_count") + _count(stats, "worker/hang_count"):
            clauses[-1] += f", {crashed} crashed"
    line = f"Health of the whole crawl: {'; '.join(clauses)}"
    if before is not None:
        new = now.since(before)
        line += f". Since the last line: {many(new.responses, 'response')}; {_handshakes(new)}"
    return line


def _handshakes(progress: Progress, causes: str = "") -> str:
    words = many(progress.handshakes, "handshake")
    if not progress.failed:
        return words
    share = f"{progress.failure_rate:.1%}".replace("%", " %")
    return f"{words}, {progress.failed} of them failed ({share}{causes and ': ' + causes})"


def _retries(stats: Mapping[str, Any], waiting: int) -> list[str]:
    gave_up = _count(stats, "handshake/gave_up_count")
    clauses = []
    if retries := _count(stats, "handshake/retry_count"):
        requests = _count(stats, "handshake/retried_request_count")
        recovered = _count(stats, "handshake/recovered_count")
        outcome = f"{recovered} recovered"
        if open_ := requests - recovered:
            outcome += f", {open_} without a response"
        again = "1 retry" if retries == 1 else f"{retries} retries"
        clauses.append(f"{again} of {many(requests, 'request')} ({outcome})")
    if waiting:
        clauses.append(f"{many(waiting, 'request')} waiting for a retry")
    if gave_up:
        clauses.append(f"{many(gave_up, 'request')} given up")
    return clauses


def _by_cause(stats: Mapping[str, Any], key: str) -> str:
    prefix = f"{PREFIX}{key}/"
    causes = {name.removeprefix(prefix): stats[name] for name in stats if name.startswith(prefix)}
    return ", ".join(
        f"{causes[cause]} {cause}" for cause in sorted(causes, key=lambda c: -causes[c])
    )


def _count(stats: Mapping[str, Any], key: str) -> int:
    count: int = stats.get(PREFIX + key, 0)
    return count

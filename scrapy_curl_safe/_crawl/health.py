"""The words of the health line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .._pool.origins import Origin
from .sessions.pool import SESSION_BLOCKS, SESSION_ENDS
from .stats import PREFIX
from .words import by_count, many

#: The share of failures among fewer handshakes says nothing.
LEAST_HANDSHAKES = 10
# From here on a handshake in the crawler's own process would be in danger: origins may allow it
# just a few seconds.
LONG_BLOCK_SECONDS = 1.0
# The number of origins that a line names.
_IN_LINE = 3


class SessionCounts(NamedTuple):
    """Sessions and proxies at the moment.

    Attributes:
        alive: sessions that get requests.
        resting: proxies that rest.
        proxies: in all.
    """

    alive: int
    resting: int
    proxies: int


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
    return Progress(*(count_of(stats, key) for key in keys))


def health_line(
    stats: Mapping[str, Any],
    before: Progress | None,
    *,
    waiting: int,
    workers: tuple[int, int] | None,
    sessions: SessionCounts | None = None,
) -> str:
    """Return what the health line says of a crawl, the limits of its origins apart.

    Args:
        stats: of the crawl.
        before: as of the last line; None if this is the first.
        waiting: how many requests wait for their next retry.
        workers: how many take requests, and how many should; None if none download.
        sessions: None without CURL_SAFE_SESSIONS.
    """
    now = progress_of(stats)
    reused = count_of(stats, "connection/reused_count")
    clauses = [
        f"{many(now.responses, 'response')}, {reused} on reused connections",
        _handshakes(now, _by_cause(stats, "handshake/failure_count")),
    ]
    if unconnected := count_of(stats, "connection/failure_count"):
        causes = _by_cause(stats, "connection/failure_count")
        clauses.append(f"{many(unconnected, 'connection')} not made ({causes})")
    clauses += _retries(stats, waiting)
    if workers is not None:
        clauses.append(f"{workers[0]} of {many(workers[1], 'worker')} up")
        if crashed := count_of(stats, "worker/crash_count") + count_of(stats, "worker/hang_count"):
            clauses[-1] += f", {crashed} crashed"
    if (blocked := stats.get(f"{PREFIX}loop_lag_max", 0.0)) >= LONG_BLOCK_SECONDS:
        clauses.append(f"event loop blocked for up to {blocked:.1f} s, by a callback or a pipeline")
    if sessions is not None:
        clauses += _sessions(stats, sessions)
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
    gave_up = count_of(stats, "handshake/gave_up_count")
    clauses = []
    if retries := count_of(stats, "handshake/retry_count"):
        requests = count_of(stats, "handshake/retried_request_count")
        recovered = count_of(stats, "handshake/recovered_count")
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


def _sessions(stats: Mapping[str, Any], now: SessionCounts) -> list[str]:
    alive = many(now.alive, "session")
    if ended := _by_cause(stats, SESSION_ENDS):
        alive += f", ended before: {ended}"
    clauses = [alive]
    if blocks := _by_cause(stats, SESSION_BLOCKS):
        clauses.append(f"blocked: {blocks}")
    if now.resting:
        clauses.append(f"{now.resting} of {now.proxies} proxies resting")
    return clauses


def named_limits(limited: Sequence[Origin]) -> str:
    """Return the limits of origins whose limit is lowered, the first three by name."""
    named = [f"{origin.route} {shown_limit(origin)}" for origin in limited[:_IN_LINE]]
    more = f" and {len(limited) - _IN_LINE} more" if len(limited) > _IN_LINE else ""
    return f"{', '.join(named)}{more}"


def shown_limit(origin: Origin) -> int | str:
    """Return an origin's limit; "unavailable" if its circuit breaker is open."""
    return "unavailable" if origin.breaker.is_open else origin.limit.value


def count_of(stats: Mapping[str, Any], key: str) -> int:
    """Return a count of the stats, which is missing there as long as it is 0."""
    count: int = stats.get(PREFIX + key, 0)
    return count


def counts_below(stats: Mapping[str, Any], key: str) -> dict[str, int]:
    """Return the counts below a key of the stats."""
    prefix = f"{PREFIX}{key}/"
    return {name.removeprefix(prefix): stats[name] for name in stats if name.startswith(prefix)}


def _by_cause(stats: Mapping[str, Any], key: str) -> str:
    return by_count(counts_below(stats, key))

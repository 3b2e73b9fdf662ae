"""The health line as data, for programs that collect logs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .._pool.origins import Origin
from .health import Progress, SessionCounts, count_of, counts_below, progress_of, shown_limit
from .sessions.pool import SESSION_BLOCKS, SESSION_ENDS
from .stats import PREFIX

#: The keys of a record, with their meaning.
KEYS = {
    "spider": "the spider's name",
    "responses": "responses that came through the workers",
    "reused": "those that found an idle connection",
    "handshakes": "TLS handshakes tried",
    "handshakes_failed": "those that failed",
    "handshake_failures": "the same by kind",
    "connection_failures": "connections that were not made, by cause",
    "retries": "retries of failed handshakes",
    "retried_requests": "the requests that these were for",
    "recovered": "those of them that got a response",
    "given_up": "requests that failed until no retry was left",
    "waiting": "requests that wait for a retry now",
    "workers_up": "workers that take requests now",
    "workers": "workers that there should be",
    "workers_crashed": "workers that have died or hung",
    "loop_lag_max": "the longest time for which the event loop was blocked, in seconds",
    "new_responses": "responses since the last line",
    "new_handshakes": "handshakes since the last line",
    "new_handshakes_failed": "those of them that failed",
    "limits": 'the lowest limits by origin; "unavailable" where the circuit breaker is open',
    "sessions": "sessions that get requests now",
    "sessions_ended": "those that ended, by reason",
    "blocks": "responses that were blocks, by reason",
    "proxies": "proxies in all",
    "proxies_resting": "those that rest now",
}

# The stats that a record has as they are.
_COUNTS = {
    "reused": "connection/reused_count",
    "retries": "handshake/retry_count",
    "retried_requests": "handshake/retried_request_count",
    "recovered": "handshake/recovered_count",
    "given_up": "handshake/gave_up_count",
}


def health_record(
    stats: Mapping[str, Any],
    before: Progress | None,
    *,
    spider: str,
    waiting: int,
    workers: tuple[int, int] | None,
    sessions: SessionCounts | None,
    limited: Sequence[Origin],
) -> dict[str, Any]:
    """Return the health of a crawl, with the keys of `KEYS`.

    Args:
        stats: of the crawl.
        before: as of the last line; None if this is the first.
        waiting: how many requests wait for their next retry.
        workers: how many take requests, and how many should; None if none download.
        sessions: None without CURL_SAFE_SESSIONS.
        limited: origins to name, whose limit is lowered.
    """
    now = progress_of(stats)
    record: dict[str, Any] = {
        "spider": spider,
        "responses": now.responses,
        "handshakes": now.handshakes,
        "handshakes_failed": now.failed,
        "handshake_failures": counts_below(stats, "handshake/failure_count"),
        "connection_failures": counts_below(stats, "connection/failure_count"),
        "waiting": waiting,
        **{key: count_of(stats, stat) for key, stat in _COUNTS.items()},
        "limits": {str(origin.route): shown_limit(origin) for origin in limited},
    }
    if workers is not None:
        crashes = ("worker/crash_count", "worker/hang_count")
        record["workers_up"], record["workers"] = workers
        record["workers_crashed"] = sum(count_of(stats, stat) for stat in crashes)
    if (lag := stats.get(f"{PREFIX}loop_lag_max")) is not None:
        record["loop_lag_max"] = lag
    if before is not None:
        new = now.since(before)
        record["new_responses"] = new.responses
        record["new_handshakes"], record["new_handshakes_failed"] = new.handshakes, new.failed
    if sessions is not None:
        record["sessions"] = sessions.alive
        record["sessions_ended"] = counts_below(stats, SESSION_ENDS)
        record["blocks"] = counts_below(stats, SESSION_BLOCKS)
        record["proxies"], record["proxies_resting"] = sessions.proxies, sessions.resting
    return record

"""The stats under `curl_safe/`: declared once, and counted as things happen.

A count reaches Scrapy's stats with all others of the same turn of the loop: one call of `inc_value`
costs 2 µs there, and one page has eight counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from scrapy.statscollectors import StatsCollector

from .._ipc.failures import FailureKind
from .._ipc.messages import Ready, TransferStats
from .._pool.worker import Worker
from .histogram import LogHistogram
from .start_log import StartLog
from .worker_lives import WorkerLives

PREFIX = "curl_safe/"


class Stat(NamedTuple):
    """The declaration of a stat.

    Attributes:
        key: below `curl_safe/`; `{kind}` stands for each kind of failed handshake, `{cause}` for
            each value of `CONNECTION_CAUSES`, and any other name for what the meaning lists.
        meaning: for the reference.
        type: "counter" (only adds up), "max", or "rate" (set at the end of each interval).
        metric: name of the Prometheus counter that shows it; empty if none shows it alone.
        label: value of that metric's label; empty if the metric has none.
    """

    key: str
    meaning: str
    type: str = "counter"
    metric: str = ""
    label: str = ""


STATS = (
    Stat("request_count", "requests given to the pool", metric="curl_safe_requests"),
    Stat("response_count", "responses that came out of it"),
    Stat("in_flight_max", "most requests in flight at once", "max"),
    Stat(
        "wire_bytes_sent",
        "as libcurl counts them, without TLS",
        metric="curl_safe_wire_bytes",
        label="sent",
    ),
    Stat(
        "wire_bytes_received",
        "as libcurl counts them, without TLS",
        metric="curl_safe_wire_bytes",
        label="received",
    ),
    Stat("connection/reused_count", "responses on a reused connection"),
    Stat(
        "connection/resent_count",
        "requests that libcurl resent because their connection died before the answer began",
    ),
    Stat(
        "connection/failure_count",
        "connections that could not be made, before any TLS handshake with the origin",
    ),
    Stat(
        "connection/failure_count/{cause}",
        "by the cause: `refused`, `unresolved`, `timeout`, `proxy` (it refused or failed), "
        "`proxy_auth` or `proxy_tls`",
    ),
    Stat("handshake/count", "TLS handshakes tried"),
    Stat("handshake/success_count", "those that succeeded"),
    Stat("handshake/failure_count", "those that failed"),
    Stat("handshake/failure_count/{kind}", "by the kind of failure"),
    Stat("handshake/failure_rate", "`failure_count` / `count`, set at the end", "rate"),
    Stat(
        "handshake/resumed_count",
        "handshakes that resumed a TLS session",
        metric="curl_safe_handshakes_resumed",
    ),
    Stat(
        "handshake/time_p50",
        "seconds, of those that succeeded; set at the end, as the next two",
        "rate",
    ),
    Stat("handshake/time_p95", "seconds", "rate"),
    Stat("handshake/time_max", "seconds", "rate"),
    Stat(
        "handshake/retry_count",
        "retries of failed handshakes",
        metric="curl_safe_handshake_retries",
    ),
    Stat("handshake/retried_request_count", "requests with one such retry or more"),
    Stat(
        "handshake/recovered_count",
        "requests that got a response after such a retry",
        metric="curl_safe_handshake_outcomes",
        label="recovered",
    ),
    Stat(
        "handshake/gave_up_count",
        "requests that got no response, since handshakes failed until no retry was left",
        metric="curl_safe_handshake_outcomes",
        label="gave_up",
    ),
    Stat(
        "throttle/decrease_count",
        "times that the limit of an origin was lowered",
        metric="curl_safe_limit_decreases",
    ),
    Stat(
        "breaker/open_count",
        "times that the circuit breaker of an origin opened",
        metric="curl_safe_breaker_openings",
    ),
    Stat(
        "breaker/rejected_count",
        "times that a request was not tried, since the circuit breaker of its origin was open",
    ),
    Stat("worker/start_count", "workers started", metric="curl_safe_worker_starts"),
    Stat(
        "worker/crash_count",
        "workers that died",
        metric="curl_safe_worker_ends",
        label="crash",
    ),
    Stat(
        "worker/hang_count",
        "workers that sent no heartbeat and were killed",
        metric="curl_safe_worker_ends",
        label="hang",
    ),
    Stat(
        "worker/recycle_count",
        "workers replaced without losing a request",
        metric="curl_safe_worker_ends",
        label="recycle",
    ),
    Stat(
        "worker/lost_request_count",
        "requests in flight in a worker that died; each is retried",
        metric="curl_safe_lost_requests",
    ),
    Stat(
        "worker/quarantine_count",
        "requests that were in flight in two workers when they died, and got one of their own",
        metric="curl_safe_quarantined_requests",
    ),
    Stat("session/open_count", "sessions that were opened"),
    Stat(
        "session/end_count/{ending}",
        "sessions that ended, by the reason: `requests`, `age`, `blocked`, `proxy` (it failed), "
        "`unused` (there are too many origins to keep all), or `replaced` (by a browser's)",
    ),
    Stat(
        "session/block_count/{reason}",
        "responses, and failures, that were blocks, by the reason that the policy gives: a status, "
        "`challenge` or `handshake`",
    ),
    Stat(
        "proxy/failure_count/{failure}",
        "requests that failed by the proxy of their session, by the cause: `refused`, `timeout`, "
        "`handshake`, `407`, or `unavailable` (the circuit breaker of the way through it is open)",
    ),
    Stat("loop_lag_max", "seconds that the crawler's own loop was blocked", "max"),
)


#: Why no connection was made, as the stats name it.
CONNECTION_CAUSES = {
    FailureKind.REFUSED: "refused",
    FailureKind.UNRESOLVED: "unresolved",
    FailureKind.DOWNLOAD_TIMEOUT: "timeout",
    FailureKind.PROXY: "proxy",
    FailureKind.PROXY_TUNNEL: "proxy",
    FailureKind.PROXY_AUTH: "proxy_auth",
    FailureKind.PROXY_TLS: "proxy_tls",
}


class CrawlStats:
    """Counts what the pool and the handler report into Scrapy's stats; the middleware counts the
    retries.

    Args:
        stats: of the crawler.
        call_soon: calls a function at the end of this turn of the loop.
        start_log: is told what workers say when they come up; None for nobody.

    Attributes:
        handshake_times: of the handshakes that succeeded.
        worker_lives: of the workers, those that have ended included.
    """

    def __init__(
        self,
        stats: StatsCollector,
        call_soon: Callable[[Callable[[], None]], object],
        start_log: StartLog | None = None,
    ) -> None:
        self._stats = stats
        self._call_soon = call_soon
        self._start_log = start_log
        self._counts: defaultdict[str, int] = defaultdict(int)
        # By key: the highest value since the last `flush`.
        self._highest: dict[str, float] = {}
        self._is_flush_due = False
        self.handshake_times = LogHistogram()
        self.worker_lives = WorkerLives()
        self._most_in_flight = 0

    def _add(self, key: str, count: int = 1) -> None:
        if count:
            self._counting()[key] += count

    def _counting(self) -> defaultdict[str, int]:
        """Return the counts, which are passed on at the end of this turn of the loop."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._call_soon(self.flush)
        return self._counts

    def _reach(self, key: str, value: float) -> None:
        self._highest[key] = max(value, self._highest.get(key, value))
        self._counting()

    def flush(self) -> None:
        """Pass on what was counted since the last time."""
        self._is_flush_due = False
        counts, self._counts = self._counts, defaultdict(int)
        highest, self._highest = self._highest, {}
        for key, count in counts.items():
            if count:
                self._stats.inc_value(PREFIX + key, count)
        for key, value in highest.items():
            self._stats.max_value(PREFIX + key, value)

    # Requests

    def request(self) -> None:
        self._add("request_count")

    def response(self, transfer: TransferStats) -> None:
        counts = self._counting()
        counts["response_count"] += 1
        if not transfer.connects:
            counts["connection/reused_count"] += 1

    def transferred(self, transfer: TransferStats) -> None:
        counts = self._counting()
        counts["wire_bytes_sent"] += transfer.bytes_sent
        counts["wire_bytes_received"] += transfer.bytes_received
        if transfer.resends:
            counts["connection/resent_count"] += transfer.resends

    def request_recovered(self) -> None:
        self._add("handshake/recovered_count")

    def request_rejected(self) -> None:
        self._add("breaker/rejected_count")

    def request_quarantined(self) -> None:
        self._add("worker/quarantine_count")

    def connection_failed(self, transfer: TransferStats, kind: FailureKind) -> str | None:
        """Count a transfer that failed, if that was before it had a connection.

        Returns:
            The cause; None if it had one.
        """
        cause = CONNECTION_CAUSES.get(kind)
        was_late = kind is FailureKind.DOWNLOAD_TIMEOUT and (
            transfer.connects or transfer.bytes_sent
        )
        if cause is None or was_late:
            return None
        self._add("connection/failure_count")
        self._add(f"connection/failure_count/{cause}")
        return cause

    def handshakes(self, transfer: TransferStats, failed: FailureKind | None = None) -> None:
        """Count the handshakes of one transfer.

        Args:
            failed: why the last one failed; None if it did not.
        """
        done = transfer.connects
        if not done and failed is None:
            return
        if failed is not None:
            done = max(0, done - 1)
            self._add("handshake/failure_count")
            self._add(f"handshake/failure_count/{failed.value}")
        elif transfer.handshake_at is None:
            done = 0
        self._add("handshake/count", done + (failed is not None))
        self._add("handshake/success_count", done)
        self._add("handshake/resumed_count", int(transfer.resumed))
        seconds = transfer.handshake_time
        if seconds is not None and failed is None:
            self.handshake_times.add(seconds)

    # The pool's events (see `PoolEvents`)

    def in_flight(self, count: int) -> None:
        if count > self._most_in_flight:
            self._most_in_flight = count
            self._reach("in_flight_max", count)

    def limit_decreased(self) -> None:
        self._add("throttle/decrease_count")

    def breaker_opened(self) -> None:
        self._add("breaker/open_count")

    def worker_started(self, worker: Worker) -> None:
        self._add("worker/start_count")
        self.worker_lives.started(worker)

    def worker_ready(self, ready: Ready) -> None:
        if self._start_log is not None:
            self._start_log.note(ready)

    def worker_crashed(self) -> None:
        self._add("worker/crash_count")

    def worker_hung(self) -> None:
        self._add("worker/hang_count")

    def worker_replaced(self, worker: Worker, reason: str) -> None:
        self._add("worker/recycle_count")
        self.worker_lives.replaced(worker, reason)

    def worker_exited(self, worker: Worker, status: int) -> None:
        self.worker_lives.exited(worker, status)

    def requests_lost(self, count: int) -> None:
        self._add("worker/lost_request_count", count)

    def loop_lag(self, seconds: float) -> None:
        self._reach("loop_lag_max", round(max(0.0, seconds), 6))

    # Rates

    def set_rates(self) -> None:
        """Compute the stats that do not just add up."""
        self.flush()
        count = self._stats.get_value("curl_safe/handshake/count", 0)
        if not count:
            return
        failed = self._stats.get_value("curl_safe/handshake/failure_count", 0)
        times = self.handshake_times
        for key, value in (
            ("failure_rate", failed / count),
            ("time_p50", times.percentile(0.5)),
            ("time_p95", times.percentile(0.95)),
            ("time_max", times.max),
        ):
            self._stats.set_value(f"curl_safe/handshake/{key}", round(value, 6))

"""The stats under `curl_safe/`, counted as things happen.

Counters only add up, so that the stats of several machines can be summed; rates and
percentiles are set when `set_rates` is called.

A count reaches Scrapy's stats with all others of the same turn of the loop: one call of
`inc_value` costs 2 µs there, and one page has eight counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

from scrapy.statscollectors import StatsCollector

from .wire import Transfer

# Of the histogram: 1 ms, 2.15 ms, 4.64 ms, 10 ms, and so on to 100 s.
_BOUNDS = range(-144, 97, 16)


class Percentiles:
    """Of any number of durations, in bounded memory: counts in buckets that are each 5 %
    wider than the one before (48 make a power of ten), so a percentile is at most 5 % too high.

    Attributes:
        max: the longest, in seconds.
        total: all of them together, in seconds.
    """

    _WIDTH = math.log(10) / 48

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0
        self.max = 0.0
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[math.ceil(math.log(max(seconds, 1e-6)) / self._WIDTH)] += 1
        self._count += 1
        self.max = max(self.max, seconds)
        self.total += seconds

    def at(self, share: float) -> float:
        """The duration that this share of all does not exceed; 0.0 if there is none."""
        needed = share * self._count
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= needed:
                return min(self.max, math.exp(bucket * self._WIDTH))
        return 0.0

    def histogram(self) -> list[tuple[float, int]]:
        """Bounds in seconds (of three digits), each with how many were not above it; the last
        bound is infinite."""
        counts = [
            (
                float(f"{math.exp(bound * self._WIDTH):.3g}"),
                sum(count for bucket, count in self._buckets.items() if bucket <= bound),
            )
            for bound in _BOUNDS
        ]
        return [*counts, (math.inf, self._count)]


class Figures:
    """What the pool and the handler count, into Scrapy's stats. Those of retries are the
    middleware's.

    Stats:
        request_count: requests given to the pool
        response_count: responses that came out of it
        in_flight_max: most requests in flight at once
        wire_bytes_sent: as libcurl counts them, without TLS
        wire_bytes_received: as libcurl counts them, without TLS
        connection/reused_count: responses on a warm connection
        handshake/count: TLS handshakes tried
        handshake/success_count: those that were done
        handshake/failure_count: those that failed
        handshake/failure_count/{kind}: by the kind of failure
        handshake/failure_rate: `failure_count` / `count`, set at the end
        handshake/resumed_count: handshakes that resumed a TLS session
        handshake/time_p50: seconds, of those that were done; set at the end, as the next two
        handshake/time_p95: seconds
        handshake/time_max: seconds
        handshake/retry_count: retries of failed handshakes
        handshake/recovered_count: requests that had such a retry and then a response
        handshake/gave_up_count: requests whose handshakes failed until no retry was left
        throttle/decrease_count: times that the limit of an origin went down
        breaker/open_count: times that an origin was left alone for a while
        worker/start_count: workers started
        worker/crash_count: workers that died
        worker/hang_count: workers that gave no sign of life and were killed
        worker/recycle_count: workers replaced in good order
        worker/lost_request_count: requests in flight in a worker that died; each is retried
        worker/quarantine_count: requests that were in flight in two workers as they died, and got
            a worker of their own
        loop_lag_max: seconds that the crawler's own loop was blocked

    Args:
        call_soon: has a function called at the end of this turn of the loop.

    Attributes:
        handshake_times: of those that were done.
    """

    def __init__(
        self, stats: StatsCollector, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._stats = stats
        self._call_soon = call_soon
        self._counts: Counter[str] = Counter()
        self.handshake_times = Percentiles()
        self._most_in_flight = 0

    def _add(self, key: str, count: int = 1) -> None:
        if count:
            if not self._counts:
                self._call_soon(self._hand_over)
            self._counts[key] += count

    def _hand_over(self) -> None:
        counts, self._counts = self._counts, Counter()
        for key, count in counts.items():
            self._stats.inc_value(f"curl_safe/{key}", count)

    # Requests

    def request(self) -> None:
        self._add("request_count")

    def response(self, transfer: Transfer) -> None:
        self._add("response_count")
        if not transfer.connects:
            self._add("connection/reused_count")

    def transferred(self, transfer: Transfer) -> None:
        self._add("wire_bytes_sent", transfer.bytes_sent)
        self._add("wire_bytes_received", transfer.bytes_received)

    def in_flight(self, count: int) -> None:
        if count > self._most_in_flight:
            self._most_in_flight = count
            self._stats.set_value("curl_safe/in_flight_max", count)

    # Handshakes

    def handshakes(self, transfer: Transfer, failed: str | None = None) -> None:
        """Count those of one transfer.

        Args:
            failed: the kind of failure of the last one, if it failed.
        """
        done = transfer.connects
        if failed is not None:
            done = max(0, done - 1)
            self._add("handshake/failure_count")
            self._add(f"handshake/failure_count/{failed}")
        elif transfer.handshake_at is None:
            done = 0
        self._add("handshake/count", done + (failed is not None))
        self._add("handshake/success_count", done)
        self._add("handshake/resumed_count", int(transfer.resumed))
        time = handshake_time(transfer)
        if time is not None and failed is None:
            self.handshake_times.add(time)

    def limit_decreased(self) -> None:
        self._add("throttle/decrease_count")

    def breaker_opened(self) -> None:
        self._add("breaker/open_count")

    # Workers

    def worker_started(self) -> None:
        self._add("worker/start_count")

    def worker_crashed(self) -> None:
        self._add("worker/crash_count")

    def worker_hung(self) -> None:
        self._add("worker/hang_count")

    def worker_recycled(self) -> None:
        self._add("worker/recycle_count")

    def requests_lost(self, count: int) -> None:
        self._add("worker/lost_request_count", count)

    def request_quarantined(self) -> None:
        self._add("worker/quarantine_count")

    def loop_lag(self, seconds: float) -> None:
        self._stats.max_value("curl_safe/loop_lag_max", round(max(0.0, seconds), 6))

    # Rates

    def set_rates(self) -> None:
        self._hand_over()
        count = self._stats.get_value("curl_safe/handshake/count", 0)
        if not count:
            return
        failed = self._stats.get_value("curl_safe/handshake/failure_count", 0)
        times = self.handshake_times
        for key, value in (
            ("failure_rate", failed / count),
            ("time_p50", times.at(0.5)),
            ("time_p95", times.at(0.95)),
            ("time_max", times.max),
        ):
            self._stats.set_value(f"curl_safe/handshake/{key}", round(value, 6))


def handshake_time(transfer: Transfer) -> float | None:
    """Seconds from the TCP connection to the end of the TLS handshake; None if there was none."""
    if transfer.handshake_at is None or transfer.connected_at is None:
        return None
    return transfer.handshake_at - transfer.connected_at

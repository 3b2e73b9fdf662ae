"""Policy without I/O: dispatch, backoff, budgets, restarts, percentiles, classification."""

from __future__ import annotations

import math
import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scrapy.statscollectors import DummyStatsCollector

from scrapy_curl_safe.backoff import backoff, retry_budget, steps
from scrapy_curl_safe.errors import TREATMENTS, HandshakeError, classify, download_error
from scrapy_curl_safe.figures import Figures, Percentiles
from scrapy_curl_safe.pool.dispatch import Warmth, choose, room_after
from scrapy_curl_safe.pool.restarts import Restarts
from scrapy_curl_safe.wire import Head, Transfer

# Dispatch


@dataclass
class Worker:
    slot: int
    in_flight: int = 0
    warmth: Warmth = field(default_factory=Warmth)


def warm(slot: int, in_flight: int, *keys: str) -> Worker:
    worker = Worker(slot, in_flight)
    for key in keys:
        returned(worker.warmth, key)
    return worker


def returned(warmth, key, *, reused=False, was_warm=False, room=1):
    warmth.returned(key, reused=reused, was_warm=was_warm, room=room)


def chosen(workers, key="a", avoid=None):
    worker = choose(workers, key, avoid)
    return None if worker is None else worker.slot


def test_without_workers_there_is_none():
    assert chosen([]) is None


def test_the_idlest_is_taken():
    assert chosen([Worker(0, 3), Worker(1, 2), Worker(2, 5)]) == 1


def test_a_warm_connection_is_preferred():
    assert chosen([Worker(0, 0), warm(1, 4, "a")]) == 1
    assert chosen([Worker(0, 0), warm(1, 4, "b")]) == 0


def test_but_not_to_a_worker_that_is_clearly_busier():
    assert chosen([Worker(0, 0), warm(1, 5, "a")]) == 0
    assert chosen([Worker(0, 10), warm(1, 24, "a")]) == 1
    assert chosen([Worker(0, 10), warm(1, 25, "a")]) == 0


def test_the_idlest_of_the_warm_ones_is_taken():
    assert chosen([warm(0, 3, "a"), warm(1, 2, "a"), Worker(2, 0)]) == 1


def test_a_retry_goes_elsewhere_if_there_is_elsewhere():
    assert chosen([warm(0, 0, "a"), Worker(1, 50)], avoid=0) == 1
    assert chosen([Worker(0, 0)], avoid=0) == 0


@given(
    st.lists(st.tuples(st.integers(0, 50), st.booleans()), min_size=1, max_size=6),
    st.none() | st.integers(0, 6),
)
def test_there_is_always_one_and_it_is_never_the_avoided_one(loads, avoid):
    workers = [warm(n, load, *(["a"] if hot else [])) for n, (load, hot) in enumerate(loads)]
    slot = chosen(workers, avoid=avoid)
    assert slot is not None
    assert slot != avoid or len(workers) == 1


def test_warmth_counts_connections_down_and_up():
    warmth = Warmth()
    assert not warmth.has("a")
    returned(warmth, "a")
    returned(warmth, "a")
    warmth.taken("a")
    assert warmth.has("a")
    warmth.taken("a")
    warmth.taken("a")
    assert not warmth.has("a")


@pytest.mark.parametrize("reused", [False, True])
def test_a_connection_that_is_closed_is_not_counted_on(reused):
    warmth = Warmth()
    returned(warmth, "a", reused=reused, room=0)
    assert not warmth.has("a")


@pytest.mark.parametrize(
    ("protocol", "connection", "room"),
    [
        ("HTTP/2", None, 2),
        ("HTTP/1.1", None, 1),
        ("HTTP/1.1", b"keep-alive", 1),
        ("HTTP/1.1", b"Upgrade, Close", 0),
        ("HTTP/1.0", None, 0),
        ("HTTP/1.0", b"Keep-Alive", 1),
    ],
)
def test_a_response_tells_whether_its_connection_stays(protocol, connection, room):
    headers = [(b"Server", b"x")] + ([(b"CONNECTION", connection)] if connection else [])
    assert room_after(Head(1, 200, protocol, headers, "::1")) == room


def test_warmth_forgets_the_longest_unused():
    warmth = Warmth()
    for number in range(5000):
        returned(warmth, number)
        returned(warmth, "always")
    assert not warmth.has(0)
    assert warmth.has(4999)
    assert warmth.has("always")


# Waits


def test_where_connections_do_not_last_none_is_counted_on():
    warmth = Warmth()
    hopes = 0
    for _ in range(200):
        was_warm = warmth.has("a")
        hopes += was_warm
        own = warmth.taken("a")
        returned(warmth, "a", was_warm=was_warm, room=0 if own else 1)
    assert 2 <= hopes <= 10
    warmth.taken("a")
    returned(warmth, "a", reused=True)
    assert warmth.has("a")


def test_where_each_connection_is_closed_requests_have_their_own():
    warmth = Warmth()
    kinds = []
    for _ in range(1000):
        was_warm = warmth.has("a")
        own = warmth.taken("a")
        kinds.append("warm" if was_warm else "own" if own else "kept")
        returned(warmth, "a", was_warm=was_warm, room=0 if own else 2)
    assert kinds[0] == "kept"
    late = kinds[200:]
    # One that is kept, to see whether it lasts, and the one that finds out.
    assert 10 <= late.count("kept") <= 13
    assert 10 <= late.count("warm") <= 13
    while not warmth.has("a"):
        returned(warmth, "a", room=0 if warmth.taken("a") else 2)
    warmth.taken("a")
    returned(warmth, "a", reused=True, was_warm=True, room=2)
    assert not any(warmth.taken("a") for _ in range(100))


def test_those_that_close_at_one_time_say_little_of_the_next_ones():
    warmth = Warmth()
    for _ in range(64):
        returned(warmth, "a")
    for _ in range(64):
        assert not warmth.taken("a")
    for _ in range(64):
        returned(warmth, "a", was_warm=True)
    assert not warmth.taken("a")
    for _ in range(2):
        returned(warmth, "a")
    assert warmth.has("a")


def test_a_shared_connection_that_holds_takes_more_and_more():
    warmth = Warmth()
    returned(warmth, "a")
    at_once = []
    for _ in range(5):
        count = 0
        while warmth.has("a"):
            warmth.taken("a")
            count += 1
        for _ in range(count):
            returned(warmth, "a", reused=True, was_warm=True, room=2)
        at_once.append(count)
    assert at_once == [1, 2, 4, 8, 16]


@given(st.integers(1, 10_000), st.floats(0, 10), st.floats(0, 100), st.floats(0, 1))
def test_backoff_stays_within_its_bounds(failures, first, longest, draw):
    seconds = backoff(failures, first, longest, draw)
    assert 0 <= seconds <= min(longest, first * 2.0 ** min(failures - 1, 60))


def test_backoff_doubles_up_to_its_longest():
    waits = [backoff(n, 0.1, 5.0, 1.0) for n in range(1, 9)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


@pytest.mark.parametrize(
    ("failures", "in_a_row", "expected"), [(1, 1, 1), (6, 1, 1), (6, 7, 3), (2, 100, 2), (6, 99, 6)]
)
def test_the_wait_grows_with_the_failures_of_the_origin_too(failures, in_a_row, expected):
    assert steps(failures, in_a_row) == expected


def waits_at(loss: float, requests: int = 3000, seconds: float = 0.01) -> list[float]:
    dice = random.Random(1)
    budget = retry_budget()
    waits = []
    for number in range(requests):
        if dice.random() < loss:
            waits.append(budget.reserve(number * seconds + 1))
        else:
            budget.give_back()
    return waits


@pytest.mark.parametrize("loss", [0.1, 0.3, 0.45])
def test_the_budget_lets_random_loss_pass(loss):
    assert max(waits_at(loss)) == 0


def test_the_budget_delays_an_origin_that_fails_on_and_on_to_a_steady_rate():
    waits = waits_at(1.0, requests=1000, seconds=0.0)
    assert waits[:100] == [0.0] * 100
    steps = [b - a for a, b in pairwise(waits[100:])]
    assert steps == pytest.approx([0.1] * len(steps))


def test_the_budget_recovers_with_time():
    budget = retry_budget()
    for _ in range(200):
        budget.reserve(1.0)
    assert budget.reserve(1.0) > 0
    assert budget.reserve(1000.0) == 0


def test_restarts_wait_longer_and_longer_until_one_succeeds():
    restarts = Restarts()
    assert restarts.reserve(1.0) == 0
    waits = []
    while not restarts.hopeless:
        restarts.failed()
        waits.append(restarts.reserve(1.0))
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] <= 10
    restarts.succeeded()
    assert not restarts.hopeless
    assert restarts.reserve(1.0) == 0


def test_restarts_of_workers_that_come_up_and_die_are_bounded():
    """However often they are asked for, at most 210 start in any minute."""
    restarts, now, starts = Restarts(), 1.0, []
    while now < 600:
        now += restarts.reserve(now) + 0.01
        starts.append(now)
        restarts.succeeded()
    for start in range(0, 540, 7):
        assert sum(start < moment <= start + 60 for moment in starts) <= 210
    assert len(starts) > 1500


# Figures


class Stats(DummyStatsCollector):
    def __init__(self):
        self.values = Counter()

    def inc_value(self, key, count=1, start=0, spider=None):
        self.values[key] += count

    def set_value(self, key, value, spider=None):
        self.values[key] = value

    def get_value(self, key, default=None, spider=None):
        return self.values.get(key, default)


@given(st.lists(st.floats(1e-5, 1e3), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 1.0]))
def test_percentiles_are_at_most_5_percent_too_high(durations, share):
    percentiles = Percentiles()
    for duration in durations:
        percentiles.add(duration)
    at = max(0, -(-len(durations) * share // 1) - 1)
    exact = sorted(durations)[int(at)]
    assert exact * 0.999 <= percentiles.at(share) <= exact * 1.051
    assert percentiles.max == max(durations)


def test_percentiles_of_nothing():
    assert Percentiles().at(0.5) == 0.0


@given(st.lists(st.floats(1e-5, 1e3), max_size=300))
def test_the_histogram_is_at_most_5_percent_off(durations):
    percentiles = Percentiles()
    for duration in durations:
        percentiles.add(duration)
    *bounds, (last, count) = percentiles.histogram()
    assert (last, count) == (math.inf, len(durations))
    assert (bounds[0][0], bounds[-1][0]) == (0.001, 100)
    for bound, count in bounds:
        surely, perhaps = (sum(d <= bound * by for d in durations) for by in (0.95, 1.05))
        assert surely <= count <= perhaps
    assert percentiles.total == pytest.approx(sum(durations))


transfers = st.builds(
    Transfer, connects=st.integers(0, 6), handshake_at=st.none() | st.floats(0.1, 5)
)


@given(st.lists(st.tuples(transfers, st.none() | st.sampled_from(list(TREATMENTS)))))
def test_handshakes_add_up(outcomes):
    stats = Stats()
    later: list[Callable[[], None]] = []
    figures = Figures(stats, later.append)
    for transfer, failed in outcomes:
        figures.handshakes(transfer, failed)
    for call in later:
        call()
    value = stats.values
    prefix = "curl_safe/handshake"
    failed = value[f"{prefix}/failure_count"]
    assert value[f"{prefix}/count"] == value[f"{prefix}/success_count"] + failed
    kinds = {k: v for k, v in value.items() if k.startswith(f"{prefix}/failure_count/")}
    assert sum(kinds.values()) == failed == sum(f is not None for _, f in outcomes)


# Classification


@pytest.mark.parametrize(
    ("code", "detail", "during", "kind"),
    [
        (35, "Connection closed abruptly (SSL_ERROR_SYSCALL; error queue empty)", True, "syscall"),
        (35, "BoringSSL SSL_connect: SSL_ERROR_SYSCALL in connection to a:443", True, "syscall"),
        (35, "Recv failure: Connection reset by peer", True, "syscall"),
        (35, "TLS connect error: error:00000000:invalid library (0)", True, "syscall"),
        (35, "Send failure: Broken pipe", True, "syscall"),
        (56, "Recv failure: Connection reset by peer", True, "syscall"),
        (56, "Recv failure: Connection reset by peer", False, None),
        (56, "CONNECT tunnel failed, response 407", False, None),
        (56, "Proxy CONNECT aborted", False, None),
        (28, "Connection timed out after 1001 milliseconds", True, "timeout"),
        (28, "Operation timed out after 1001 milliseconds", False, None),
        (35, "...:SSLV3_ALERT_HANDSHAKE_FAILURE", True, "alert"),
        (35, "...:TLSV1_ALERT_PROTOCOL_VERSION", True, "alert"),
        (35, "TLS connect error: error:10000455:SSL routines:OPENSSL_internal:reason(1109)", True,
         "alert"),
        (35, "...:WRONG_VERSION_NUMBER", True, "protocol"),
        (35, "...:DECODE_ERROR", True, "protocol"),
        (60, "SSL certificate OpenSSL verify result: unable to get local issuer", True,
         "certificate"),
        (7, "Failed to connect: Too many open files", False, "local"),
        (7, "connect: Cannot assign requested address", False, "local"),
        (7, "Failed to connect to 127.0.0.1 port 1: Could not connect to server", False, None),
        (6, "getaddrinfo() thread failed to start", False, "local"),
        (6, "Could not resolve host: x", False, None),
        (27, "", False, "local"),
        (35, "error:0e000041:common libcrypto routines:OPENSSL_internal:malloc failure", True,
         "local"),
        (55, "Send failure: Too many open files", True, "local"),
        (56, "Connection died, tried 5 times before giving up", False, "connection_died"),
        (18, "transfer closed with 91 bytes remaining to read", False, None),
    ],
)  # fmt: skip
def test_classification(code, detail, during, kind):
    assert classify(code, detail, during_handshake=during) == kind


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (1, "UnsupportedURLSchemeError"),
        (5, "CannotResolveHostError"),
        (6, "CannotResolveHostError"),
        (7, "DownloadConnectionRefusedError"),
        (18, "ResponseDataLossError"),
        (28, "DownloadTimeoutError"),
        (97, "DownloadConnectionRefusedError"),
        (92, "DownloadFailedError"),
    ],
)
def test_other_codes_are_scrapys_own_exceptions(code, name):
    error = download_error(code, "why", None, "https://a:443")
    assert type(error).__name__ == name
    assert str(error) == f"https://a:443: curl: ({code}) why"


def test_a_handshake_error_survives_pickling():
    error = pickle.loads(pickle.dumps(HandshakeError("syscall", 35, "why", "https://a:443")))
    assert (error.kind, error.curl_code, error.detail, error.origin) == (
        "syscall", 35, "why", "https://a:443",
    )  # fmt: skip

"""The limit on an origin's handshakes: its policy by simulation, then on real origins."""

from __future__ import annotations

import heapq
import random
import statistics
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_curl_safe.pool.gate import Gates, Line, Route
from scrapy_curl_safe.pool.limit import Answer, Limit
from testkit.origins.holding import HoldingOrigin, SlowOnce
from testkit.origins.limited import LimitedOrigin
from testkit.origins.tls import TlsOrigin

# The policy


def succeed(limit, now):
    """A handshake that nobody else is in the way of."""
    attempt = limit.begin(now)
    limit.succeed(attempt)
    limit.end(attempt)


def fail(limit, now):
    attempt = limit.begin(now)
    limit.fail(attempt, now)
    limit.end(attempt)


def rest(limit, now):
    """Fail until it rests. When it may be tried again."""
    for _ in range(1000):
        if limit.ask(now) is Answer.REST:
            return now + limit.rests_for(now)
        fail(limit, now)
        now += 0.1
    raise AssertionError("it never rests")


def simulate(fails, pages=3000, most=64, floor=3, failed_after=0.01):
    """What the limit was after each handshake, and how many failed. A success takes 0.05 s."""
    dice, limit, now = random.Random(1), Limit(most, floor), 0.0
    under_way, values, begun, failures = [], [], 0, 0
    while pages or under_way:
        while pages and limit.ask(now) is Answer.GO:
            attempt = limit.begin(now)
            failed = fails(sum(not failed for _, _, failed, _ in under_way), dice)
            takes = failed_after if failed else dice.uniform(0.04, 0.06)
            heapq.heappush(under_way, (now + takes, begun, failed, attempt))
            begun += 1
            pages -= 1
        assert begun < 100_000
        if not under_way:
            now += limit.rests_for(now)
            continue
        now, _, failed, attempt = heapq.heappop(under_way)
        if failed:
            limit.fail(attempt, now)
            failures += 1
            pages += 1
        else:
            limit.succeed(attempt)
        limit.end(attempt)
        values.append(limit.value)
    return values, failures


@pytest.mark.parametrize("failed_after", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("at_once", [3, 10, 50])
def test_it_comes_near_what_the_origin_takes(at_once, failed_after):
    values, failures = simulate(
        lambda accepted, dice: accepted >= at_once, failed_after=failed_after
    )
    assert 0.75 * at_once <= statistics.mean(values[500:]) <= 1.2 * at_once
    assert failures < 0.25 * 3000


def test_random_loss_does_not_sink_it():
    values, _ = simulate(lambda accepted, dice: dice.random() < 0.3)
    assert statistics.mean(values[500:]) >= 20


def test_it_recovers_when_the_origin_does():
    limit = Limit(64, 3)
    now = rest(limit, 0.0)
    under_way = []
    for _ in range(200):
        while limit.ask(now) is Answer.GO:
            under_way.append(limit.begin(now))
        limit.succeed(under_way[0])
        limit.end(under_way.pop(0))
    assert limit.value == 64


def test_an_origin_that_is_not_asked_for_much_keeps_its_limit():
    limit = Limit(64, 3)
    fail(limit, 0.0)
    lowered = limit.value
    for _ in range(100):
        succeed(limit, 0.0)
    assert limit.value == lowered < 64


def test_each_rest_is_twice_as_long_as_the_one_before():
    limit, now, rests = Limit(8, 3), 0.0, []
    for _ in range(8):
        now = rest(limit, now)
        fail(limit, now)
        rests.append(round(limit.rests_for(now) / 2))
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30]


def test_after_a_rest_one_tries_and_decides_for_all():
    limit = Limit(8, 3)
    now = rest(limit, 0.0)
    assert limit.ask(now) is Answer.GO
    trial = limit.begin(now)
    assert limit.ask(now) is Answer.REST
    limit.succeed(trial)
    limit.end(trial)
    assert [limit.ask(now), limit.value] == [Answer.GO, 3]


def test_for_one_that_has_answered_they_wait_for_about_a_minute():
    limit = Limit(8, 3)
    succeed(limit, 0.0)
    for failure in range(10):
        fail(limit, 0.1 * failure)
    now = begin = 1.0
    while limit.ask(now) is Answer.WAIT:
        now += limit.turn_in(now)
        assert limit.ask(now) is Answer.GO
        fail(limit, now)
    assert limit.ask(now) is Answer.REST
    assert 60 < now - begin < 65
    now += limit.rests_for(now)
    succeed(limit, now)
    assert limit.ask(now) is Answer.GO


def test_where_that_one_takes_long_another_tries():
    limit = Limit(8, 3)
    now = rest(limit, 0.0)
    slow = limit.begin(now)
    assert limit.ask(now + 1.9) is Answer.REST
    assert limit.rests_for(now + 1.9) == pytest.approx(0.1)
    now += 2.0
    assert limit.ask(now) is Answer.GO
    fail(limit, now)
    # That the slow one fails, too, is no news.
    assert not limit.fail(slow, now)
    limit.end(slow)
    assert limit.rests_for(now) == pytest.approx(4.0)


def test_a_try_that_says_nothing_leaves_the_next_one_to_try():
    limit = Limit(8, 3)
    now = rest(limit, 0.0)
    limit.end(limit.begin(now))  # cancelled, say
    assert limit.ask(now) is Answer.GO


def test_a_place_that_was_lost_is_there_again_before_another_one_is_done():
    limit = Limit(2, 2)
    limit.begin(5.0)  # and takes its time
    fail(limit, 5.0)
    assert (limit.ask(5.25), limit.turn_in(5.25)) == (Answer.WAIT, 0.75)
    assert (limit.ask(6.0), limit.turn_in(6.0)) == (Answer.GO, None)


@given(st.integers(1, 100), st.integers(1, 100), st.lists(st.booleans(), max_size=300))
def test_it_stays_between_its_floor_and_its_most(most, floor, results):
    limit, now, under_way = Limit(most, floor), 0.0, [None]
    for result in results:
        now += limit.rests_for(now)
        if limit.ask(now) is Answer.GO:
            under_way.append(limit.begin(now))
        attempt = under_way.pop()
        if result:
            limit.succeed(attempt)
        else:
            limit.fail(attempt, now)
        if attempt:
            limit.end(attempt)
        under_way = under_way or [None]
        assert min(floor, most) <= limit.value <= most
        assert limit.under_way >= 0


def test_those_that_failed_before_go_first():
    line = Line()
    for number, avoid in enumerate([None, 0, None, 1]):
        line.append(SimpleNamespace(number=number, avoid=avoid))
    line.remove(next(job for job in line if job.number == 2))
    behind = Line()
    behind.append(SimpleNamespace(number=4, avoid=0))
    line.extend(behind)
    assert len(line) == 4
    assert [line.popleft().number for _ in range(4)] == [1, 3, 4, 0]


def test_gates_that_nobody_uses_are_forgotten():
    gates = Gates(8, 3)
    used = gates.of(Route("https://used:443", None))
    used.limit.begin(0.0)
    for number in range(20_000):
        gates.of(Route(f"https://{number}:443", None))
    assert gates.of(Route("https://used:443", None)) is used
    assert len(gates._by_route) <= 16_384


# On real origins

BREAKER_OPENS = "fail one after the other"
CONCURRENT = {"CONCURRENT_REQUESTS": 64, "CONCURRENT_REQUESTS_PER_DOMAIN": 64}


@pytest.mark.parametrize("at_once", [3, 10, 50])
def test_a_crawl_comes_near_what_the_origin_takes(crawl, at_once):
    with LimitedOrigin(at_once, takes=0.02, requests_per_connection=1) as origin:
        crawled = crawl(*(f"{origin.url}/{n}" for n in range(400)), **CONCURRENT)
        dropped = origin.dropped
    assert crawled.errors == []
    assert sorted(r["number"] for r in crawled.responses) == list(range(400))
    assert crawled.stat("handshake/gave_up_count") == 0
    if at_once < 50:
        assert crawled.stat("throttle/decrease_count") > 0
    # Without the limit all but `at_once` of 64 are dropped each time: five and more a page.
    assert dropped < 3 * 400


def test_warm_connections_are_not_limited(crawl):
    with LimitedOrigin(2, takes=0.02, delay=0.05) as origin:
        urls = [f"{origin.url}/{n}" for n in range(300)]
        crawled = crawl(*urls, CURL_SAFE_ADAPTIVE_FLOOR=1, **CONCURRENT)
    assert crawled.errors == []
    assert len(crawled.responses) == 300
    assert crawled.stat("connection/reused_count") > 150


def test_a_slow_answer_does_not_keep_back_those_that_failed(start_crawl):
    with HoldingOrigin(drop=[False, False, True], requests_per_connection=1) as origin:
        crawl = start_crawl(
            f"{origin.url}/held",
            f"{origin.url}/1",
            f"{origin.url}/2",
            CONCURRENT_REQUESTS=2,
            CURL_SAFE_HANDSHAKE_BACKOFF=0.01,
        )
        crawl.wait_for(lambda: len(origin.requests) == 3)
        origin.release.set()
        crawled = crawl.finish()
        assert origin.dropped == 1
    assert crawled.errors == []
    assert len(crawled.responses) == 3


def test_a_dead_origin_rests(crawl):
    with TlsOrigin(drop=1.0) as dead, TlsOrigin() as origin:
        urls = [f"{dead.url}/{n}" for n in range(400)]
        urls += [f"{origin.url}/{n}" for n in range(400, 460)]
        crawled = crawl(*urls, **CONCURRENT)
        tried = dead.accepted
    assert sorted(r["number"] for r in crawled.responses) == list(range(400, 460))
    assert {e["type"] for e in crawled.errors} <= {"HandshakeError", "OriginRestsError"}
    assert len(crawled.errors) == 400
    assert crawled.stat("breaker/open_count") >= 1
    # Each would have been tried three times. (How many are tried until a quarter of a second is
    # over is the machine's to say.)
    assert tried < 800
    assert f"The TLS handshakes with {dead.url} fail one after the other (syscall)" in crawled.log


def is_out(number, crawl, openings):
    """From its fifth connection on, until the breaker has opened so often."""
    return number > 3 and crawl.log.count(BREAKER_OPENS) < openings


def test_no_page_is_lost_when_an_origin_is_out_for_some_seconds(start_crawl):
    with TlsOrigin(drop=lambda n: is_out(n, crawl, 3), requests_per_connection=1) as origin:
        crawl = start_crawl(*(f"{origin.url}/{n}" for n in range(300)))
        crawled = crawl.finish()
    assert crawled.errors == []
    assert sorted(r["number"] for r in crawled.responses) == list(range(300))
    assert crawled.stat("breaker/open_count") == 3


def test_the_others_do_not_wait_for_a_slow_answer_to_the_one_that_tries(start_crawl):
    with SlowOnce(4, drop=lambda n: is_out(n, crawl, 1), requests_per_connection=1) as origin:
        crawl = start_crawl(*(f"{origin.url}/{n}" for n in range(40)))
        crawled = crawl.finish()
    assert crawled.errors == []
    assert len(crawled.responses) == 40


def test_it_can_be_turned_off(crawl):
    with TlsOrigin(drop=1.0) as dead:
        crawled = crawl(
            *(f"{dead.url}/{n}" for n in range(30)), CURL_SAFE_ADAPTIVE=False, **CONCURRENT
        )
        assert dead.accepted == 90
    assert crawled.stat("breaker/open_count") == 0


def test_what_waits_at_the_gate_is_not_late(crawl):
    """A request's timeout and its latency begin when it is sent."""
    with LimitedOrigin(1, takes=0.15, requests_per_connection=1) as origin:
        crawled = crawl(
            *(f"{origin.url}/{n}" for n in range(24)),
            CURL_SAFE_ADAPTIVE_FLOOR=1,
            DOWNLOAD_TIMEOUT=3,
            **CONCURRENT,
        )
    assert crawled.errors == []
    assert len(crawled.responses) == 24


def test_the_log_says_which_origin_and_what_to_do(crawl):
    with (
        LimitedOrigin(2, takes=0.02, requests_per_connection=1) as limited,
        TlsOrigin() as healthy,
    ):
        urls = [f"{origin.url}/{n}" for origin in (limited, healthy) for n in range(60)]
        crawled = crawl(*urls, **CONCURRENT)
        dropped = limited.dropped
    assert len(crawled.responses) == 120
    name = limited.url
    assert f"Most fail with {name}, {dropped} by syscall (limit now " in crawled.log
    line = next(line for line in crawled.log.splitlines() if "; limits: " in line)
    assert f"limits: {name} " in line
    table = crawled.log.partition("Handshakes by origin, the worst first:\n")[2].splitlines()
    assert table[0].split() == ["origin", "done", "failed", "share", "limit", "kinds"]
    row = table[1].split()
    assert row[:3] == [name, "60", str(dropped)]
    assert row[-2:] == [str(dropped), "syscall"]
    assert healthy.url not in table[2]

"""What the probe does next, and what it makes of it: the policy, on networks made up here."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe.commands.plan import Bounds, levels_of, plan
from scrapy_curl_safe.commands.steps import (
    Route,
    Step,
    bracket,
    by_concurrency,
    is_worse,
    merged,
    turning_point,
)
from scrapy_curl_safe.commands.verdict import Browsers, Verdict, judge

BROWSERS = Browsers("chrome", "chrome120", "firefox")
MANY = Bounds(200, 50)
BY_PROXY = Bounds(200, 50, has_proxy=True)


def made(network, bounds, chance):
    """The steps of a probe of this network: a function of what is wanted and of chance that
    says how a handshake fails, or None."""
    steps = []
    wishes = plan(bounds)
    try:
        wanted = next(wishes)
        while True:
            assert 1 <= wanted.concurrency <= min(wanted.count, bounds.concurrency)
            failures = Counter()
            done = 0
            while done + failures.total() < wanted.count:
                if not done and 0 < wanted.hopeless <= failures.total():
                    break
                kind = network(wanted, chance)
                failures[kind] += kind is not None
                done += kind is None
            failures = {kind: count for kind, count in failures.items() if count}
            step = Step(wanted.route, wanted.concurrency, done, failures, (0.1,) * done)
            steps.append(step)
            wanted = wishes.send(step)
    except StopIteration:
        assert sum(step.count for step in steps) <= bounds.handshakes
        return steps


def verdicts(network, bounds=MANY, times=50):
    return Counter(
        judge(made(network, bounds, random.Random(seed)), BROWSERS).verdict for seed in range(times)
    )


def fails(share, *, but=None, kind="syscall"):
    def network(wanted, chance):
        return kind if wanted.route is not but and chance.random() < share else None

    return network


def takes(at_once, loss=0.0):
    def network(wanted, chance):
        surplus = max(0, wanted.concurrency - at_once) / wanted.concurrency
        return "syscall" if chance.random() < max(loss, surplus) else None

    return network


# Networks. Chance is seeded, so nothing here may come out differently next time.


@pytest.mark.parametrize("share", [0, 0.003])
def test_healthy(share):
    assert verdicts(fails(share))[Verdict.HEALTHY] >= 49


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_loss(share):
    assert verdicts(fails(share))[Verdict.NETWORK_LOSS] >= 49


@pytest.mark.parametrize(
    ("at_once", "loss"),
    # With both, a limit of 30 is too near to the 50 that are tried to tell from the loss.
    [*((n, 0) for n in (1, 2, 3, 5, 10, 20, 30)), *((n, 0.05) for n in (1, 2, 3, 5, 10, 20))],
)
def test_limit(at_once, loss):
    found = []
    for seed in range(20):
        steps = made(takes(at_once, loss), MANY, random.Random(seed))
        judgement = judge(steps, BROWSERS)
        assert judgement.verdict is Verdict.ORIGIN_LIMIT
        assert sum(step.count for step in steps) <= 200
        found.append(judgement.concurrency)
    # One too many is hardly told from loss.
    assert at_once * 0.7 <= sorted(found)[10] <= at_once * 1.4 + 1


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("kind", ["syscall", "timeout"])
def test_large_hello(share, kind):
    network = fails(share, but=Route.SMALL, kind=kind)
    assert verdicts(network)[Verdict.LARGE_HELLO] >= 48
    # Of a small one nothing smaller can be tried.
    steps = made(network, Bounds(200, 50, hello=517), random.Random(1))
    assert all(step.route is not Route.SMALL for step in steps)


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("kind", ["syscall", "refused", "proxy", "certificate", "alert"])
def test_proxy(share, kind):
    network = fails(share, but=Route.DIRECT, kind=kind)
    assert verdicts(network, BY_PROXY)[Verdict.PROXY] >= 48


def test_a_limit_of_the_proxy():
    def network(wanted, chance):
        return None if wanted.route is Route.DIRECT else takes(10)(wanted, chance)

    assert verdicts(network, BY_PROXY)[Verdict.PROXY] >= 48
    assert verdicts(takes(10), BY_PROXY)[Verdict.ORIGIN_LIMIT] >= 48


@pytest.mark.parametrize("kind", ["alert", "syscall", "timeout"])
@pytest.mark.parametrize("accepted", [{Route.OTHER}, {Route.OTHER, Route.SMALL}])
def test_refused(kind, accepted):
    def network(wanted, chance):
        return None if wanted.route in accepted else kind

    steps = made(network, MANY, random.Random(1))
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is Verdict.FINGERPRINT_REFUSED
    assert judgement.settings == {"CURL_SAFE_IMPERSONATE": "firefox"}


@pytest.mark.parametrize(
    ("kind", "verdict", "routes"),
    [
        ("alert", Verdict.FINGERPRINT_REFUSED, 3),
        ("syscall", Verdict.UNREACHABLE, 3),
        ("timeout", Verdict.UNREACHABLE, 3),
        ("certificate", Verdict.CERTIFICATE, 1),
        ("protocol", Verdict.NOT_TLS, 1),
        ("refused", Verdict.UNREACHABLE, 1),
        ("unresolved", Verdict.UNREACHABLE, 1),
        ("unconnected", Verdict.UNREACHABLE, 1),
        ("other", Verdict.UNREACHABLE, 1),
        ("local", Verdict.LOCAL_LIMITS, 1),
        ("crashed", Verdict.LOCAL_LIMITS, 1),
    ],
)
@pytest.mark.parametrize("bounds", [MANY, BY_PROXY, Bounds(3, 1)])
def test_where_all_fail(kind, verdict, routes, bounds):
    steps = made(fails(1, kind=kind), bounds, random.Random(1))
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is verdict
    assert judgement.concurrency is None
    assert judgement.saw
    assert judgement.advice
    assert sum(step.count for step in steps) < 40
    if bounds is MANY:
        assert len({step.route for step in steps}) == routes


@pytest.mark.parametrize("kind", ["local", "crashed"])
def test_local_limits(kind):
    def network(wanted, chance):
        return kind if wanted.concurrency > 20 and chance.random() < 0.3 else None

    steps = made(network, MANY, random.Random(1))
    judgement = judge(steps, BROWSERS)
    assert (judgement.verdict, judgement.concurrency) == (Verdict.LOCAL_LIMITS, 13)
    assert steps[-1].concurrency == 25


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("alert", Verdict.FINGERPRINT_REFUSED),
        ("certificate", Verdict.CERTIFICATE),
        ("protocol", Verdict.NOT_TLS),
        ("timeout", Verdict.NETWORK_LOSS),
        ("unconnected", Verdict.NETWORK_LOSS),
    ],
)
def test_where_some_fail_however_many_at_once(kind, verdict):
    assert verdicts(fails(0.3, kind=kind), times=20)[verdict] >= 19


def test_an_origin_that_turns():
    count = 0

    def network(wanted, chance):
        nonlocal count
        count += 1
        return "syscall" if count > 60 else None

    judgement = judge(made(network, MANY, random.Random(1)), BROWSERS)
    assert judgement.verdict is Verdict.ORIGIN_LIMIT
    assert "DOWNLOAD_DELAY" in judgement.advice


def test_hardly_any_is_completed():
    """All as given failed by chance, and one of another browser did not."""
    few = {"timeout": 7}
    steps = [
        Step(Route.GIVEN, 3, 0, {"timeout": 10}),
        Step(Route.SMALL, 3, 1, few),
        Step(Route.OTHER, 3, 0, few),
    ]
    assert judge(steps, BROWSERS).verdict is Verdict.NETWORK_LOSS


def test_there_was_no_time():
    assert judge([], BROWSERS).verdict is Verdict.UNREACHABLE
    wishes = plan(MANY)
    wanted = next(wishes)
    with pytest.raises(StopIteration):
        wishes.send(Step(wanted.route, wanted.concurrency))


# Whatever comes


KINDS = [None, "syscall", "timeout", "alert", "protocol", "certificate", "local", "refused"]


@given(
    concurrency=st.integers(1, 300),
    surplus=st.integers(0, 500),
    has_proxy=st.booleans(),
    hello=st.sampled_from([None, 517, 1800]),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=200)
def test_it_ends_within_its_bounds_and_knows_a_verdict(
    concurrency, surplus, has_proxy, hello, kinds, seed
):
    bounds = Bounds(3 * concurrency + surplus, concurrency, has_proxy, hello)
    chance = random.Random(seed)
    fault = {(route, n): kind for n, kind in enumerate(kinds) for route in Route}
    flaky = {key: chance.choice([0, 0.1, 0.5, 1]) for key in fault}

    def network(wanted, chance):
        key = wanted.route, wanted.concurrency % len(kinds)
        return fault[key] if chance.random() < flaky[key] else None

    steps = made(network, bounds, chance)
    judgement = judge(steps, BROWSERS)
    healthy = judgement.verdict is Verdict.HEALTHY
    assert judgement.saw
    assert healthy == (not judgement.advice)
    if healthy:
        assert judgement.concurrency == max(s.concurrency for s in steps)
    if judgement.concurrency is not None:
        assert 1 <= judgement.concurrency <= concurrency
        assert judgement.settings["CONCURRENT_REQUESTS"] == judgement.concurrency
    if not any(step.failed for step in steps):
        assert healthy


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_levels_rise_to_what_was_asked_for(concurrency, surplus):
    bounds = Bounds(3 * concurrency + surplus, concurrency)
    levels = list(levels_of(bounds).items())
    assert levels[0][0] == 1
    assert levels[-1][0] == concurrency
    assert levels == sorted(levels)
    assert all(count >= level for level, count in levels)
    assert sum(count for _, count in levels) <= bounds.handshakes


# Figures


def step(concurrency, done, failed, route=Route.GIVEN):
    return Step(route, concurrency, done, {"syscall": failed} if failed else {})


@pytest.mark.parametrize(
    ("one", "other", "worse"),
    [
        ((0, 8), (8, 0), True),  # 1 in 12,870
        ((0, 5), (5, 0), False),  # 1 in 252
        ((20, 10), (30, 0), True),
        ((27, 3), (30, 0), False),
        ((30, 0), (0, 30), False),
        ((0, 0), (10, 0), False),
        ((0, 10), (0, 0), False),
    ],
)
def test_worse_than_chance(one, other, worse):
    assert is_worse(step(3, *one), step(3, *other)) is worse


def test_the_turning_point():
    levels = [step(1, 10, 0), step(3, 10, 1), step(7, 4, 8), step(13, 2, 18)]
    assert turning_point(levels) == 7
    assert bracket(levels, 7) == (3, 7)
    assert turning_point(levels[:2]) is None
    assert turning_point([]) is None


def test_percentiles():
    times = Step(Route.GIVEN, 1, 4, {}, (4.0, 1.0, 3.0, 2.0))
    assert [times.time_at(share) for share in (0.5, 0.95, 1.0)] == [2.0, 4.0, 4.0]
    assert step(1, 0, 4).time_at(0.5) is None


def test_merged():
    given = [step(3, 1, 2), step(1, 5, 0), step(3, 4, 0), step(3, 1, 0, Route.SMALL)]
    levels = by_concurrency(given)
    assert [(s.concurrency, s.done, s.failed) for s in levels] == [(1, 5, 0), (3, 5, 2)]
    assert merged(levels).count == 12

"""The policies of the probe, on simulated networks: its next step, and its verdict."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scrapy_curl_safe.commands.probe.plan import Bounds, plan_levels, plan_steps
from scrapy_curl_safe.commands.probe.steps import (
    PROXY_KINDS,
    PlannedStep,
    ProbeVariant,
    Step,
    bracket,
    by_concurrency,
    is_worse,
    merged,
    turning_point,
)
from scrapy_curl_safe.commands.probe.verdict import ProbeBrowsers, Verdict, judge, may_be_no_tls

# How a handshake of this step fails; None if it does not.
Network = Callable[[PlannedStep, random.Random], "str | None"]

BROWSERS = ProbeBrowsers("chrome", "chrome120", "firefox")
MANY = Bounds(200, 50)
BY_PROXY = Bounds(200, 50, has_proxy=True)


def made(network: Network, bounds: Bounds, chance: random.Random) -> list[Step]:
    """Return the steps of a probe of a network: a function of the planned step and of chance that
    returns how a handshake fails, or None."""
    steps = []
    plan = plan_steps(bounds)
    try:
        planned = next(plan)
        while True:
            assert 1 <= planned.concurrency <= min(planned.count, bounds.concurrency)
            failures: Counter[str] = Counter()
            done = 0
            while done + failures.total() < planned.count:
                if not done and 0 < planned.give_up_after <= failures.total():
                    break
                kind = network(planned, chance)
                if kind is not None:
                    failures[kind] += 1
                done += kind is None
            step = Step(planned.variant, planned.concurrency, done, dict(failures), (0.1,) * done)
            steps.append(step)
            planned = plan.send(step)
    except StopIteration:
        assert sum(step.count for step in steps) <= bounds.handshakes
        return steps


def verdicts(network: Network, bounds: Bounds = MANY, times: int = 50) -> Counter[Verdict]:
    return Counter(
        judge(made(network, bounds, random.Random(seed)), BROWSERS).verdict for seed in range(times)
    )


def fails(share: float, *, but: ProbeVariant | None = None, kind: str = "syscall") -> Network:
    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        return kind if planned.variant is not but and chance.random() < share else None

    return network


def takes(at_once: int, loss: float = 0.0) -> Network:
    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        surplus = max(0, planned.concurrency - at_once) / planned.concurrency
        return "syscall" if chance.random() < max(loss, surplus) else None

    return network


# Networks. Chance is seeded, so each test has the same outcome every time.


@pytest.mark.parametrize("share", [0, 0.003])
def test_healthy(share: float) -> None:
    assert verdicts(fails(share))[Verdict.HEALTHY] >= 49


def level(concurrency: int, *milliseconds: float) -> Step:
    times = tuple(time / 1000 for time in milliseconds)
    return Step(ProbeVariant.GIVEN, concurrency, len(times), {}, times)


@pytest.mark.parametrize(
    ("medians", "says"),
    [
        ((2, 6, 9, 11), " They took no longer with more at once."),
        ((5, 6, 9, 9), " They took no longer with more at once."),
        ((5, 6, 15, 40), " With 25 at once they began to take longer: 15 ms (median), and 5 ms "),
        ((5, 40, 6, 40), " With 50 at once they began to take longer: 40 ms (median), and 5 ms "),
        ((5,), ""),
    ],
)
def test_a_healthy_origin_has_no_settings_but_a_latency(
    medians: tuple[float, ...], says: str
) -> None:
    levels = [level(n, 0, time, 99) for n, time in zip((1, 3, 25, 50), medians, strict=False)]
    judgement = judge(levels, BROWSERS)
    assert (judgement.verdict, judgement.settings) == (Verdict.HEALTHY, {})
    assert judgement.concurrency == levels[-1].concurrency
    _, _, rest = judgement.saw.partition(f", with up to {judgement.concurrency} at once.")
    assert rest.startswith(says)
    assert bool(rest) is bool(says)


def test_settings_come_from_a_limit_alone() -> None:
    for network, has_some in ((fails(0), False), (fails(0.3), False), (takes(10), True)):
        judgement = judge(made(network, MANY, random.Random(1)), BROWSERS)
        assert bool(judgement.settings) is has_some


@pytest.mark.parametrize("kind", ["syscall", "timeout"])
def test_an_answer_without_tls(kind: str) -> None:
    steps = made(fails(1, kind=kind), MANY, random.Random(1))
    assert may_be_no_tls(steps)
    assert judge(steps, BROWSERS, speaks_http=True).verdict is Verdict.NOT_TLS
    assert not may_be_no_tls(made(fails(0.5, kind=kind), MANY, random.Random(1)))
    assert not may_be_no_tls(made(fails(1, kind="alert"), MANY, random.Random(1)))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_loss(share: float) -> None:
    assert verdicts(fails(share))[Verdict.NETWORK_LOSS] >= 49


@pytest.mark.parametrize(
    ("at_once", "loss"),
    # With both, a limit of 30 is too near to the 50 that are tried to tell from the loss.
    [*((n, 0) for n in (1, 2, 3, 5, 10, 20, 30)), *((n, 0.05) for n in (1, 2, 3, 5, 10, 20))],
)
def test_limit(at_once: int, loss: float) -> None:
    found = []
    for seed in range(20):
        steps = made(takes(at_once, loss), MANY, random.Random(seed))
        judgement = judge(steps, BROWSERS)
        assert judgement.verdict is Verdict.ORIGIN_LIMIT
        assert sum(step.count for step in steps) <= 200
        assert judgement.concurrency is not None
        found.append(judgement.concurrency)
    # One too many is hardly told from loss.
    assert at_once * 0.7 <= sorted(found)[10] <= at_once * 1.4 + 1


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("kind", ["syscall", "timeout"])
def test_large_hello(share: float, kind: str) -> None:
    network = fails(share, but=ProbeVariant.SMALL_HELLO, kind=kind)
    assert verdicts(network)[Verdict.LARGE_HELLO] >= 48
    # Nothing is smaller than a small one.
    steps = made(network, Bounds(200, 50, hello_bytes=517), random.Random(1))
    assert all(step.variant is not ProbeVariant.SMALL_HELLO for step in steps)


@pytest.mark.parametrize("share", [0.5, 1])
@pytest.mark.parametrize("kind", ["syscall", "refused", "proxy", "certificate", "alert"])
def test_proxy(share: float, kind: str) -> None:
    network = fails(share, but=ProbeVariant.DIRECT, kind=kind)
    assert verdicts(network, BY_PROXY)[Verdict.PROXY] >= 48


def test_a_limit_of_the_proxy() -> None:
    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        return None if planned.variant is ProbeVariant.DIRECT else takes(10)(planned, chance)

    assert verdicts(network, BY_PROXY)[Verdict.PROXY] >= 48
    assert verdicts(takes(10), BY_PROXY)[Verdict.ORIGIN_LIMIT] >= 48


@pytest.mark.parametrize("kind", sorted(PROXY_KINDS))
@pytest.mark.parametrize("share", [0.1, 0.5, 1])
@pytest.mark.parametrize("loss", [0, 0.2, 0.5, 1])
def test_a_fault_of_the_proxys_own(kind: str, share: float, loss: float) -> None:
    """Blame the proxy whatever the origin does without it."""

    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        if planned.variant is ProbeVariant.DIRECT:
            return "syscall" if chance.random() < loss else None
        return kind if chance.random() < share else None

    assert verdicts(network, BY_PROXY)[Verdict.PROXY] == 50


def test_a_proxy_that_reaches_nothing_before_an_origin_with_losses() -> None:
    steps = [
        Step(ProbeVariant.GIVEN, 3, 0, {"proxy": 10}),
        Step(ProbeVariant.DIRECT, 3, 4, {"syscall": 4}),
    ]
    assert judge(steps, BROWSERS).verdict is Verdict.PROXY


@pytest.mark.parametrize("kind", ["alert", "syscall", "timeout"])
@pytest.mark.parametrize(
    "accepted",
    [{ProbeVariant.OTHER_BROWSER}, {ProbeVariant.OTHER_BROWSER, ProbeVariant.SMALL_HELLO}],
)
def test_refused(kind: str, accepted: Any) -> None:
    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        return None if planned.variant in accepted else kind

    steps = made(network, MANY, random.Random(1))
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is Verdict.FINGERPRINT_REFUSED
    assert judgement.settings == {"CURL_SAFE_IMPERSONATE": "firefox"}


@pytest.mark.parametrize(
    ("kind", "verdict", "variants"),
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
def test_where_all_fail(kind: str, verdict: Verdict, variants: Any, bounds: Bounds) -> None:
    steps = made(fails(1, kind=kind), bounds, random.Random(1))
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is verdict
    assert judgement.concurrency is None
    assert judgement.saw
    assert judgement.advice
    assert sum(step.count for step in steps) < 40
    if bounds is MANY:
        assert len({step.variant for step in steps}) == variants


@pytest.mark.parametrize("kind", ["local", "crashed"])
def test_local_limits(kind: str) -> None:
    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        return kind if planned.concurrency > 20 and chance.random() < 0.3 else None

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
def test_where_some_fail_however_many_at_once(kind: str, verdict: Verdict) -> None:
    assert verdicts(fails(0.3, kind=kind), times=20)[verdict] >= 19


def test_an_origin_that_turns() -> None:
    count = 0

    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        nonlocal count
        count += 1
        return "syscall" if count > 60 else None

    judgement = judge(made(network, MANY, random.Random(1)), BROWSERS)
    assert judgement.verdict is Verdict.ORIGIN_LIMIT
    assert "DOWNLOAD_DELAY" in judgement.advice


def test_hardly_any_is_completed() -> None:
    """All as given failed by chance, and one of another browser did not."""
    few = {"timeout": 7}
    steps = [
        Step(ProbeVariant.GIVEN, 3, 0, {"timeout": 10}),
        Step(ProbeVariant.SMALL_HELLO, 3, 1, few),
        Step(ProbeVariant.OTHER_BROWSER, 3, 0, few),
    ]
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is Verdict.NETWORK_LOSS
    assert judgement.saw.startswith("Hardly any handshake succeeds with any browser: ")


def test_many_is_not_hardly_any_and_one_browser_not_several() -> None:
    steps = [
        Step(ProbeVariant.GIVEN, 3, 0, {"syscall": 10}),
        Step(ProbeVariant.DIRECT, 3, 4, {"syscall": 4}),
    ]
    judgement = judge(steps, BROWSERS)
    assert judgement.verdict is Verdict.NETWORK_LOSS
    assert judgement.saw.startswith("Only 4 of 18 handshakes succeed as chrome, with the proxy ")


@pytest.mark.parametrize(("kind", "says"), [("syscall", "as chrome:"), ("alert", "as chrome ")])
def test_one_browser_is_not_several(kind: str, says: str) -> None:
    one = judge([Step(ProbeVariant.GIVEN, 1, 0, {kind: 3})], BROWSERS)
    assert says in one.saw
    assert "browsers that were tried" not in one.advice
    several = judge(made(fails(1, kind=kind), MANY, random.Random(1)), BROWSERS)
    assert ("any browser" in several.saw) is (kind == "syscall")
    assert ("browsers that were tried" in several.advice) is (kind == "alert")


def test_there_was_no_time() -> None:
    assert judge([], BROWSERS).verdict is Verdict.UNREACHABLE
    plan = plan_steps(MANY)
    planned = next(plan)
    with pytest.raises(StopIteration):
        plan.send(Step(planned.variant, planned.concurrency))


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
    concurrency: int, surplus: int, has_proxy: Any, hello: Any, kinds: Any, seed: Any
) -> None:
    bounds = Bounds(3 * concurrency + surplus, concurrency, has_proxy, hello)
    chance = random.Random(seed)
    fault = {(variant, n): kind for n, kind in enumerate(kinds) for variant in ProbeVariant}
    flaky = {key: chance.choice([0, 0.1, 0.5, 1]) for key in fault}

    def network(planned: PlannedStep, chance: random.Random) -> str | None:
        key = planned.variant, planned.concurrency % len(kinds)
        return fault[key] if chance.random() < flaky[key] else None

    steps = made(network, bounds, chance)
    judgement = judge(steps, BROWSERS)
    healthy = judgement.verdict is Verdict.HEALTHY
    assert judgement.saw
    assert judgement.advice
    if healthy:
        assert judgement.concurrency == max(s.concurrency for s in steps)
    if judgement.concurrency is not None:
        assert 1 <= judgement.concurrency <= concurrency
        asked = judgement.settings.get("CONCURRENT_REQUESTS", judgement.concurrency)
        assert asked == judgement.concurrency
    if not any(step.failed for step in steps):
        assert healthy


@given(st.integers(1, 5000), st.integers(0, 5000))
def test_levels_rise_to_what_was_asked_for(concurrency: int, surplus: int) -> None:
    bounds = Bounds(3 * concurrency + surplus, concurrency)
    levels = list(plan_levels(bounds).items())
    assert levels[0][0] == 1
    assert levels[-1][0] == concurrency
    assert levels == sorted(levels)
    assert all(count >= level for level, count in levels)
    assert sum(count for _, count in levels) <= bounds.handshakes


# Statistics


def step(
    concurrency: int, done: int, failed: int, variant: ProbeVariant = ProbeVariant.GIVEN
) -> Step:
    return Step(variant, concurrency, done, {"syscall": failed} if failed else {})


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
def test_worse_than_chance(one: tuple[int, int], other: tuple[int, int], worse: bool) -> None:
    assert is_worse(step(3, *one), step(3, *other)) is worse


def test_the_turning_point() -> None:
    levels = [step(1, 10, 0), step(3, 10, 1), step(7, 4, 8), step(13, 2, 18)]
    assert turning_point(levels) == 7
    assert bracket(levels, 7) == (3, 7)
    assert turning_point(levels[:2]) is None
    assert turning_point([]) is None


def test_percentiles() -> None:
    times = Step(ProbeVariant.GIVEN, 1, 4, {}, (4.0, 1.0, 3.0, 2.0))
    assert [times.time_at(share) for share in (0.5, 0.95, 1.0)] == [2.0, 4.0, 4.0]
    assert step(1, 0, 4).time_at(0.5) is None


def test_merged() -> None:
    given = [step(3, 1, 2), step(1, 5, 0), step(3, 4, 0), step(3, 1, 0, ProbeVariant.SMALL_HELLO)]
    levels = by_concurrency(given)
    assert [(s.concurrency, s.done, s.failed) for s in levels] == [(1, 5, 0), (3, 5, 2)]
    assert merged(levels).count == 12
